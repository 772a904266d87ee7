"""Which images a model learned from, so that its bundle knows them again."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pupil_export.errors import ExportError
from pupil_training.data import ImageSet, read_splits
from pupil_training.data.written_splits import WrittenSplits
from pupil_training.errors import TrainingError
from pupil_training.recipe import Recipe
from pupil_training.runs import load_recipe_json
from pupil_trust import marks_of

LABELLED, UNLABELLED = "trained_on.npy", "trained_on.unlabelled.npy"
SHOWN = ("train", "validation")  # with their labels: validation chose the temperature, and which round was the last


@dataclass(frozen=True)
class TrainedOn:
    """The images by their SHA-256, and in words those of which nobody wrote down which they are."""

    labelled: frozenset[str]  # a person's label was seen too
    unlabelled: frozenset[str]  # the others: of the pool, perhaps with a model's label
    missing: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """`trained_on` of bundle.json."""
        return {"labelled": len(self.labelled), "unlabelled": len(self.unlabelled), "missing": list(self.missing)}

    @property
    def files(self) -> dict[str, bytes]:
        """The arrays of the bundle; none for no images."""
        each = {LABELLED: self.labelled, UNLABELLED: self.unlabelled}
        return {name: _npy(digests) for name, digests in each.items() if digests}

    def require_new(self, calibration: ImageSet) -> None:
        """Raises ExportError where an image that is to prove something was learned from."""
        known = [
            picture.name
            for picture, digest in zip(calibration.pictures, calibration.digests, strict=True)
            if digest in self.labelled or digest in self.unlabelled
        ]
        if known:
            raise ExportError(
                f"the model learned from {len(known)} of the {len(calibration)} calibration images, as {known[0]}: "
                "nothing can be proven on them; train again with data.overlap = 'drop'"
            )


def trained_on(run: Path) -> TrainedOn:
    """The images of a run, and of the runs whose layers it took over."""
    labelled: set[str] = set()
    unlabelled: set[str] = set()
    missing: list[str] = []
    waiting, known = [run], set[Path]()
    while waiting:
        folder = waiting.pop()
        if folder.resolve() in known:
            continue
        known.add(folder.resolve())
        try:
            recipe, written = load_recipe_json(folder), read_splits(folder / "splits.json")
        except (TrainingError, OSError):
            missing.append(f"the images of the run {folder.name}, whose splits.json is not there or damaged")
            continue
        labelled.update(*(written.splits[split].sha256 for split in SHOWN if split in written.splits))
        unlabelled.update(_without_labels(recipe, written))
        missing += _not_written(recipe, written, folder)
        waiting += [earlier for earlier in (recipe.transfer.run, recipe.model.features) if earlier]
    return TrainedOn(frozenset(labelled), frozenset(unlabelled - labelled), tuple(missing))


def _without_labels(recipe: Recipe, written: WrittenSplits) -> Iterable[str]:
    if recipe.distill.pool or recipe.distill.match_prior or recipe.pool.method != "none":
        yield from written.splits["pool"].sha256 if "pool" in written.splits else ()
    if written.pseudo_labelled:
        yield from written.pseudo_labelled.sha256


def _not_written(recipe: Recipe, written: WrittenSplits, folder: Path) -> Iterable[str]:
    if recipe.labels.file and not written.pseudo_labelled:  # a run of an older version
        yield f"the pseudo-labelled images of the run {folder.name}"
    if recipe.model.weights:
        yield f"the images behind the weights {recipe.model.weights.name}"


def _npy(digests: Iterable[str]) -> bytes:
    file = io.BytesIO()
    np.save(file, marks_of(digests), allow_pickle=False)
    return file.getvalue()
