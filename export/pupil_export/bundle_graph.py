"""One graph of a bundle on the disk: the bundle in one of its precisions."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pupil_export.answers import OnnxModel
from pupil_export.bundle import fingerprint, sha256
from pupil_export.errors import ExportError
from pupil_export.trained_on import LABELLED, UNLABELLED
from pupil_training.preprocess import Preprocess

Facts = dict[str, Any]


@dataclass(frozen=True)
class BundleGraph:
    """What bundle.json says, and `own`, what differs in this precision."""

    folder: Path
    facts: Facts
    precision: str
    own: Facts

    @classmethod
    def read(cls, folder: Path, precision: str = "") -> Self:
        """Without a precision, the one that stands at the top. Raises ExportError: no bundle, no such precision."""
        facts = _read_facts(folder)
        precision = precision or facts["precision"]
        own = facts if precision == facts["precision"] else facts.get("precisions", {}).get(precision)
        if own is None:
            raise ExportError(f"{folder}: was not exported in {precision}; pupil export --precision fp32,{precision}")
        return cls(folder, facts, precision, own)

    def __str__(self) -> str:
        return f"{self.facts['model']}/{self.facts['version']}"

    @property
    def identity(self) -> str:
        """As a server names it: fingerprint:precision."""
        return f"{self.facts['fingerprint']}:{self.precision}"

    @property
    def preprocess(self) -> Preprocess:
        size, resize = self.facts["input"], self.facts["resize"]
        return Preprocess(
            size["height"], size["width"], size["channels"], resize["shortest_side"], resize["interpolation"]
        )

    @property
    def most_at_once(self) -> int | None:
        """1 for an imported graph that takes one image at a time; None where any number will do."""
        most: int | None = self.facts.get("max_batch")
        return most

    def calibration(self) -> Facts:
        """Its answers on its calibration set. Raises ExportError where it was exported without one."""
        if self.own.get("calibration") is None:
            raise ExportError(
                f"{self.folder}: was exported without a calibration set, so no cascade can be certified with it; "
                "give images that it was not trained on with --images"
            )
        said: Facts = json.loads(self._content(self.own["calibration"]))
        return said

    def model(self) -> OnnxModel:
        """The graph, ready to answer. Raises ExportError."""
        return OnnxModel(self._content(self.own.get("file", "model.onnx")))

    def seen(self) -> NDArray[np.uint64] | None:
        """The marks of all images that it learned from; None where its bundle does not know them."""
        files = [self._content(name) for name in (LABELLED, UNLABELLED) if name in self.facts["files"]]
        marks = [np.load(io.BytesIO(file), allow_pickle=False) for file in files]
        return np.unique(np.concatenate(marks)) if marks else None

    def _content(self, name: str) -> bytes:
        """One of its files. Raises ExportError where it is not as it was exported."""
        file = self.folder / name
        try:
            content = file.read_bytes()
        except OSError as error:
            raise ExportError(f"{file}: {error.strerror}; export the bundle again") from None
        if sha256(content) != self.facts["files"].get(name):
            raise ExportError(f"{file}: changed since it was exported; export the bundle again")
        return content


def _read_facts(folder: Path) -> Facts:
    file = folder / "bundle.json"
    try:
        facts = json.loads(file.read_bytes())
        if not isinstance(facts, dict) or fingerprint(facts) != facts.get("fingerprint"):
            raise ValueError("it is not as it was exported")
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise ExportError(f"{file}: {what}; a bundle is wanted, as in repository/student/1") from error
    return facts
