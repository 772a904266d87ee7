"""Augmentation, batches and learning rates: what a seed and a step decide."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from pupil_training.augment import Views
from pupil_training.augment.chance import Chance
from pupil_training.augment.geometry import shifted
from pupil_training.data.feed import Batch, Feed
from pupil_training.data.feed_memory import MemoryFeed
from pupil_training.data.order import Cut, Order
from pupil_training.errors import RecipeError
from pupil_training.models import InputSize, build_net
from pupil_training.optim import build_optimizer, learning_rate
from pupil_training.pixels import to_pixels
from pupil_training.seeds import generator
from pupil_training.settings import AugmentSettings, ModelSettings, OptimSettings

EVERYTHING = {
    "crop": 0.3, "perspective": 0.3, "rotate": 20, "scale": 0.2, "shear": 10, "shift": 3, "flip": True,
    "contrast": 0.5, "brightness": 0.5, "saturation": 0.5, "hue": 0.2, "blur": 0.8, "cutout": 4,
}  # fmt: skip
POLICIES: dict[str, dict[str, Any]] = {
    "everything": {**EVERYTHING, "randaugment": 2, "magnitude": "random"},
    "reflecting": {**EVERYTHING, "padding": "reflect", "trivial": True},
    "fixmatch": {"shift": 2, "flip": True, "randaugment": 2, "magnitude": "random", "cutout": 6},
    "mixup": {"shift": 2, "mixup": 0.5},
    "cutmix": {"flip": "alternate", "cutmix": 1.0},
} | {name: {name: value} for name, value in EVERYTHING.items()}


def views_of(seed: int = 1, **settings: Any) -> Views:
    return Views(AugmentSettings.model_validate(settings), seed)


def images(count: int = 6, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, 12, 10, channels), dtype=torch.uint8, generator=generator(0, "test", 0))


def pictures(count: int = 6, channels: int = 3) -> torch.Tensor:
    return to_pixels(images(count, channels))


def batch(pictures: torch.Tensor, epoch: int = 0, first: int = 0) -> Batch:
    """These images as numbers `first` and after it of a set, in one epoch."""
    chosen = torch.arange(first, first + len(pictures))
    return Batch(1, 0, pictures, None, chosen, torch.full((len(pictures),), epoch))


def test_an_image_and_its_epoch_decide_the_view_whatever_seed_and_epoch_came_before() -> None:
    views = views_of(**EVERYTHING)
    whole = views(batch(images()))
    assert torch.equal(whole, views_of(**EVERYTHING)(batch(images())))
    for other in (
        views(batch(images(), epoch=1)),
        views_of(seed=2, **EVERYTHING)(batch(images())),
        views(batch(images(), 0, 9)),
    ):
        assert not torch.equal(whole, other)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_view_is_the_same_bit_by_bit_whichever_batch_its_image_comes_in(policy: str, channels: int) -> None:
    many = torch.randint(0, 256, (60, 40, 36, channels), dtype=torch.uint8, generator=generator(0, "test", 0))
    views = views_of(**POLICIES[policy])
    whole = views(batch(many))
    cuts = [0, 2, 4, 20, 44, 60] if views.settings.mixes else [0, 1, 2, 5, 28, 59, 60]
    parts = [views(batch(many[first:last], first=first)) for first, last in pairwise(cuts)]
    assert torch.equal(whole, torch.cat(parts))


def test_one_large_picture_is_seen_as_among_others() -> None:
    many = torch.randint(0, 256, (3, 224, 224, 3), dtype=torch.uint8, generator=generator(0, "test", 0))
    views = views_of(contrast=0.5, blur=0.5, rotate=20, trivial=True)
    assert torch.equal(views(batch(many)), torch.cat([views(batch(many[i : i + 1], first=i)) for i in range(3)]))


@pytest.mark.parametrize("setting", [name for name in EVERYTHING if name != "flip"])
def test_every_picture_of_a_batch_gets_a_view_of_its_own(setting: str) -> None:
    seen = views_of(**{setting: EVERYTHING[setting]})(batch(images(1).expand(8, -1, -1, -1)))
    assert len({view.numpy().tobytes() for view in seen}) > 4


FARTHEST: list[dict[str, Any]] = [
    {"crop": 0.001, "aspect": 10, "perspective": 0.6, "rotate": 180, "shear": 80, "scale": 0.999, "shift": 500},
    {"contrast": 0.99, "brightness": 0.99, "saturation": 0.99, "hue": 0.5, "blur": 10, "cutout": 100},
    {"randaugment": 20, "magnitude": 30, "padding": "reflect"},
    {"mixup": 1e-6, "shift": 500, "padding": "reflect"},
    {"cutmix": 1e5},
]


@pytest.mark.parametrize("size", [(12, 10, 3), (8, 8, 1), (1, 1, 3), (2, 1, 1)])
@pytest.mark.parametrize("policy", [*POLICIES.values(), *FARTHEST])
def test_a_view_stays_a_picture_however_far_it_goes(policy: dict[str, Any], size: tuple[int, int, int]) -> None:
    height, width, channels = size
    random = torch.randint(0, 256, (400, *size), dtype=torch.uint8, generator=generator(0, "test", 0))
    view = views_of(**policy)(batch(random))
    assert view.shape == (400, channels, height, width)
    assert bool(((view >= 0) & (view <= 1)).all())  # a NaN is neither


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


NOWHERE, KEPT = torch.tensor([0]), torch.tensor([False])


def test_a_shift_moves_whole_pixels_and_repeats_the_edge() -> None:
    picture = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])[None, None]
    moved = shifted(picture, torch.tensor([-1]), torch.tensor([1]), KEPT)
    assert moved[0, 0].tolist() == [[2, 3, 3], [2, 3, 3], [5, 6, 6]]
    assert shifted(picture, torch.tensor([-1]), torch.tensor([1]), ~KEPT)[0, 0].tolist()[2] == [6, 6, 5]


def test_a_shift_may_reflect_as_padding_does() -> None:
    padded = F.pad(pictures(1), (3, 3, 3, 3), mode="reflect")
    moved = shifted(pictures(1), torch.tensor([-2]), torch.tensor([3]), KEPT, "reflect")
    assert torch.equal(moved, padded[:, :, :12, 5:15])
    far = shifted(pictures(1), torch.tensor([18 * 7 + 1]), NOWHERE, KEPT, "reflect")
    assert torch.equal(far, shifted(pictures(1), torch.tensor([1]), NOWHERE, KEPT, "reflect"))


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


def test_a_batch_that_would_leave_images_over_is_refused() -> None:
    with pytest.raises(RecipeError, match="a batch of 8 cannot be cut into 1 parts for each of 3 processes"):
        Order(30, 8, seed=4, cut=Cut(1, 3, 0))


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


@pytest.mark.parametrize("name", ["adamw", "sgd", "muon"])
def test_weights_decay_but_biases_and_norms_do_not(name: str) -> None:
    net = build_net(ModelSettings(name="vgg", widths=(4, 4)), InputSize(28, 28, 1), 3)
    optimizer = build_optimizer([(net, 1.0)], OptimSettings.model_validate({"name": name, "weight_decay": 0.5}))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    told = {name: decay[id(parameter)] for name, parameter in net.named_parameters()}
    assert told.pop("0.weight") == 0.5  # a convolution
    assert told["1.weight"] == told["1.bias"] == 0.0  # its batch norm
    assert len(decay) == len(list(net.parameters()))
