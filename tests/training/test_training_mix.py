"""MixUp and CutMix: shares, windows and targets, against scipy and torchvision."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.stats import beta, kstest
from torch import Tensor
from torchvision.transforms import v2 as tv

from pupil_training.augment import Views
from pupil_training.augment.chance import Chance
from pupil_training.data.feed import Batch
from pupil_training.data.order import Cut
from pupil_training.data.training import gather
from pupil_training.errors import RecipeError
from pupil_training.pixels import to_pixels
from pupil_training.recipe import Recipe
from pupil_training.settings import AugmentSettings

COUNT, HEIGHT, WIDTH = 120, 12, 10
CHOSEN, EPOCHS = torch.arange(COUNT), torch.zeros(COUNT, dtype=torch.int64)
ONE_HOT = torch.eye(COUNT)  # so that a target says how much of which picture it holds


def mixed(images: Tensor, targets: Tensor, **settings: float) -> tuple[Tensor, Tensor]:
    batch = Batch(1, 0, images, targets, CHOSEN, EPOCHS)
    pixels, shares = Views(AugmentSettings.model_validate(settings), 0).mixed(batch, targets)
    assert shares is not None
    assert torch.allclose(shares.sum(1), torch.ones(COUNT))
    return pixels, shares


def black_and_white() -> Tensor:
    """In turn."""
    images = torch.zeros(COUNT, HEIGHT, WIDTH, 1, dtype=torch.uint8)
    images[1::2] = 255
    return images


def noise() -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (COUNT, HEIGHT, WIDTH, 3), dtype=torch.uint8, generator=random)


def drawn_shares(alpha: float) -> Tensor:
    """What each picture keeps of itself before windows are cut off at the edge, by scipy from the same chance."""
    return torch.from_numpy(beta(alpha, alpha).ppf(Chance(0, "augment", CHOSEN, EPOCHS).uniform("mix").double()))


def of_torchvision(transform: Any, pixels: Tensor, place: int, **params: Any) -> tuple[Tensor, Tensor]:
    """The picture at `place` and its target, mixed with its neighbour by torchvision, which rolls a batch by one."""
    pair = [place, place ^ 1]  # in a batch of two the roll is our exchange of neighbours
    labels = ONE_HOT[pair]
    params |= {"labels": labels, "batch_size": 2}
    return transform.transform(pixels[pair], params)[0], transform.transform(labels, params)[0]


def test_mixup_mixes_pictures_and_targets_in_the_same_share() -> None:
    pixels, shares = mixed(black_and_white(), torch.eye(2).repeat(COUNT // 2, 1), mixup=1.0)
    assert torch.allclose(pixels[:, 0, 0, 0], shares[:, 1], atol=1e-6)
    assert torch.allclose(pixels.amax((1, 2, 3)), pixels.amin((1, 2, 3)))
    assert len(set(shares[:, 1].tolist())) > 30


def test_cutmix_counts_what_it_pasted() -> None:
    pixels, shares = mixed(black_and_white(), torch.eye(2).repeat(COUNT // 2, 1), cutmix=1.0)
    assert set(pixels.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(pixels.mean((1, 2, 3)), shares[:, 1], atol=1e-6)
    assert len(set(shares[:, 1].tolist())) > 10


def test_the_shares_of_mixup_follow_its_beta_distribution() -> None:
    many = torch.zeros(2000, 2, 2, 1, dtype=torch.uint8)
    many[1::2] = 255
    pixels = Views(AugmentSettings(mixup=0.4), 0)(Batch(1, 0, many, None, torch.arange(2000), torch.arange(2000) * 0))
    kept = torch.where(torch.arange(2000) % 2 == 1, pixels[:, 0, 0, 0], 1 - pixels[:, 0, 0, 0])
    assert kstest(kept.numpy(), beta(0.4, 0.4).cdf).pvalue > 0.001


def test_mixup_is_torchvisions_with_a_share_for_each_picture() -> None:
    pixels, targets = mixed(noise(), ONE_HOT, mixup=0.7)
    for place, share in enumerate(drawn_shares(0.7).tolist()):
        picture, target = of_torchvision(tv.MixUp(), to_pixels(noise()), place, lam=share)
        assert torch.allclose(pixels[place], picture, atol=1e-5)
        assert torch.allclose(targets[place], target, atol=1e-5)


def window(picture: Tensor) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part in which it is not its own colour."""
    rows, columns = (picture[0].any(dim).nonzero()[:, 0].tolist() for dim in (1, 0))
    return (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) if rows else (0, 0, 0, 0)


def test_cutmix_is_torchvisions_with_a_window_for_each_picture_and_its_share_after_the_edge_cut_it() -> None:
    bright, _ = mixed(black_and_white(), ONE_HOT, cutmix=1.0)
    windows = [window(picture if place % 2 == 0 else 1 - picture) for place, picture in enumerate(bright)]
    pixels, targets = mixed(noise(), ONE_HOT, cutmix=1.0)
    for place, (left, top, right, bottom) in enumerate(windows):
        params = {"box": windows[place], "lam_adjusted": 1 - (right - left) * (bottom - top) / (WIDTH * HEIGHT)}
        picture, target = of_torchvision(tv.CutMix(), to_pixels(noise()), place, **params)
        assert torch.equal(pixels[place], picture)
        assert torch.allclose(targets[place], target, atol=1e-6)
    whole = [(box, share) for box, share in zip(windows, drawn_shares(1.0).tolist(), strict=True) if _untouched(*box)]
    assert len(whole) > 8
    for (left, top, right, bottom), share in whole:  # sides in the ratio of the square root of the part pasted
        assert right - left == pytest.approx(WIDTH * (1 - share) ** 0.5, abs=1)
        assert bottom - top == pytest.approx(HEIGHT * (1 - share) ** 0.5, abs=1)


def _untouched(left: int, top: int, right: int, bottom: int) -> bool:
    return left > 0 and top > 0 and right < WIDTH and bottom < HEIGHT


def test_a_part_with_an_odd_number_of_pictures_is_refused_before_training(recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(RecipeError, match="the batch, or its part, must have an even size"):
        recipe(augment={"mixup": 0.2}, batch_size=12, accumulate=4)
    settings = recipe(augment={"cutmix": 1.0}, batch_size=12)
    data = gather(settings)
    assert len(list(data.feed(settings, Cut(2, 3), torch.device("cpu")).parts(1))) == 2
    with pytest.raises(RecipeError, match="a batch of 12 leaves 3 images to a process at once"):
        data.feed(settings, Cut(2, 2), torch.device("cpu"))
