"""What is done to the values of pixels, against torchvision on single pictures."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from pupil_training.augment import tones

Change = Callable[[Tensor, Tensor], Tensor]


def levels(channels: int) -> Tensor:
    """uint8 (5, C, 20, 13): noise over all values, noise over some, one value, black and white, and a ramp."""
    random = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (5, channels, 20, 13), dtype=torch.uint8, generator=random)
    noise[1] = noise[1] // 3 + 40
    noise[2] = 77
    noise[3] = (noise[3] > 99) * 255
    noise[4] = torch.arange(260).reshape(20, 13).clamp(max=255)
    return noise


def one_by_one(change: Callable[[Tensor, float], Tensor], pictures: Tensor, numbers: Tensor) -> Tensor:
    return torch.stack([change(picture, number) for picture, number in zip(pictures, numbers.tolist(), strict=True)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (tones.brightened, tv.adjust_brightness),
        (tones.contrasted, tv.adjust_contrast),
        (tones.saturated, tv.adjust_saturation),
        (tones.sharpened, tv.adjust_sharpness),
    ],
)
def test_each_picture_is_blended_by_its_own_factor_as_torchvision_does_it(
    ours: Change, theirs: Callable[[Tensor, float], Tensor], channels: int
) -> None:
    pixels, factors = levels(channels) / 255, torch.tensor([0.0, 0.3, 1.0, 1.4, 1.9])
    assert torch.allclose(ours(pixels, factors), one_by_one(theirs, pixels, factors), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_turn_of_the_hue_is_torchvisions(channels: int) -> None:
    for turns in ([-0.5, -0.2, 0.0, 0.1, 0.5], [0.1, 0.3, 0.2, -0.4, -0.05]):
        pixels, turn = levels(channels) / 255, torch.tensor(turns)
        assert torch.allclose(tones.hue_turned(pixels, turn), one_by_one(tv.adjust_hue, pixels, turn), atol=1e-5)


def test_a_third_of_a_turn_makes_red_green_and_green_blue() -> None:
    red, green, blue = torch.eye(3)[:, :, None, None]
    third = torch.tensor([1 / 3])
    assert torch.allclose(tones.hue_turned(red[None], third), green[None], atol=1e-6)
    assert torch.allclose(tones.hue_turned(green[None], third), blue[None], atol=1e-6)


def test_a_blur_is_torchvisions_away_from_the_edge() -> None:
    pixels, sigma = levels(3) / 255, torch.tensor([0.0, 0.4, 0.7, 0.9, 1.0])
    blurred = tones.blurred(pixels, sigma, most=1.0)
    assert torch.allclose(blurred[0], pixels[0], atol=1e-6)
    for ours, picture, by in zip(blurred[1:], pixels[1:], sigma[1:].tolist(), strict=True):
        theirs = tv.gaussian_blur(picture, [7, 7], [by, by])
        assert torch.allclose(ours[:, 3:-3, 3:-3], theirs[:, 3:-3, 3:-3], atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_in_eight_bits_pictures_are_posterized_equalized_and_solarized_as_torchvision_does_it(channels: int) -> None:
    pictures = levels(channels)
    for bits in ([8, 7, 6, 5, 4], [2, 3, 4, 6, 8]):
        theirs = torch.stack([tv.posterize(picture, by) for picture, by in zip(pictures, bits, strict=True)])
        assert torch.equal((tones.posterized(pictures / 255, torch.tensor(bits)) * 255).round().byte(), theirs)
    for above in ([1.0, 0.7, 77 / 255, 0.2, 0.0], [0.5, 0.4, 0.3, 1.0, 128 / 255]):
        theirs = torch.stack([tv.solarize(one, round(255 * by, 6)) for one, by in zip(pictures, above, strict=True)])
        assert torch.equal((tones.solarized(pictures / 255, torch.tensor(above)) * 255).round().byte(), theirs)
    assert torch.equal((tones.equalized(pictures / 255) * 255).round().byte(), tv.equalize(pictures))
    assert torch.allclose(tones.autocontrasted(pictures / 255), tv.autocontrast(pictures / 255), atol=1e-5)


def test_the_smallest_pictures_fail_nowhere() -> None:
    dots = torch.rand(4, 3, 1, 2)
    assert torch.equal(tones.sharpened(dots, torch.full((4,), 0.2)), dots)
    assert tones.blurred(dots, torch.full((4,), 2.0), most=2.0).shape == dots.shape
    for change in (tones.autocontrasted, tones.equalized):
        assert change(dots).shape == dots.shape
