"""Images that a user has at hand, as what a cascade is calibrated on: each once, and none that a model was shown."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pupil_export.bundle_graph import BundleGraph
from pupil_export.errors import ExportError
from pupil_training.data.folders import images_below
from pupil_training.data.pictures import FilePicture
from pupil_training.data.reading import read
from pupil_training.data.table import read_table
from pupil_training.errors import DataError
from pupil_trust import are_among, mark

SPLIT = "calibration"  # the rows that count where a table has splits
NO_CLASS = -1


class Found(NamedTuple):
    """An image file, and the class that it is said to show; empty where nobody said."""

    picture: FilePicture
    label: str


@dataclass(frozen=True, eq=False)
class CascadeImages:
    """Images with their SHA-256 and the numbers of their classes (N,), `NO_CLASS` where nobody said.

    Each is there once; `copies` (N,) counts the files that hold it.
    """

    pictures: list[FilePicture]
    digests: list[str]
    classes: NDArray[np.int64]
    copies: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """The classes, where every image has one."""
        return self.classes if (self.classes != NO_CLASS).all() else None

    @property
    def sha256(self) -> str:
        """Of the images with their classes, in whatever order they came."""
        lines = sorted(f"{digest} {label}\n" for digest, label in zip(self.digests, self.classes, strict=True))
        return sha256("".join(lines).encode()).hexdigest()

    def require_labels(self) -> None:
        """Raises ExportError for the first image of unknown class."""
        unknown = np.flatnonzero(self.classes == NO_CLASS)
        if len(unknown):
            first = self.pictures[unknown[0]].name
            raise ExportError(
                f"{len(unknown):,} of {len(self):,} images have no label, as {first}: put them into folders that are "
                "called as the classes, fill the table's column label, or ask for --goal disagreement, which needs none"
            )

    def require_new_to(self, graph: BundleGraph) -> list[str]:
        """What could not be checked, in words. Raises ExportError where the model learned from any of them."""
        marks = graph.seen()
        if marks is None:
            return [f"whether {graph} learned from these images could not be checked: its bundle does not say"]
        known = np.flatnonzero(are_among([mark(digest) for digest in self.digests], marks))
        if len(known):
            first = self.pictures[known[0]].name
            raise ExportError(
                f"{graph} learned from {len(known):,} of {len(self):,} images, as {first}: nothing can be proven on "
                "them; draw images that no model was trained on"
            )
        missing = graph.facts.get("trained_on", {}).get("missing", ())
        return [f"{graph} also learned from {what}; these images could not be compared with them" for what in missing]


def read_images(place: Path, classes: Sequence[str]) -> CascadeImages:
    """The images of a folder, or of a table with the columns path, label and perhaps split.

    A folder's images are labelled by the folders right in it, where those are called as classes. Raises ExportError:
    nothing there, not readable, an unknown label, one image with two labels.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    try:
        found = list(_in_folder(place, numbers) if place.is_dir() else _in_table(place, numbers))
        digests = read([each.picture for each in found], None, what="reading").digests
    except DataError as error:
        raise ExportError(str(error)) from None
    except OSError as error:
        raise ExportError(f"{error.filename or place}: {error.strerror}") from None
    images = _by_content(found, digests)
    first = [next(iter(files.values())) for files in images.values()]
    labels = np.array([numbers.get(each.label, NO_CLASS) for each in first], np.int64)
    copies = np.array([len(files) for files in images.values()], np.int64)
    return CascadeImages([each.picture for each in first], list(images), labels, copies)


def _in_folder(folder: Path, numbers: Mapping[str, int]) -> Iterator[Found]:
    for path in images_below(folder):
        label = Path(path).relative_to(folder).parts[0]
        yield Found(FilePicture(path), label if label in numbers else "")


def _in_table(table: Path, numbers: Mapping[str, int]) -> Iterator[Found]:
    rows = [row for row in read_table(table) if row.split in ("", SPLIT)]
    if not rows:
        raise ExportError(f"{table}: no row (where there is a column split, the rows of {SPLIT} count)")
    for row in rows:
        if row.label and row.label not in numbers:
            raise ExportError(
                f"{table}, row {row.number}: its label '{row.label}' is no class of the models; mend it, or take the "
                "row out"
            )
        yield Found(FilePicture(str(table.parent / row.path)), row.label)


def _by_content(found: Sequence[Found], digests: Sequence[str]) -> dict[str, dict[str, Found]]:
    """By SHA-256, the files of each by name."""
    images: dict[str, dict[str, Found]] = {}
    for each, digest in zip(found, digests, strict=True):
        files = images.setdefault(digest, {})
        files.setdefault(each.picture.name, each)
        before = next(iter(files.values()))
        if before.label != each.label:
            raise ExportError(
                f"{before.picture.name} and {each.picture.name} are the same image, labelled '{before.label}' and "
                f"'{each.label}'; look again which is right"
            )
    return images
