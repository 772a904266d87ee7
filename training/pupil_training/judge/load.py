"""Candidates by their paths, and the images that they are judged on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pupil_training.bundles import find_bundle
from pupil_training.data import SPLITS, ImageSet, load_split
from pupil_training.errors import BundleError, DataError
from pupil_training.judge.bundle_candidate import BundleCandidate
from pupil_training.judge.candidate import Candidate
from pupil_training.judge.run_candidate import run_candidate
from pupil_training.recipe import override_data
from pupil_training.runs import differing_classes


def load_candidate(path: Path, overrides: Sequence[str] = ()) -> Candidate:
    """The run or the bundle in a folder, the newest bundle in a model's; `overrides`, `key=value`, are about its data.

    Raises RunError, BundleError, RecipeError for a mistyped override, NotInstalled for a bundle without onnxruntime.
    """
    bundle = find_bundle(path)
    candidate = run_candidate(path) if bundle is None else BundleCandidate.load(bundle)
    if isinstance(candidate, BundleCandidate) and candidate.bundle.imported and not overrides:
        raise BundleError(f"{path}: it was trained elsewhere, so say on which images it is judged: --data root=FOLDER")
    return replace(candidate, data=override_data(candidate.data, overrides)) if overrides else candidate


class Exam:
    """The images of one split, read once for all candidates whose data have the same settings."""

    def __init__(self, split: str) -> None:
        """Raises DataError where there is no split of this name."""
        if split not in SPLITS:
            raise DataError(f"'{split}' is not a split; the splits are {', '.join(SPLITS)}")
        self.split = split
        self._read: dict[str, ImageSet] = {}  # by the settings of their data

    def images_for(self, candidate: Candidate) -> ImageSet:
        """Raises DataError: none there, unlabelled, or of other classes than the candidate's."""
        settings = candidate.data.model_dump_json()
        if settings not in self._read:
            self._read[settings] = load_split(candidate.data, self.split)
        images = self._read[settings]
        if images.labels is None:
            raise DataError(f"the {self.split} split has no labels to judge by")
        if images.classes != candidate.classes:
            differ = differing_classes(images.classes, candidate.classes, candidate.path)
            raise DataError(f"{candidate.data.root}: {differ}")
        return images
