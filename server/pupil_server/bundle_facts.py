"""What `bundle.json` says."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pupil_server.errors import BundleError

FORMAT = 1
GOLDENS = "golden/golden.json"


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a reader ignores keys that it does not know


class InputSize(_Facts):
    height: int = Field(gt=0)
    width: int = Field(gt=0)
    channels: Literal[1, 3]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)"""
        return self.height, self.width, self.channels


class Resize(_Facts):
    shortest_side: int = Field(gt=0)
    crop: Literal["center"]
    interpolation: Literal["bilinear", "bicubic"]


class Teacher(_Facts):
    name: str
    version: int | None = None
    fingerprint: str | None = None


class TrainedOn(_Facts):
    missing: tuple[str, ...] = ()  # images that the model learned from and the bundle does not know


class PrecisionFacts(_Facts):
    """What differs from one precision of a bundle to the next: its files, and what its own scores prove."""

    file: str
    goldens: str
    calibration: str | None = None
    certificates: tuple[dict[str, Any], ...] = ()


class BundleFacts(_Facts):
    """`bundle.json`, format 1; docs/files.md explains each key."""

    format: Literal[1]
    model: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: int = Field(gt=0)
    created: str
    classes: tuple[str, ...] = Field(min_length=2)
    input: InputSize
    resize: Resize
    precision: str
    temperature: float = Field(gt=0, allow_inf_nan=False)
    max_batch: Literal[1] | None = None  # of an imported graph that takes one image at a time
    teacher: Teacher | None = None
    trained_on: TrainedOn = TrainedOn()
    certificates: tuple[dict[str, Any], ...] = ()
    precisions: dict[str, PrecisionFacts] = {}
    files: dict[str, str]
    fingerprint: str

    @model_validator(mode="after")
    def _crop_lies_inside(self) -> Self:
        if self.resize.shortest_side < max(self.input.height, self.input.width):
            raise ValueError("resize.shortest_side is smaller than the input")
        return self

    def largest_batch(self, allowed: int) -> int:
        """How many images may go into the graph at once, where the server allows so many."""
        return min(allowed, self.max_batch or allowed)

    def each_precision(self) -> dict[str, PrecisionFacts]:
        """By name, the one whose figures stand at the top first."""
        calibration = "calibration.json" if "calibration.json" in self.files else None
        top = PrecisionFacts(
            file="model.onnx", goldens=GOLDENS, calibration=calibration, certificates=self.certificates
        )
        return {self.precision: top, **self.precisions}


def read_facts(folder: Path) -> BundleFacts:
    """Raises BundleError for what is not there, not understood, or changed."""
    file = folder / "bundle.json"
    try:
        raw = json.loads(file.read_bytes())
        _check_format(file, raw)
        facts = BundleFacts.model_validate(raw)
        computed = fingerprint(raw)
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}; a bundle is wanted, as in repository/student/1") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{file}: {place}: {first['msg']}; export it again") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{file}: not JSON ({error}); export it again") from error
    if computed != facts.fingerprint:
        raise BundleError(f"{file}: changed since it was exported (the fingerprint differs); export it again")
    return facts


def _check_format(file: Path, raw: Any) -> None:
    found = raw.get("format") if isinstance(raw, dict) else None
    if type(found) is int and found != FORMAT:
        what = "export it again" if found < FORMAT else "a newer Pupil wrote it: serve it with that one"
        raise BundleError(f"{file}: of format {found}, but this version reads format {FORMAT}; {what}")


def fingerprint(facts: dict[str, Any]) -> str:
    """SHA-256 over `bundle.json` without its own `fingerprint`, in the one spelling that docs/files.md fixes."""
    rest = {key: value for key, value in facts.items() if key != "fingerprint"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
