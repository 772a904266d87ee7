"""The objective that a recipe asks for."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pupil_training.augment import Views
from pupil_training.data.feed import Batch
from pupil_training.data.order import Cut
from pupil_training.data.training import TrainingData
from pupil_training.ema import Ema
from pupil_training.objectives.distilled import Ask, Distilled
from pupil_training.objectives.objective import Objective
from pupil_training.objectives.pool import FixMatch, MeanTeacher, Pool, PseudoLabel
from pupil_training.objectives.supervised import Supervised
from pupil_training.recipe import Recipe
from pupil_training.teachers import Teacher, logits_of_teacher, together


def build_objective(
    recipe: Recipe, data: TrainingData, teachers: Sequence[Teacher], ema: Ema | None, cut: Cut, device: torch.device
) -> Objective:
    """Distilled where there is a teacher, with the pool where `pool.method` says how, else supervised."""
    views = Views(recipe.augment, recipe.seed)
    if teachers:
        teacher = together(teachers)
        ask = _cached(teacher, data, device) if recipe.distill.logits == "cached" else _live(teacher)
        return Distilled(ask, views, recipe.distill)
    how = recipe.pool
    if how.method == "none":
        return Supervised(views, recipe.smoothing)
    pool = Pool(data.pool_feed(recipe, cut, device), recipe.steps, how)
    if how.method == "pseudo_label":
        return PseudoLabel(views, pool, how, recipe.smoothing)
    if how.method == "fixmatch":
        return FixMatch(views, Views(how.strong, recipe.seed, "strong"), pool, how, recipe.smoothing)
    assert ema is not None  # the recipe sees to it
    others = Views(recipe.augment, recipe.seed, "teacher's view")
    return MeanTeacher(ema.model, views, others, pool, how, recipe.smoothing)


def _live(teacher: Teacher) -> Ask:
    """Asks about the very picture that the student sees, augmentation and all (function matching, Beyer 2022)."""
    return lambda pixels, _: teacher(pixels)


def _cached(teacher: Teacher, data: TrainingData, device: torch.device) -> Ask:
    """Asks once about each plain image, and looks the answers up."""
    logits = logits_of_teacher(teacher, data.images, device)
    if data.sample is not None:
        logits = logits[data.sample.to(device)]

    def answer(pixels: Tensor, batch: Batch) -> Tensor:
        return logits[batch.chosen.to(logits.device)]

    return answer
