"""Settings that a recipe names although nothing in its run reads them: mostly a slip, so they are told."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pupil_training.models import READS, family_of
from pupil_training.models.knn import KNN
from pupil_training.recipe import Recipe
from pupil_training.settings import DistillSettings, ModelSettings, Settings

EVERY_NET = {"name", "mirror", "weights", "body"}


class Unread(NamedTuple):
    """Settings or whole groups, and why nothing reads them."""

    settings: Iterable[str]
    reason: str


def idle(recipe: Recipe) -> list[str]:
    """A sentence for each reason why settings that differ from their defaults do nothing. Data are not looked at."""
    named = list(_named(recipe))
    lines = []
    for settings, reason in _unread(recipe):
        if found := [name for name in named if not {name, name.partition(".")[0]}.isdisjoint(settings)]:
            lines.append(f"{', '.join(found)} {'do' if len(found) > 1 else 'does'} nothing here: {reason}")
    return lines


def _named(recipe: Recipe) -> Iterator[str]:
    for name, value in recipe.model_dump(exclude_defaults=True).items():
        group = isinstance(getattr(recipe, name), Settings)
        yield from (f"{name}.{setting}" for setting in value) if group else [name]


def _unread(recipe: Recipe) -> Iterator[Unread]:
    if recipe.model.name == KNN:
        yield Unread({"steps", "ema", "smoothing", "optim", "augment"}, "'knn' keeps images and learns in no steps")
    yield from _of_model(recipe.model)
    yield from _of_training(recipe)
    if recipe.distill.teacher:
        yield from _of_teacher(recipe.distill)
    else:
        theirs = {f"distill.{name}" for name in DistillSettings.model_fields if name != "match_prior"}
        yield Unread(theirs, "distill.teacher names nobody to follow")


def _of_model(model: ModelSettings) -> Iterator[Unread]:
    reads = READS.get(family_of(model.name))
    if reads is None:
        return  # no such net, which its builder says better
    others = ModelSettings.model_fields.keys() - EVERY_NET - set(reads)
    yield Unread({f"model.{name}" for name in others}, f"'{model.name}' has no such part")


def _of_training(recipe: Recipe) -> Iterator[Unread]:
    augment, pool, transfer = recipe.augment, recipe.pool, recipe.transfer
    if recipe.optim.name == "adamw":
        yield Unread({"optim.momentum"}, "optim.name is 'adamw'")
    if not augment.randaugment:
        yield Unread({"augment.magnitude"}, "augment.randaugment is off")
    if not augment.crop:
        yield Unread({"augment.aspect"}, "augment.crop is off")
    if recipe.labels.file is None:
        yield Unread({"labels"}, "labels.file is not set")
    if pool.method == "none":
        yield Unread({"pool"}, "pool.method is 'none'")
    elif pool.method != "fixmatch":
        yield Unread({"pool.strong"}, f"pool.method is '{pool.method}', not 'fixmatch'")
    if pool.method == "mean_teacher":
        yield Unread({"pool.threshold"}, "a mean teacher is followed however sure it is")
    if transfer.run is None and recipe.model.weights is None:
        yield Unread({"transfer.body_rate"}, "nothing is taken over, by transfer.run or model.weights")
    if transfer.mode != "gradual":
        yield Unread({"transfer.unfreeze_every"}, f"transfer.mode is '{transfer.mode}', not 'gradual'")


def _of_teacher(how: DistillSettings) -> Iterator[Unread]:
    if how.method == "hard":
        yield Unread({"distill.temperature"}, "distill.method is 'hard'")
    for method in {"dkd", "dist"} - {how.method}:
        yield Unread({f"distill.{method}"}, f"distill.method is '{how.method}'")
    if not how.hint:
        yield Unread({"distill.hint_weight"}, "distill.hint names no layers")
    if not how.attention:
        yield Unread({"distill.attention_weight"}, "distill.attention names no layers")
    if how.logits != "views":
        yield Unread({"distill.views"}, f"distill.logits is '{how.logits}', not 'views'")
    if how.logits == "live":
        yield Unread({"distill.cache", "distill.cache_top", "distill.mismatched_views"}, "distill.logits is 'live'")
