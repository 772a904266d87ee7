"""The shifts, against what can be worked out without them."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pupil_training.data.images import batch_for
from pupil_training.shifts import SHIFTS, Shift, accuracies

BY_NAME = {shift.name: shift for shift in SHIFTS}


@pytest.fixture
def images() -> Tensor:
    """Six colour pictures, 20×20, that are smooth enough to be turned."""
    random = np.random.default_rng(0)
    coarse = [Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8)) for _ in range(6)]
    return torch.from_numpy(np.stack([np.array(image.resize((20, 20))) for image in coarse]))


@pytest.mark.parametrize("shift", SHIFTS, ids=lambda shift: shift.name)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_shift_keeps_size_and_type_changes_more_the_stronger_it_is_and_always_does_the_same(
    shift: Shift, channels: int, images: Tensor
) -> None:
    before = images[..., :channels]
    changed = [shift(before, strength) for strength in shift.strengths]
    assert {(after.shape, after.dtype) for after in changed} == {(before.shape, torch.uint8)}
    apart = [(after.float() - before.float()).abs().mean().item() for after in changed]
    assert apart == sorted(apart)
    assert apart[0] > 1
    assert torch.equal(shift(before, shift.strengths[0]), changed[0])


def test_darker_and_brighter_multiply_every_pixel(images: Tensor) -> None:
    for name, factor in (("darker", 0.4), ("brighter", 2.0)):
        expected = (images.double() * factor).clamp(0, 255)
        assert (BY_NAME[name](images, factor).double() - expected).abs().max() <= 1


def test_contrast_stretches_grey_values_around_their_mean(images: Tensor) -> None:
    grey = images[..., :1]
    mean = grey.double().mean((1, 2, 3), keepdim=True)
    for name, factor in (("lower contrast", 0.3), ("higher contrast", 2.5)):
        expected = (mean + (grey.double() - mean) * factor).clamp(0, 255)
        assert (BY_NAME[name](grey, factor).double() - expected).abs().max() <= 2  # the mean is rounded on the way


def test_images_are_turned_one_way_and_the_other_in_turns(images: Tensor) -> None:
    turned = BY_NAME["rotated"](images, 90)
    for place, quarter in ((0, 3), (1, 1), (2, 3), (5, 1)):
        assert torch.equal(turned[place], torch.rot90(images[place], quarter))


def test_images_are_moved_right_down_left_and_up_in_turns_and_the_edge_is_repeated(images: Tensor) -> None:
    moved = BY_NAME["moved"](images, 10).numpy()  # two of twenty pixels
    for place, (down, right) in enumerate(((0, 2), (2, 0), (0, -2), (-2, 0), (0, 2))):
        wide = np.pad(images[place].numpy(), ((2, 2), (2, 2), (0, 0)), mode="edge")
        assert np.array_equal(moved[place], wide[2 - down : 22 - down, 2 - right : 22 - right])


def test_sheared_rows_move_the_further_the_farther_they_are_from_the_middle() -> None:
    upright = torch.zeros(2, 21, 21, 1, dtype=torch.uint8)
    upright[:, :, 10] = 255
    columns = BY_NAME["sheared"](upright, 45)[..., 0].argmax(2)  # at 45° as far as the row is from the middle
    down = torch.arange(21)
    assert torch.equal(columns[0], 20 - down)
    assert torch.equal(columns[1], down)


def test_the_middle_is_cropped_and_enlarged_to_the_old_size(images: Tensor) -> None:
    cropped = BY_NAME["cropped"](images, 50)
    for before, after in zip(images.numpy(), cropped.numpy(), strict=True):
        reference = np.array(Image.fromarray(before[5:15, 5:15]).resize((20, 20), Image.Resampling.BILINEAR))
        assert np.abs(after.astype(int) - reference.astype(int)).max() <= 1


def test_an_image_is_shifted_alike_in_whichever_batch_it_comes() -> None:
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (11, 640, 640, 1), dtype=np.uint8))
    assert batch_for(images) == 9  # so that eight are shifted at once
    together = BY_NAME["moved"](images, 5)
    assert torch.equal(together[8:], BY_NAME["moved"](images[8:], 5))


def test_accuracies_are_counted_at_every_strength() -> None:
    bright, dark = torch.full((3, 8, 8, 1), 200, dtype=torch.uint8), torch.full((1, 8, 8, 1), 20, dtype=torch.uint8)
    labels = torch.tensor([1, 1, 1, 0])

    def by_brightness(images: Tensor) -> Tensor:
        bright = (images.float().mean((1, 2, 3)) > 100).long()
        return torch.eye(2)[bright]

    found = list(accuracies(by_brightness, torch.cat([bright, dark]), labels))
    assert len(found) == sum(len(shift.strengths) for shift in SHIFTS)
    right = {(each.shift, each.strength): each.accuracy.right for each in found}
    assert [right["darker", strength] for strength in (0.7, 0.4, 0.2)] == [4, 1, 1]  # 140, 80, 40
    assert [right["rotated", strength] for strength in (10, 45)] == [4, 4]
    facts = found[0].facts()
    assert facts["accuracy"] == {"right": 4, "of": 4}
    assert facts["interval"][1] == 1.0
