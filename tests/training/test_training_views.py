"""Augmentation, batches and learning rates: what a seed and a step decide."""

import math

import pytest
import torch

from pupil_training.augment import augment, shift, to_pixels, warp
from pupil_training.models import InputSize, build_net
from pupil_training.optim import build_optimizer, learning_rate
from pupil_training.recipe import AugmentSettings, ModelSettings, OptimSettings
from pupil_training.seeds import batch_indices, generator

EVERYTHING = AugmentSettings(
    shift=3, rotate=20, scale=0.2, shear=10, brightness=0.5, contrast=0.5, flip=True
)  # fmt: skip


def pictures(count: int = 6, channels: int = 3) -> torch.Tensor:
    shape = (count, 12, 10, channels)
    return to_pixels(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(0, "test", 0)))


def test_a_seed_and_a_step_decide_the_view() -> None:
    pixels = pictures()
    first, again, later = (augment(pixels, EVERYTHING, generator(1, "augment", step)) for step in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)


def test_every_picture_of_a_batch_gets_a_view_of_its_own() -> None:
    one = pictures(1).expand(8, -1, -1, -1)
    for setting in ("shift", "rotate", "scale", "shear", "brightness", "contrast"):
        views = augment(one, AugmentSettings.model_validate({setting: 3 if setting == "shift" else 0.4}),
                        generator(0, "augment", 1))  # fmt: skip
        assert len({view.numpy().tobytes() for view in views}) > 4, setting


def test_a_view_stays_a_picture() -> None:
    view = augment(pictures(), EVERYTHING, generator(0, "augment", 1))
    assert view.shape == (6, 3, 12, 10)
    assert float(view.min()) >= 0
    assert float(view.max()) <= 1


def test_without_settings_nothing_changes() -> None:
    assert torch.equal(augment(pictures(), AugmentSettings(), generator(0, "augment", 1)), pictures())


def test_a_shift_moves_whole_pixels_and_repeats_the_edge() -> None:
    picture = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])[None, None]
    moved = shift(picture, down=torch.tensor([1]), right=torch.tensor([-1]))
    assert moved[0, 0].tolist() == [[2, 3, 3], [2, 3, 3], [5, 6, 6]]


def test_a_warp_by_the_identity_changes_nothing_and_by_half_a_turn_turns() -> None:
    identity = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(6, 2, 3)
    assert torch.allclose(warp(pictures(), identity), pictures(), atol=1e-5)
    assert torch.allclose(warp(pictures(), -identity), pictures().flip(2, 3), atol=1e-5)


def test_a_flip_mirrors_about_half_of_the_pictures() -> None:
    pixels = pictures(1).expand(400, -1, -1, -1)
    view = augment(pixels, AugmentSettings(flip=True), generator(0, "augment", 1))
    mirrored = (view == pixels.flip(3)).flatten(1).all(1)
    unchanged = (view == pixels).flatten(1).all(1)
    assert bool((mirrored ^ unchanged).all())
    assert 150 < int(mirrored.sum()) < 250


@pytest.mark.parametrize(("batch_size", "count"), [(8, 30), (64, 30), (30, 30), (7, 49)])
def test_every_image_comes_once_an_epoch_in_an_order_of_its_own(batch_size: int, count: int) -> None:
    steps = 3 * count // math.gcd(batch_size, count)
    drawn = torch.cat([batch_indices(step, batch_size, count, seed=4) for step in range(1, steps + 1)])
    epochs = drawn[: len(drawn) // count * count].reshape(-1, count)
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs.tolist())
    assert epochs[0].tolist() != epochs[1].tolist()


def test_the_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    optim = OptimSettings(learning_rate=0.1, warmup=0.25)
    rates = [learning_rate(step, 1000, optim) for step in range(1, 1001)]
    assert max(rates) == rates[250] == pytest.approx(0.1)
    assert rates[:251] == sorted(rates[:251])
    assert rates[250:] == sorted(rates[250:], reverse=True)
    assert rates[0] == pytest.approx(0.004)
    assert rates[-1] < 1e-6


def test_without_warmup_the_rate_is_a_plain_cosine() -> None:
    optim = OptimSettings(learning_rate=0.1, warmup=0)
    rates = [learning_rate(step, 4, optim) for step in range(1, 5)]
    assert rates == pytest.approx([0.1 * (1 + math.cos(math.pi * i / 4)) / 2 for i in range(4)])


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_weights_decay_but_biases_and_norms_do_not(name: str) -> None:
    net = build_net(ModelSettings(name="vgg", widths=(4, 4)), InputSize(28, 28, 1), 3)
    optimizer = build_optimizer(net, OptimSettings.model_validate({"name": name, "weight_decay": 0.5}))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    told = {name: decay[id(parameter)] for name, parameter in net.named_parameters()}
    assert told.pop("0.weight") == 0.5  # a convolution
    assert told["1.weight"] == told["1.bias"] == 0.0  # its batch norm
    assert len(decay) == len(list(net.parameters()))
