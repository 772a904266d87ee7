"""Augmentation, batches and learning rates: what a seed and a step decide."""

import math

import pytest
import torch

from pupil_training.augment import Views
from pupil_training.augment.chance import Chance
from pupil_training.augment.geometry import shift, warp
from pupil_training.data.feed import Batch, Feed
from pupil_training.data.feed_memory import MemoryFeed
from pupil_training.data.order import Cut, Order
from pupil_training.models import InputSize, build_net
from pupil_training.optim import build_optimizer, learning_rate
from pupil_training.pixels import to_pixels
from pupil_training.seeds import generator
from pupil_training.settings import AugmentSettings, ModelSettings, OptimSettings

EVERYTHING = AugmentSettings(
    shift=3, rotate=20, scale=0.2, shear=10, brightness=0.5, contrast=0.5, flip=True, cutout=4
)  # fmt: skip


def images(count: int = 6, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, 12, 10, channels), dtype=torch.uint8, generator=generator(0, "test", 0))


def pictures(count: int = 6, channels: int = 3) -> torch.Tensor:
    return to_pixels(images(count, channels))


def batch(pictures: torch.Tensor, epoch: int = 0, first: int = 0, targets: torch.Tensor | None = None) -> Batch:
    """These images as numbers `first` and after it of a set, in one epoch."""
    chosen = torch.arange(first, first + len(pictures))
    return Batch(1, 0, pictures, targets, chosen, torch.full((len(pictures),), epoch))


def test_an_image_and_its_epoch_decide_the_view_whatever_batch_it_comes_in() -> None:
    views = Views(EVERYTHING, seed=1)
    whole = views(batch(images()))
    assert torch.equal(whole, Views(EVERYTHING, seed=1)(batch(images())))
    parts = [views(batch(images()[:2])), views(batch(images()[2:], first=2))]
    assert torch.equal(whole, torch.cat(parts))
    for other in (views(batch(images(), epoch=1)), Views(EVERYTHING, 2)(batch(images())), views(batch(images(), 0, 9))):
        assert not torch.equal(whole, other)


def test_every_picture_of_a_batch_gets_a_view_of_its_own() -> None:
    one = images(1).expand(8, -1, -1, -1)
    for setting in ("shift", "rotate", "scale", "shear", "brightness", "contrast", "cutout"):
        value = 3 if setting in ("shift", "cutout") else 0.4
        views = Views(AugmentSettings.model_validate({setting: value}), seed=0)(batch(one))
        assert len({view.numpy().tobytes() for view in views}) > 4, setting


def test_a_view_stays_a_picture() -> None:
    view = Views(EVERYTHING, seed=0)(batch(images()))
    assert view.shape == (6, 3, 12, 10)
    assert float(view.min()) >= 0
    assert float(view.max()) <= 1


def test_without_settings_nothing_changes() -> None:
    assert torch.equal(Views(AugmentSettings(), seed=0)(batch(images())), pictures())


def test_chance_is_uniform_and_its_streams_epochs_and_images_are_strangers() -> None:
    places, first = torch.arange(20_000), torch.zeros(20_000, dtype=torch.int64)
    chance, later = Chance(0, "augment", places, first), Chance(0, "augment", places, first + 1)
    drawn = [chance.uniform("one"), chance.uniform("two"), later.uniform("one"), chance.uniform("one").roll(1)]
    drawn.append(Chance(0, "other", places, first).uniform("one"))
    for numbers in drawn:
        counts = torch.histc(numbers, 10, 0, 1)
        assert ((counts - 2000).abs() < 5 * math.sqrt(2000 * 0.9)).all()  # five standard deviations
        assert float(numbers.min()) >= 0
        assert float(numbers.max()) < 1
    together = torch.corrcoef(torch.stack(drawn)) - torch.eye(len(drawn))
    assert together.abs().max() < 5 / math.sqrt(20_000)
    assert torch.equal(chance.once("one"), later.once("one"))
    assert set(chance.whole("one", 3).tolist()) == {0, 1, 2}


def test_a_shift_moves_whole_pixels_and_repeats_the_edge() -> None:
    picture = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])[None, None]
    moved = shift(picture, down=torch.tensor([1]), right=torch.tensor([-1]))
    assert moved[0, 0].tolist() == [[2, 3, 3], [2, 3, 3], [5, 6, 6]]


def test_a_warp_by_the_identity_changes_nothing_and_by_half_a_turn_turns() -> None:
    identity = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(6, 2, 3)
    assert torch.allclose(warp(pictures(), identity), pictures(), atol=1e-5)
    assert torch.allclose(warp(pictures(), -identity), pictures().flip(2, 3), atol=1e-5)


def mirrored(view: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Which pictures were mirrored; every other one must be as it was."""
    turned, same = (view == pixels.flip(3)).flatten(1).all(1), (view == pixels).flatten(1).all(1)
    assert bool((turned ^ same).all())
    return turned


def test_a_flip_mirrors_about_half_of_the_pictures() -> None:
    one = images(1).expand(400, -1, -1, -1)
    turned = mirrored(Views(AugmentSettings(flip=True), seed=0)(batch(one)), to_pixels(one))
    assert 150 < int(turned.sum()) < 250


def test_an_alternating_flip_mirrors_each_picture_in_every_other_epoch() -> None:
    views, one = Views(AugmentSettings(flip="alternate"), seed=0), images(1).expand(400, -1, -1, -1)
    epochs = [mirrored(views(batch(one, epoch)), to_pixels(one)) for epoch in range(4)]
    assert 150 < int(epochs[0].sum()) < 250
    assert torch.equal(epochs[1], ~epochs[0])
    assert torch.equal(epochs[2], epochs[0])
    assert torch.equal(epochs[3], epochs[1])


def test_a_cutout_hides_one_square_of_grey() -> None:
    white = torch.full((50, 12, 10, 1), 255, dtype=torch.uint8)
    hidden = (Views(AugmentSettings(cutout=4), seed=0)(batch(white)) == 0.5)[:, 0]
    rows, columns = hidden.any(2).sum(1), hidden.any(1).sum(1)
    assert torch.equal(hidden.flatten(1).sum(1), rows * columns)  # a rectangle, smaller only at the edge
    assert int(rows.max()) == int(columns.max()) == 4


def mixed(**settings: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Black and white pictures in turn, mixed, and their targets' share of white."""
    pictures = torch.zeros(40, 12, 10, 1, dtype=torch.uint8)
    pictures[1::2] = 255
    targets = torch.eye(2).repeat(20, 1)
    pixels, shares = Views(AugmentSettings.model_validate(settings), 0).mixed(batch(pictures, targets=targets), targets)
    assert shares is not None
    assert torch.allclose(shares.sum(1), torch.ones(40))
    return pixels, shares[:, 1]


def test_mixup_mixes_pictures_and_targets_in_the_same_share() -> None:
    pixels, white = mixed(mixup=1.0)
    assert torch.allclose(pixels[:, 0, 0, 0], white, atol=1e-6)
    assert torch.allclose(pixels.amax((1, 2, 3)), pixels.amin((1, 2, 3)))
    assert len(set(white.tolist())) > 30


def test_cutmix_counts_what_it_pasted() -> None:
    pixels, white = mixed(cutmix=1.0)
    assert set(pixels.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(pixels.mean((1, 2, 3)), white, atol=1e-6)
    assert len(set(white.tolist())) > 10


def test_the_shares_of_mixup_follow_its_beta_distribution() -> None:
    from scipy.stats import beta, kstest

    many = torch.zeros(2000, 2, 2, 1, dtype=torch.uint8)
    many[1::2] = 255
    pixels = Views(AugmentSettings(mixup=0.4), seed=0)(batch(many))
    kept = torch.where(torch.arange(2000) % 2 == 1, pixels[:, 0, 0, 0], 1 - pixels[:, 0, 0, 0])
    assert kstest(kept.numpy(), beta(0.4, 0.4).cdf).pvalue > 0.001


def drawn(feed: Feed, steps: int) -> torch.Tensor:
    return torch.cat([part.chosen for step in range(1, steps + 1) for part in feed.parts(step)])


@pytest.mark.parametrize(("batch_size", "count"), [(8, 30), (64, 30), (30, 30), (7, 49)])
def test_every_image_comes_once_an_epoch_in_an_order_of_its_own(batch_size: int, count: int) -> None:
    feed = MemoryFeed(images(count), torch.arange(count), Order(count, batch_size, seed=4))
    steps = 3 * count // math.gcd(batch_size, count)
    chosen = drawn(feed, steps)
    epochs = chosen[: len(chosen) // count * count].reshape(-1, count)
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs.tolist())
    assert epochs[0].tolist() != epochs[1].tolist()
    for part in feed.parts(2):
        assert torch.equal(part.images, images(count)[part.chosen])
        assert torch.equal(part.targets, part.chosen)
        assert part.epochs.tolist() == [place // count for place in range(batch_size, 2 * batch_size)]


def test_a_step_cut_among_processes_and_parts_holds_the_images_of_the_whole_step() -> None:
    def feed(cut: Cut) -> Feed:
        return MemoryFeed(images(30), None, Order(30, 8, seed=4, cut=cut))

    shares = [[part.chosen for part in feed(Cut(2, 2, process)).parts(5)] for process in range(2)]
    assert [len(part) for share in shares for part in share] == [2, 2, 2, 2]
    together = torch.cat([shares[process][part] for part in range(2) for process in range(2)])
    assert together.tolist() == drawn(feed(Cut()), 5)[-8:].tolist()


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
    optimizer = build_optimizer([(net, 1.0)], OptimSettings.model_validate({"name": name, "weight_decay": 0.5}))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    told = {name: decay[id(parameter)] for name, parameter in net.named_parameters()}
    assert told.pop("0.weight") == 0.5  # a convolution
    assert told["1.weight"] == told["1.bias"] == 0.0  # its batch norm
    assert len(decay) == len(list(net.parameters()))
