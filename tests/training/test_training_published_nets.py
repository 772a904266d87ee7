"""AlexNet, VGG, ResNet and wide ResNet as their papers count and describe them."""

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from pupil_training.errors import RecipeError
from pupil_training.models import InputSize, build_net, vgg
from pupil_training.models.cost import parameters
from pupil_training.models.drop_path import DropPath, rising
from pupil_training.models.resnet import Basic, Wide
from pupil_training.settings import ModelSettings


def net(name: str, side: int = 32, classes: int = 10, channels: int = 3, **settings: object) -> nn.Module:
    model = ModelSettings.model_validate({"name": name, **settings})
    return build_net(model, InputSize(side, side, channels), classes).eval()


def shell(name: str, side: int, classes: int = 1000, **settings: object) -> nn.Module:
    """The net without numbers in it: a hundred million weights take no time."""
    with torch.device("meta"):
        return net(name, side, classes, **settings)


@pytest.mark.parametrize("side", [224, 227])
def test_alexnet_has_60965224_parameters_and_the_published_maps(side: int) -> None:
    alexnet = shell("alexnet", side)
    assert parameters(alexnet) == 60_965_224
    x, maps = torch.empty(2, 3, side, side, device="meta"), []
    for layer in alexnet.children():
        x = layer(x)
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            maps.append(tuple(x.shape[1:]))
    assert maps == [(96, 55, 55), (256, 27, 27), (384, 13, 13), (384, 13, 13), (256, 13, 13), (4096,), (4096,), (1000,)]


def test_alexnets_first_layers_divide_by_what_five_neighbouring_maps_say() -> None:
    normalise = net("alexnet")[2]
    x = torch.randn(1, 7, 1, 1) * 30
    squares = [sum(float(x[0, j, 0, 0]) ** 2 for j in range(max(0, i - 2), min(7, i + 3))) for i in range(7)]
    expected = [float(x[0, i, 0, 0]) / (2 + 1e-4 * squares[i]) ** 0.75 for i in range(7)]  # section 3.3
    assert torch.allclose(normalise(x)[0, :, 0, 0], torch.tensor(expected), rtol=1e-5)


@pytest.mark.parametrize("side", [24, 28, 32, 64])
def test_alexnet_has_a_form_for_small_pictures(side: int) -> None:
    assert net("alexnet", side, channels=1, dropout=0.5)(torch.zeros(2, 1, side, side)).shape == (2, 10)


def test_alexnet_says_which_pictures_it_takes() -> None:
    with pytest.raises(RecipeError, match="227×227, 224×224 or 24 to 64 pixels a side, not 128×128"):
        net("alexnet", 128)


@pytest.mark.parametrize("name", vgg.NAMES)
def test_every_vgg_has_torchvisions_tensors_at_224_pixels(name: str) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name.replace("-", "_"))
    ours = shell(name, 224)
    assert parameters(ours) == parameters(theirs)
    shapes = [{name: value.shape for name, value in each.state_dict().items()} for each in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_vgg16_has_138357544_parameters() -> None:
    assert parameters(shell("vgg16", 224)) == 138_357_544


def test_vgg_computes_what_torchvisions_does_with_the_same_weights() -> None:
    ours = net("vgg11-bn").features
    with torch.device("meta"):
        theirs = torchvision.models.vgg11_bn().features.eval()
    theirs.load_state_dict(ours.state_dict(), assign=True)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(ours(x), theirs(x))


def test_vgg_has_one_small_hidden_layer_below_224_pixels() -> None:
    linear = [
        (layer.in_features, layer.out_features) for layer in net("vgg13", 64).modules() if isinstance(layer, nn.Linear)
    ]
    assert linear == [(512 * 2 * 2, 512), (512, 10)]
    assert net("vgg13", 64)(torch.zeros(1, 3, 64, 64)).shape == (1, 10)


def test_a_deep_vgg_without_batch_norm_hands_its_input_through() -> None:
    torch.manual_seed(0)
    features = net("vgg19").features
    x = torch.randn(4, 3, 32, 32)
    differing = features(x).std(dim=0).mean()
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()  # as torch begins
    assert differing > 1e-3 > 1000 * features(x).std(dim=0).mean()


def test_vgg_sends_smaller_pictures_to_the_net_that_fits_itself() -> None:
    with pytest.raises(RecipeError, match=r"32×32 pixels at least, not 28×28; model\.name = 'vgg' fits"):
        net("vgg16", 28)


@pytest.mark.parametrize(
    ("name", "millions"),
    [  # He et al. 2016, table 6; Zagoruyko and Komodakis 2016, tables 4 and 5
        *(("resnet20", 0.27), ("resnet32", 0.46), ("resnet44", 0.66), ("resnet56", 0.85), ("resnet110", 1.7)),
        *(("wrn-40-1", 0.6), ("wrn-40-2", 2.2), ("wrn-40-4", 8.9), ("wrn-40-8", 35.7), ("wrn-16-8", 11.0)),
        *(("wrn-16-10", 17.1), ("wrn-22-8", 17.2), ("wrn-22-10", 26.8), ("wrn-28-10", 36.5), ("wrn-28-12", 52.5)),
    ],
)
def test_a_residual_net_has_the_layers_and_parameters_of_its_paper(name: str, millions: float) -> None:
    built = shell(name, 32, classes=10)
    digits = len(str(millions).partition(".")[2])
    assert round(parameters(built) / 1e6, digits) == millions
    learning = [
        m for m in built.modules() if isinstance(m, nn.Linear) or (isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3))
    ]
    depth = int(name.removeprefix("resnet").split("-")[-2 if name.startswith("wrn") else 0])
    assert len(learning) == (depth if name.startswith("resnet") else depth - 2)  # the wide count three shortcuts too
    assert built(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)


@pytest.mark.parametrize("name", ["wrn-17-2", "wrn-4-2", "wrn-28", "wrn-28-0"])
def test_a_wide_net_of_no_possible_depth_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=r"depth is 6n \+ 4"):
        net(name)


def test_resnet50_is_not_mistaken_for_a_net_of_small_pictures() -> None:
    with pytest.raises(RecipeError, match=r"no model is called 'resnet50'; .*torchvision/resnet18"):
        net("resnet50")


def test_a_shortcut_takes_every_second_pixel_and_leaves_new_maps_empty() -> None:
    block = Basic(2, 5, stride=2, drop=0.0).eval()
    nn.init.zeros_(block.branch[-1].weight)
    x = torch.randn(1, 2, 6, 6)
    expected = torch.cat([x[:, :, ::2, ::2].relu(), torch.zeros(1, 3, 3, 3)], dim=1)
    assert torch.equal(block(x), expected)


@pytest.mark.parametrize(("before", "stride"), [(4, 2), (6, 1)])
def test_a_wide_block_is_norm_relu_convolution_twice(before: int, stride: int) -> None:
    block = Wide(0.3, before, 6, stride, drop=0.0).eval()
    x = torch.randn(3, before, 8, 8)

    def norm(x: torch.Tensor, layer: nn.Module) -> torch.Tensor:
        return F.relu(F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias))

    seen = norm(x, block.first[0])
    first = F.conv2d(seen, block.branch[0].weight, stride=stride, padding=1)
    second = F.conv2d(norm(first, block.branch[1]), block.branch[4].weight, padding=1)
    shortcut = x if before == 6 else F.conv2d(seen, block.shortcut.weight, stride=stride)
    assert torch.allclose(block(x), shortcut + second, atol=1e-5)


def test_paths_are_dropped_for_whole_images_and_the_mean_stays() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25)
    branch = torch.rand(4000, 2, 3, 3) + 1
    factors = (drop(branch) / branch).flatten(1)
    assert torch.allclose(factors, factors[:, :1].expand_as(factors))
    assert sorted({round(each, 4) for each in factors[:, 0].tolist()}) == [0, 1.3333]
    assert factors.mean() == pytest.approx(1, abs=4 * math.sqrt(0.25 / 0.75 / 4000))
    assert torch.equal(drop.eval()(branch), branch)


def test_later_blocks_are_dropped_more_often() -> None:
    assert rising(0.5, 4) == [0.125, 0.25, 0.375, 0.5]
    for name, blocks in (("resnet20", 9), ("wrn-16-2", 6)):
        shares = [layer.share for layer in net(name, drop_path=0.6).modules() if isinstance(layer, DropPath)]
        assert shares == rising(0.6, blocks)


def test_what_is_dropped_follows_from_torchs_seed() -> None:
    model = net("resnet20", drop_path=0.5).train()
    x = torch.randn(4, 3, 8, 8)
    answers = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        answers.append(model(x))
    assert torch.equal(answers[0], answers[1])
    assert not torch.allclose(answers[0], answers[2])
