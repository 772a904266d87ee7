"""Learning from a pool: with a changing model's own labels, and without a class."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pupil_training.augment import Views
from pupil_training.data import load_split
from pupil_training.data.feed import Batch
from pupil_training.data.feed_memory import MemoryFeed
from pupil_training.data.order import Order
from pupil_training.ema import Ema
from pupil_training.errors import RecipeError
from pupil_training.evaluate import logits_of
from pupil_training.loop import train
from pupil_training.models import Classifier, InputSize
from pupil_training.objectives.objective import Objective
from pupil_training.objectives.pool import FixMatch, MeanTeacher, Pool, PseudoLabel
from pupil_training.pixels import to_pixels
from pupil_training.recipe import Recipe, parse_recipe
from pupil_training.runs import Run
from pupil_training.settings import AugmentSettings, DataSettings, PoolSettings

MakeRecipe = Callable[..., Recipe]
TrainAndKill = Callable[..., None]
PLAIN = Views(AugmentSettings(), 0)


@pytest.fixture
def model() -> Classifier:
    torch.manual_seed(0)
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), ("a", "b", "c"), InputSize(4, 4, 1))


def some(count: int, seed: int) -> Tensor:
    return torch.randint(0, 256, (count, 4, 4, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


LABELLED = Batch(
    50, 0, some(6, 0), torch.tensor([0, 1, 2, 0, 1, 2]), torch.arange(6), torch.zeros(6, dtype=torch.int64)
)
UNLABELLED = some(9, 1)


def pool(settings: PoolSettings) -> Pool:
    return Pool(MemoryFeed(UNLABELLED, None, Order(9, 9, seed=0)), steps=100, settings=settings)


def hand_worked(model: Classifier, threshold: float) -> tuple[float, float]:
    """The labelled term, and the pool's before its weight, from their definitions."""
    hard = F.cross_entropy(model(to_pixels(LABELLED.images)), LABELLED.targets).item()
    scores = model(to_pixels(UNLABELLED)).softmax(1).detach().numpy()
    best = scores.max(1)
    return hard, float(-np.log(best[best >= threshold]).sum() / len(best))


@pytest.mark.parametrize("threshold", [0.0, 0.4])
def test_pseudo_labels_are_the_best_classes_of_those_that_are_sure_enough(model: Classifier, threshold: float) -> None:
    settings = PoolSettings(weight=3.0, rise=(0.1, 0.6), threshold=threshold)
    losses = PseudoLabel(PLAIN, pool(settings), settings, smoothing=0.0)(model, LABELLED)
    hard, soft = hand_worked(model, threshold)
    assert losses["hard"].item() == pytest.approx(hard, rel=1e-5)
    assert losses["pool"].item() == pytest.approx(3.0 * (50 - 10) / (60 - 10) * soft, rel=1e-5)


def test_fixmatch_is_pseudo_labelling_where_strong_views_are_weak_ones(model: Classifier) -> None:
    settings = PoolSettings(threshold=0.4, rise=(0.0, 0.5))
    losses = FixMatch(PLAIN, PLAIN, pool(settings), settings, smoothing=0.0)(model, LABELLED)
    assert losses["pool"].item() == pytest.approx(hand_worked(model, 0.4)[1], rel=1e-5)


STRONG = [
    AugmentSettings(brightness=0.9),
    AugmentSettings(shift=1, flip=True, padding="reflect", randaugment=2, magnitude="random", cutout=2),  # the paper's
]


@pytest.mark.parametrize("policy", STRONG)
def test_fixmatch_labels_by_the_weak_view_and_teaches_on_the_strong_one(
    model: Classifier, policy: AugmentSettings
) -> None:
    settings = PoolSettings(threshold=0.0, rise=(0.0, 0.5), strong=policy)
    strong = Views(settings.strong, 0, "strong")
    losses = FixMatch(PLAIN, strong, pool(settings), settings, smoothing=0.0)(model, LABELLED)
    (seen,) = MemoryFeed(UNLABELLED, None, Order(9, 9, seed=0)).parts(50)
    labels = model(PLAIN(seen)).argmax(1)
    assert losses["pool"].item() == pytest.approx(F.cross_entropy(model(strong(seen)), labels).item(), rel=1e-5)


def test_a_student_like_its_mean_teacher_has_nothing_to_follow(model: Classifier) -> None:
    settings, average = PoolSettings(rise=(0.0, 0.5)), Ema(model, 0.9)
    objective = MeanTeacher(average.model, PLAIN, PLAIN, pool(settings), settings, smoothing=0.0)
    assert objective(model, LABELLED)["pool"].item() == pytest.approx(0, abs=1e-9)
    model.net[1].weight.data += 0.5 * torch.randn_like(model.net[1].weight)
    images = torch.cat([LABELLED.images, UNLABELLED])
    apart = logits_of(model, images).softmax(1) - logits_of(average.model, images).softmax(1)
    assert objective(model, LABELLED)["pool"].item() == pytest.approx((apart**2).mean().item(), rel=1e-4)
    assert list(objective.own.parameters()) == []


@pytest.mark.parametrize("method", ["pseudo_label", "fixmatch", "mean_teacher"])
def test_every_term_of_every_method_moves_the_student(model: Classifier, method: str) -> None:
    settings = PoolSettings(threshold=0.0, rise=(0.0, 0.1))
    other = Views(AugmentSettings(shift=1), 0, "other")
    objectives: dict[str, Objective] = {
        "pseudo_label": PseudoLabel(PLAIN, pool(settings), settings, 0.0),
        "fixmatch": FixMatch(PLAIN, other, pool(settings), settings, 0.0),
        "mean_teacher": MeanTeacher(Ema(model, 0.9).model, PLAIN, other, pool(settings), settings, 0.0),
    }
    for term in objectives[method](model, LABELLED).values():
        (gradient,) = torch.autograd.grad(term, model.net[1].weight, retain_graph=True)
        assert gradient.abs().sum() > 1e-4


@pytest.mark.parametrize("method", ["pseudo_label", "fixmatch", "mean_teacher"])
def test_a_pool_run_that_was_killed_and_resumed_ends_in_the_same_weights(
    recipe: MakeRecipe, train_and_kill: TrainAndKill, tmp_path: Path, method: str
) -> None:
    settings = recipe(
        steps=60, eval_every=10, log_every=5, accumulate=2, ema=0.9, augment={"shift": 1}, model={"dropout": 0.3},
        pool={"method": method, "batch_size": 6, "threshold": 0.1, "rise": [0.0, 0.2]},
    )  # fmt: skip
    whole = train(settings, tmp_path / "whole")
    assert whole.result["images"] == {"train": 36, "validation": 12, "pool": 12}
    train_and_kill(settings, tmp_path / "killed", at='"step": 25')
    resumed = train(settings, tmp_path / "killed", resume=True)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_a_mean_teacher_without_an_average_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"set ema, for example 0\.999"):
        parse_recipe({"pool": {"method": "mean_teacher"}}, "here")


@pytest.mark.parametrize("where", [{"augment": {"mixup": 0.2}}, {"pool": {"strong": {"cutmix": 1.0}}}])
def test_a_pool_whose_pictures_would_be_mixed_without_their_targets_is_refused(where: dict[str, Any]) -> None:
    method = {"method": "fixmatch"}
    with pytest.raises(RecipeError, match=r"mix targets too, which pool\.method does not"):
        parse_recipe({**where, "pool": {**where.get("pool", {}), **method}}, "here")


def test_an_average_starts_fast_and_keeps_its_count_in_the_step(model: Classifier) -> None:
    weight = model.net[1].weight
    first, average = weight.detach().clone(), Ema(model, 0.9)
    expected = first.clone()
    for step, value in enumerate((1.0, 2.0, 3.0), start=1):
        weight.data.fill_(value)
        average.follow(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert torch.allclose(average.model.net[1].weight, expected)
    assert not average.model.training


def test_some_labels_make_a_pool_of_the_rest(bars_folder: Path) -> None:
    data = DataSettings(root=bars_folder, labels=12, validation=0.25, calibration=0)
    train_split, validation = load_split(data, "train"), load_split(data, "validation")
    assert train_split.labels is not None
    assert (train_split.labels.bincount().tolist(), len(validation)) == ([3, 3, 3], 3)


def test_a_class_that_is_left_out_stays_in_the_class_list(bars_folder: Path) -> None:
    data = DataSettings(root=bars_folder, leave_out=("level",), validation=0.2, calibration=0.2)
    images, validation = load_split(data, "train"), load_split(data, "validation")
    assert images.classes == ("cross", "level", "upright")
    assert images.labels is not None
    assert images.labels.bincount(minlength=3).tolist() == [12, 0, 12]
    assert validation.labels is not None
    assert validation.labels.bincount().tolist() == [4, 4, 4]


def test_the_shift_for_a_class_never_shown_brings_it_back(recipe: MakeRecipe, teacher_run: Run, tmp_path: Path) -> None:
    data = {"leave_out": ["level"]}
    distill = {"teacher": teacher_run.folder, "hard_weight": 0, "soft_weight": 1, "temperature": 8}
    settings = {"steps": 80, "eval_every": 80, "batch_size": 16, "data": data, "augment": {"shift": 5}}
    plain = train(recipe(**settings, distill=distill), tmp_path / "plain")
    matched = train(recipe(**settings, distill={**distill, "match_prior": True}), tmp_path / "matched")
    pool = matched.load_split("pool").images
    shares = logits_of(matched.model, pool).softmax(1).mean(0)
    assert torch.allclose(shares, torch.full((3,), 1 / 3), atol=0.01)
    test = matched.load_split("test")
    right = [int((logits_of(run.model, test.images).argmax(1) == test.labels).sum()) for run in (plain, matched)]
    assert right[1] >= right[0]
    assert torch.equal(matched.model.net[0].weight, plain.model.net[0].weight)
