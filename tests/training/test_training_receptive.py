"""Which pixels a layer sees, against what gradients say."""

import pytest
import torch
from torch import nn

from pupil_training.models import InputSize, build_net
from pupil_training.models.describe import describe
from pupil_training.models.receptive import Axis, Field, ReceptiveFields
from pupil_training.settings import ModelSettings


def all_alike(net: nn.Module) -> nn.Module:
    """The net with weights, norms and pools that let every pixel of a field through, none more than another."""
    for parent in net.modules():
        for name, layer in parent.named_children():
            if isinstance(layer, nn.MaxPool2d):
                how = {key: getattr(layer, key) for key in ("kernel_size", "stride", "padding", "ceil_mode")}
                setattr(parent, name, nn.AvgPool2d(**how))
    for values in net.parameters():
        values.data.fill_(1 / values[0].numel() if values.ndim > 1 else 1)
    return net.eval()


def extents(net: nn.Module, name: str, size: InputSize) -> tuple[range, range]:
    """Rows and columns of the pixels that move the middle place of a layer's output."""
    pixels = torch.ones(1, size.channels, size.height, size.width, requires_grad=True)
    outputs: list[torch.Tensor] = []
    hook = net.get_submodule(name).register_forward_hook(lambda layer, inputs, output: outputs.append(output))
    net(pixels)
    hook.remove()
    output = outputs[-1]
    output[0, :, output.shape[2] // 2, output.shape[3] // 2].sum().backward()
    assert pixels.grad is not None
    moved = pixels.grad[0].abs().sum(0) > 0
    rows, columns = (moved.any(dim=1 - way).nonzero().flatten().tolist() for way in (0, 1))
    return range(rows[0], rows[-1] + 1), range(columns[0], columns[-1] + 1)


def inside(field: range, pixels: int) -> range:
    return range(max(field.start, 0), min(field.stop, pixels))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("lenet5", InputSize(28, 28, 1)),
        ("airbench", InputSize(40, 64, 3)),
        ("alexnet", InputSize(48, 40, 3)),
        ("resnet20", InputSize(90, 60, 1)),
        ("wrn-10-1", InputSize(40, 50, 3)),
        ("torchvision/googlenet", InputSize(96, 128, 3)),
    ],
)
def test_every_layer_sees_the_pixels_that_its_gradient_reaches(name: str, size: InputSize) -> None:
    def build() -> nn.Module:
        return build_net(ModelSettings(name=name), size, 5)

    maps = [
        layer
        for layer in describe(build(), size).layers
        if layer.spatial and layer.kind.startswith(("Conv", "Max", "Sub"))
    ]
    net = all_alike(build())
    for layer in maps[:: max(1, len(maps) // 6)] + maps[-1:]:
        assert layer.field is not None
        rows, columns = layer.field.height, layer.field.width
        expected = (
            inside(rows.at(layer.output[1] // 2), size.height),
            inside(columns.at(layer.output[2] // 2), size.width),
        )
        assert extents(net, layer.name, size) == expected, layer


@pytest.mark.parametrize(("name", "side", "pixels"), [("alexnet", 227, 195), ("vgg16", 224, 212)])
def test_the_last_maps_of_the_classics_see_what_is_known_of_them(name: str, side: int, pixels: int) -> None:
    size = InputSize(side, side, 3)
    with torch.device("meta"):
        net = build_net(ModelSettings(name=name), size, 1000)
    last = [layer for layer in describe(net, size).layers if layer.spatial][-1]
    assert last.field is not None  # Araujo et al. 2019, table 1
    assert (last.field.height.size, last.field.height.jump) == (pixels, 32)


def field_after(layer: nn.Module, *shape: int) -> Field | None:
    pixels = torch.zeros(1, *shape)
    with torch.no_grad(), ReceptiveFields(pixels) as fields:
        output = layer(pixels)
    return fields.of(output)


def square(size: int, jump: int, start: int) -> Field:
    return Field(Axis(size, jump, start), Axis(size, jump, start))


@pytest.mark.parametrize(
    ("layer", "field"),
    [
        (nn.Conv2d(1, 1, 3, dilation=2, padding=2), square(5, 1, -2)),
        (nn.Conv2d(1, 1, (3, 1), stride=(2, 1)), Field(Axis(3, 2, 0), Axis(1, 1, 0))),
        (nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 1, 3, padding=1)), square(6, 2, -2)),
        (nn.AdaptiveAvgPool2d(6), square(2, 2, 0)),
        (nn.AdaptiveMaxPool2d(1), square(12, 12, 0)),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Flatten(), nn.Linear(144, 2)), square(14, 1, -1)),
        (nn.AdaptiveAvgPool2d(5), None),  # windows of several sizes
        (nn.ConvTranspose2d(1, 1, 2, stride=2), None),
        (nn.Sequential(nn.Unflatten(2, (3, 4)), nn.Flatten(3)), None),  # rows of patches
    ],
    ids=str,
)
def test_fields_follow_from_kernel_stride_padding_and_dilation(layer: nn.Module, field: Field | None) -> None:
    assert field_after(layer, 1, 12, 12) == field


class Branches(nn.Module):
    """A wide kernel, a narrow one and a shortcut, added up."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(1, 1, 7, padding=3)
        self.narrow = nn.Conv2d(1, 1, (1, 3), padding=(0, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x += self.narrow(x)
        return torch.cat([self.wide(x), x], dim=1)


def test_where_branches_meet_the_largest_counts() -> None:
    assert field_after(Branches(), 1, 12, 12) == Field(Axis(7, 1, -3), Axis(9, 1, -4))


def test_a_pixel_sees_itself() -> None:
    assert field_after(nn.Identity(), 1, 12, 12) == square(1, 1, 0)
    assert square(5, 2, -2).height.at(3) == range(4, 9)
