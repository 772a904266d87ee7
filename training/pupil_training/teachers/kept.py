"""The answers that a run needs of its teachers, asked for once and kept on disk for every run that needs the same."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from pupil_training.augment import Views
from pupil_training.data.feed import Batch
from pupil_training.data.images import batch_for
from pupil_training.data.streamed import Streamed
from pupil_training.data.training import TrainingData
from pupil_training.devices import autocast, resolved_amp
from pupil_training.preprocess import Preprocess
from pupil_training.recipe import Recipe
from pupil_training.settings import AugmentSettings
from pupil_training.teachers import answers
from pupil_training.teachers.answers import Answers
from pupil_training.teachers.ensemble import together
from pupil_training.teachers.teacher import Teacher, fingerprint
from pupil_training.team import Team

FEW = 10  # classes that an answer keeps unless told otherwise
BATCH = 256  # images at once, or fewer where they are large


def kept_answers(
    recipe: Recipe, folder: Path, data: TrainingData, teachers: Sequence[Teacher], team: Team, device: torch.device
) -> Answers | None:
    """The answers about the training images, on the device; None where the teachers are asked live.

    Where there is no file yet, the leader asks and writes it. Raises TeacherError where it is of another origin.
    """
    if not teachers or recipe.distill.logits == "live":
        return None
    origin = _origin(recipe, data, teachers, device)
    path = _place(recipe, folder, origin)
    if team.leads and not path.exists():
        answers.save(path, _ask(recipe, data, together(teachers), team, device), origin)
    while not team.told(team.leads):  # the others hear False from the leader while it asks, then True
        pass
    return answers.load(path, origin).to(device)


def _origin(recipe: Recipe, data: TrainingData, teachers: Sequence[Teacher], device: torch.device) -> dict[str, Any]:
    """All that decides the answers, name by name."""
    policy, views = _views(recipe)
    return {
        "teachers": [fingerprint(teacher) for teacher in teachers],
        "images": _sha256(recipe, data),
        "classes": list(data.classes),
        "seed": recipe.seed if policy.active else None,
        "views": views,
        "top": _top(recipe, len(data.classes)),
        "amp": resolved_amp(recipe.amp, device),
        **{f"augment.{name}": value for name, value in policy.model_dump(mode="json").items()},
    }


def _views(recipe: Recipe) -> tuple[AugmentSettings, int]:
    """How the pictures are shown to the teacher, and how often each."""
    return (recipe.augment, recipe.distill.views) if recipe.distill.logits == "views" else (AugmentSettings(), 1)


def _sha256(recipe: Recipe, data: TrainingData) -> str:
    """Of the pixels as the teacher gets them, or of the files that they will be decoded from; in their order."""
    if isinstance(data.images, Tensor):
        whole = hashlib.sha256(str(tuple(data.images.shape)).encode())
        whole.update(data.images.contiguous().numpy().data)
    else:
        assert isinstance(data.images, Streamed)
        digests = data.splits.hashed(data.images.pictures)
        whole = hashlib.sha256(f"{Preprocess.of(recipe.data)} {digests}".encode())
    if data.sample is not None:
        whole.update(data.sample.numpy().data)
    return whole.hexdigest()


def _place(recipe: Recipe, folder: Path, origin: dict[str, Any]) -> Path:
    """`answers.pt` in the folder that was chosen, else beside the run under a name of the origin's own."""
    if recipe.distill.cache is not None:
        return recipe.distill.cache / "answers.pt"
    digest = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()
    return folder.parent / ".answers" / f"{digest[:16]}.pt"


def _ask(recipe: Recipe, data: TrainingData, teacher: Teacher, team: Team, device: torch.device) -> Answers:
    """Every view of every image, in turn."""
    policy, count = _views(recipe)
    places = torch.arange(len(data.images)) if data.sample is None else data.sample
    views, images, classes = Views(policy, recipe.seed), len(places), len(data.classes)
    found = Answers.room(images, count, classes, _top(recipe, classes))
    with tqdm(total=count * images, desc=f"asking {teacher.name}", unit="image", leave=False, disable=None) as bar:
        for view in range(count):
            for chosen in torch.split(torch.arange(images), min(BATCH, batch_for(data.images))):
                batch = Batch(0, 0, data.images[places[chosen]].to(device), None, chosen, torch.full_like(chosen, view))
                with torch.no_grad(), autocast(recipe.amp, device):
                    logits = teacher(views(batch))
                found.put(batch.chosen, batch.epochs, logits.float())
                team.told(False)  # a sign of life, for the others do not wait for ever
                bar.update(len(chosen))
    return found


def _top(recipe: Recipe, classes: int) -> int:
    return min(recipe.distill.cache_top or FEW, classes)
