"""The objective that a recipe asks for."""

from collections.abc import Sequence

import torch

from pupil_training.augment import Views, views_of
from pupil_training.data.order import Cut
from pupil_training.data.training import TrainingData
from pupil_training.ema import Ema
from pupil_training.errors import RecipeError
from pupil_training.models import Classifier
from pupil_training.objectives.distilled import Ask, Distilled
from pupil_training.objectives.features import Watching
from pupil_training.objectives.following import following
from pupil_training.objectives.objective import Objective
from pupil_training.objectives.pool import FixMatch, MeanTeacher, Pool, PseudoLabel
from pupil_training.objectives.supervised import Supervised
from pupil_training.recipe import Recipe
from pupil_training.teachers import Teacher, together
from pupil_training.teachers.answers import Answers


def build_objective(
    recipe: Recipe,
    data: TrainingData,
    student: Classifier,
    teachers: Sequence[Teacher],
    answers: Answers | None,
    ema: Ema | None,
    cut: Cut,
    device: torch.device,
) -> Objective:
    """Distilled where there is a teacher, with the pool where `pool.method` says how, else supervised."""
    views = views_of(recipe)
    if teachers:
        return _distilled(recipe, student, together(teachers), answers, views)
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


def _distilled(
    recipe: Recipe, student: Classifier, teacher: Teacher, answers: Answers | None, views: Views
) -> Objective:
    how = recipe.distill
    ask = _live(teacher) if answers is None else _kept(answers)
    objective = Distilled(ask, following(how, len(student.classes)), views, how, recipe.smoothing)
    if not how.watches_layers:
        return objective
    if teacher.model is None:
        raise RecipeError(f"distill.hint and distill.attention need one run as teacher: {teacher.name} shows no layers")
    return Watching(objective, student, teacher.model, how)


def _live(teacher: Teacher) -> Ask:
    """Asks about the very picture that the student sees, augmentation and all (function matching, Beyer 2022)."""
    return lambda pixels, _: teacher(pixels)


def _kept(answers: Answers) -> Ask:
    """Looks up what the teacher said of this view of the image."""
    return lambda _, batch: answers.of(batch.chosen, batch.epochs)
