"""Maps and warps against torchvision on single pictures, where every pixel comes from inside the picture."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from pupil_training.augment.chance import Chance
from pupil_training.augment.geometry import drawn_maps, shifted
from pupil_training.augment.maps import affine, between_corners, mirrored, moved, sheared, turned, warp, zoomed
from pupil_training.settings import AugmentSettings, Padding

BILINEAR = InterpolationMode.BILINEAR
SIZES = [(28, 28, 1), (20, 31, 3)]  # height, width, channels


def pictures(height: int, width: int, channels: int, count: int = 4) -> Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0))


def same_inside(ours: Tensor, theirs: Tensor, inside: Tensor) -> None:
    """`inside` is what they make of a white picture: below 1 where black came in from outside."""
    whole = (inside > 0.9999).expand_as(ours)
    assert whole.float().mean() > 0.3
    assert torch.allclose(ours[whole], theirs[whole], atol=2e-4)


@pytest.mark.parametrize("size", SIZES)
def test_the_identity_changes_nothing_and_half_a_turn_turns(size: tuple[int, int, int]) -> None:
    pixels = pictures(*size)
    assert torch.allclose(warp(pixels, torch.eye(3).expand(4, 3, 3)), pixels, atol=1e-4)
    assert torch.allclose(warp(pixels, turned(torch.tensor([180.0]).expand(4))), pixels.flip(2, 3), atol=1e-4)
    assert torch.allclose(warp(pixels, mirrored(torch.tensor([True]).expand(4))), pixels.flip(3), atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_pictures_turn_as_torchvision_turns_them_each_by_its_own_angle(size: tuple[int, int, int]) -> None:
    pixels, angles = pictures(*size), [-33.0, 5.0, 12.5, 90.0]
    ours = warp(pixels, turned(torch.tensor(angles)))
    for picture, angle, view in zip(pixels, angles, ours, strict=True):
        theirs, inside = (tv.rotate(one, angle, BILINEAR) for one in (picture, torch.ones_like(picture)))
        same_inside(view, theirs, inside)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("degrees", "shear", "scale", "shift"), [(20, 11, 1.2, (3, -2)), (-40, -25, 0.8, (-1, 4))])
def test_turned_sheared_zoomed_and_moved_in_one_map_is_torchvisions_affine(
    size: tuple[int, int, int], degrees: float, shear: float, scale: float, shift: tuple[int, int]
) -> None:
    picture = pictures(*size, count=1)
    tangent = torch.tensor([shear]).deg2rad().tan()
    steps = [sheared(tangent), turned(torch.tensor([-degrees])), zoomed(torch.tensor([scale])), moved(*shift)]
    ours = warp(picture, steps[0] @ steps[1] @ steps[2] @ steps[3])
    theirs, inside = (
        tv.affine(one, degrees, list(shift), scale, [shear, 0.0], BILINEAR)
        for one in (picture, torch.ones_like(picture))
    )
    same_inside(ours, theirs, inside)


@pytest.mark.parametrize("size", SIZES)
def test_a_perspective_is_torchvisions(size: tuple[int, int, int]) -> None:
    height, width, _ = size
    start = [[0, 0], [width, 0], [width, height], [0, height]]
    ends = [
        [[3, 2], [width - 1, 4], [width - 5, height - 1], [2, height - 6]],
        [[0, 5], [width - 6, 0], [width, height - 4], [4, height]],
    ]
    middle = torch.tensor([width / 2, height / 2])
    shown = torch.tensor(start) - middle
    ours = warp(pictures(*size, count=2), between_corners(torch.tensor(ends) - middle, shown.expand(2, 4, 2)))
    for picture, end, view in zip(pictures(*size, count=2), ends, ours, strict=True):
        theirs, inside = (tv.perspective(one, start, end, BILINEAR) for one in (picture, torch.ones_like(picture)))
        same_inside(view, theirs, inside)


def test_a_crop_is_torchvisions_but_for_its_edge_which_sees_what_lies_around() -> None:
    top, left, height, width = 4, 9, 12, 15
    picture = pictures(24, 30, 3, count=1)
    right, down = left + width / 2 - 15, top + height / 2 - 12
    ours = warp(picture, affine(torch.tensor([width / 30]), 0, right, 0, height / 24, down))
    theirs = tv.resized_crop(picture, top, left, height, width, [24, 30], BILINEAR, antialias=False)
    assert torch.allclose(ours[..., 1:-1, 1:-1], theirs[..., 1:-1, 1:-1], atol=1e-4)


@pytest.mark.parametrize("padding", ["edge", "reflect"])
def test_a_shift_is_the_same_by_a_warp_and_by_whole_pixels(padding: Padding) -> None:
    pixels, flipped = pictures(20, 31, 3), torch.tensor([True, False, True, False])
    right, down = torch.tensor([3, -2, 0, 7]), torch.tensor([-4, 0, 1, 5])
    warped = warp(pixels, moved(right, down) @ mirrored(flipped), padding)
    assert torch.allclose(warped, shifted(pixels, right, down, flipped, padding), atol=1e-4)


def test_one_map_of_two_changes_does_the_first_one_first() -> None:
    pixels, quarter, shift = pictures(16, 16, 1), turned(torch.tensor([90.0])), moved(torch.tensor([3]), 0)
    in_turns = warp(warp(pixels, quarter.expand(4, 3, 3)), shift.expand(4, 3, 3))
    at_once = warp(pixels, (quarter @ shift).expand(4, 3, 3))
    assert torch.allclose(in_turns, at_once, atol=1e-4)


def drawn(**settings: float) -> Tensor:
    """The maps of 2000 pictures of 20×30 pixels."""
    chance = Chance(0, "augment", torch.arange(2000), torch.zeros(2000, dtype=torch.int64))
    (maps,) = drawn_maps(AugmentSettings.model_validate(settings), chance, 20, 30)
    return maps


def test_crops_lie_inside_the_picture_with_areas_and_aspects_as_wide_as_asked() -> None:
    maps = drawn(crop=0.25, aspect=1.5)
    wide, high = maps[:, 0, 0], maps[:, 1, 1]  # shares of the picture's sides
    assert bool((maps[:, 0, 2].abs() + wide * 15 <= 15 + 1e-9).all())
    assert bool((maps[:, 1, 2].abs() + high * 10 <= 10 + 1e-9).all())
    area, aspect = wide * high, wide / high
    assert 0.25 <= area.min() < 0.26 < 0.99 < area.max() <= 1
    assert 1 / 1.5 <= aspect.min() < 0.68 < 1.48 < aspect.max() <= 1.5
    assert area.mean() == pytest.approx(0.625, abs=0.02)
    assert aspect.log().mean() == pytest.approx(0, abs=0.02)


def test_a_perspective_moves_corners_inwards_no_further_than_asked() -> None:
    maps = drawn(perspective=0.4).inverse()
    corner = maps @ torch.tensor([-15.0, -10.0, 1.0]).double()
    x, y = corner[:, 0] / corner[:, 2], corner[:, 1] / corner[:, 2]
    assert -15 <= x.min() < -14.9 < -9.1 < x.max() <= -9 + 1e-6
    assert -10 <= y.min() < -9.9 < -6.1 < y.max() <= -6 + 1e-6
