"""RandAugment and TrivialAugment against torchvision's, operation by operation, and what they draw."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2 as tv

from pupil_training.augment import Views
from pupil_training.augment.randaugment import operations
from pupil_training.data.feed import Batch
from pupil_training.settings import AugmentSettings

NAMES = {
    "identity": "Identity", "shear_x": "ShearX", "shear_y": "ShearY", "translate_x": "TranslateX",
    "translate_y": "TranslateY", "rotate": "Rotate", "brightness": "Brightness", "color": "Color",
    "contrast": "Contrast", "sharpness": "Sharpness", "posterize": "Posterize", "solarize": "Solarize",
    "autocontrast": "AutoContrast", "equalize": "Equalize",
}  # fmt: skip
MAGNITUDES = torch.tensor([0, 1, 4, 9, 10, 14, 20, 25, 29, 30])  # elsewhere theirs may be a rounded 15.999998


def pictures(channels: int, count: int = len(MAGNITUDES)) -> Tensor:
    """uint8 (N, C, 36, 41): coarse noise, so that half a pixel matters little."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (count, channels, 4, 5), generator=random).float()
    return torch.nn.functional.interpolate(coarse, (36, 41), mode="bilinear").round().byte()


def batch(images: Tensor) -> Batch:
    count = len(images)
    return Batch(1, 0, images.permute(0, 2, 3, 1), None, torch.arange(count), torch.zeros(count, dtype=torch.int64))


def theirs(transform: Any, name: str, picture: Tensor, magnitude: int, sign: int) -> Tensor:
    """What torchvision makes of a picture by this operation, with its own table of strengths."""
    strengths, signed = transform._AUGMENTATION_SPACE[name]
    table = strengths(31, *picture.shape[-2:])
    strength = 0.0 if table is None else float(table[magnitude]) * (sign if signed else 1)
    bilinear = tv.InterpolationMode.BILINEAR
    changed: Tensor = transform._apply_image_or_video_transform(picture, name, strength, bilinear, {Tensor: None})
    return changed


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("wide", "transform"), [(False, tv.RandAugment()), (True, tv.TrivialAugmentWide())])
def test_every_operation_at_its_magnitude_is_torchvisions(
    wide: bool, transform: Any, backwards: bool, channels: int
) -> None:
    images = pictures(channels)
    space = operations(images / 255, "edge", wide=wide)
    grey = {"Color"} if channels == 1 else set()
    assert {NAMES[name] for name in space} == transform._AUGMENTATION_SPACE.keys() - grey
    for name, operation in space.items():
        ours = operation.applied(images / 255, MAGNITUDES, torch.full(MAGNITUDES.shape, backwards)) * 255
        for view, picture, magnitude in zip(ours, images, MAGNITUDES.tolist(), strict=True):
            args = magnitude, -1 if backwards else 1
            expected = theirs(transform, NAMES[name], picture, *args).float()
            shown = theirs(transform, NAMES[name], torch.full_like(picture, 255), *args) == 255
            if name not in ("shear_x", "shear_y", "translate_x", "translate_y", "rotate"):
                shown = torch.ones_like(picture, dtype=torch.bool)  # nothing comes in from outside
            apart = (view - expected)[shown].abs()
            assert apart.max() < 2, f"{name} {magnitude}"  # theirs is cut to whole numbers, once or twice


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("policy", [{"randaugment": 1, "magnitude": "random"}, {"trivial": True}])
def test_no_draw_of_a_thousand_seeds_fails(policy: dict[str, Any], channels: int) -> None:
    images = batch(pictures(channels, 4))
    for seed in range(1000):
        view = Views(AugmentSettings.model_validate(policy), seed)(images)
        assert view.shape == (4, channels, 36, 41)
        assert bool(((view >= 0) & (view <= 1)).all())  # a NaN is neither


def drawn(count: int = 2800, **policy: Any) -> dict[bytes, int]:
    """How often each view of one and the same picture came."""
    views = Views(AugmentSettings.model_validate(policy), 0)(batch(pictures(3, 1).expand(count, -1, -1, -1)))
    seen, times = torch.unique(views.flatten(1), dim=0, return_counts=True)
    return {view.numpy().tobytes(): int(n) for view, n in zip(seen, times, strict=True)}


def test_operations_and_signs_come_equally_often() -> None:
    times = sorted(drawn(randaugment=1, magnitude=15).values())
    # nine operations come in two signs; identity, posterize, solarize, autocontrast and equalize in one
    assert len(times) == 2 * 9 + 5
    assert all(60 < n < 140 for n in times[:18])
    assert all(150 < n < 250 for n in times[18:])


def test_random_magnitudes_and_a_second_operation_show_many_more_views() -> None:
    assert len(drawn(randaugment=1, magnitude="random")) > 200
    assert len(drawn(randaugment=2, magnitude=15)) > 200
    assert len(drawn(trivial=True)) > 200


def test_a_picture_is_seen_whole_where_the_magnitude_is_nothing() -> None:
    plain = batch(pictures(3, 200))
    view = Views(AugmentSettings(randaugment=1, magnitude=0), 0)(plain)
    same = (view * 255 - pictures(3, 200)).abs().flatten(1).amax(1) < 0.1
    assert 0.75 < same.float().mean() < 0.95  # all but solarize, which inverts white, autocontrast and equalize


def test_the_settings_name_every_padding_that_a_warp_knows() -> None:
    from pupil_training.augment.maps import SAMPLED
    from pupil_training.settings import Padding

    assert set(SAMPLED) == set(get_args(Padding))
