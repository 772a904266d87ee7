"""Nets of torchvision and timm, and torchvision's pretrained weights by name."""

import logging
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from pupil_training.errors import RecipeError
from pupil_training.models import Classifier, InputSize, build_net
from pupil_training.models.cost import multiply_adds
from pupil_training.models.stages import head, stages
from pupil_training.pixels import to_pixels
from pupil_training.recipe import parse_recipe
from pupil_training.settings import ModelSettings
from pupil_training.student import new_student

IMAGES = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)


def student(name: str, weights: str, **settings: object) -> Classifier:
    model = {"name": name, "weights": weights, **settings}
    recipe = parse_recipe({"model": model, "data": {"height": 64, "width": 64, "channels": 3}}, "here")
    return new_student(recipe, IMAGES, tuple("abcd"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's own folder of weights, elsewhere for this test."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_weights_by_name_come_from_torchs_cache_with_their_normalisation(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = models.resnet18()
    torch.save(source.state_dict(), cache / "resnet18-f37072fd.pth")
    for name in ("DEFAULT", "IMAGENET1K_V1"):
        model = student("torchvision/resnet18", name)
        assert torch.equal(model.net.get_parameter("layer4.1.conv2.weight"), source.layer4[1].conv2.weight)
        assert model.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
        assert model.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])
        assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 4)
    said = "torchvision/resnet18 IMAGENET1K_V1: its last layer, of 1000 outputs, is not taken over; ours begins fresh"
    assert caplog.record_tuples[-1][1:] == (logging.WARNING, said)


@pytest.mark.parametrize(
    ("name", "side", "why"),
    [
        ("torchvision/vit_b_16", 32, "Wrong image height! Expected 224 but got 32!"),
        ("torchvision/inception_v3", 32, "Kernel size can't be greater than actual input size"),
    ],
)
def test_a_net_for_pictures_of_another_size_is_refused_before_it_learns(name: str, side: int, why: str) -> None:
    with pytest.raises(RecipeError, match=f"{name} does not take pictures of {side}×{side} \\(.*{why}"):
        build_net(ModelSettings(name=name), InputSize(side, side, 3), 10)


def test_googlenet_sees_pictures_as_its_weights_were_trained_on(cache: Path) -> None:
    torch.manual_seed(0)
    torch.save(models.googlenet(init_weights=False).state_dict(), cache / "googlenet-1378be20.pth")
    weights = models.GoogLeNet_Weights.IMAGENET1K_V1
    theirs, ours = models.googlenet(weights=weights).eval(), student("torchvision/googlenet", "DEFAULT").eval()
    for last in (theirs, ours.net):
        last.fc = nn.Identity()
    pixels, transforms = to_pixels(IMAGES), weights.transforms()
    normalised = (pixels - torch.tensor(transforms.mean)[:, None, None]) / torch.tensor(transforms.std)[:, None, None]
    features = ours.net((pixels - ours.mean) / ours.std)
    assert torch.allclose(features, theirs(normalised), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "weights", "settings", "message"),
    [
        ("resnet18", "DEFAULT", {}, r"IMAGENET1K_V1 are not at .*resnet18-f37072fd\.pth; .*set model\.download = true"),
        (
            "resnet18",
            "IMAGENET1K_V7",
            {},
            "has no weights called 'IMAGENET1K_V7', nor is there such a file; it has IMA",
        ),
        ("mnasnet0_5", "DEFAULT", {}, r"mnasnet0\.5_top1_67\.823-3ffadce67e\.pth; put them there"),
    ],
)
@pytest.mark.usefixtures("cache")
def test_weights_that_are_not_there_are_one_line(
    name: str, weights: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        student(f"torchvision/{name}", weights, **settings)


def test_a_damaged_file_in_the_cache_is_one_line(cache: Path) -> None:
    (cache / "resnet18-f37072fd.pth").write_bytes(b"no weights")
    with pytest.raises(RecipeError, match=r"resnet18: weights IMAGENET1K_V1 cannot be had from https://.*pth \(.*\)$"):
        student("torchvision/resnet18", "DEFAULT")


def test_a_download_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))  # no folder can be made there, so nothing is asked for
    with pytest.raises(RecipeError, match=r"cannot be had from https://.*resnet18-f37072fd\.pth \(.*Not a directory"):
        student("torchvision/resnet18", "DEFAULT", download=True)


@pytest.mark.parametrize("name", ["vit_b_16", "convnext_tiny", "swin_t", "squeezenet1_1", "mobilenet_v3_small"])
def test_every_weight_of_the_zoos_nets_learns_in_some_stage(name: str) -> None:
    with torch.device("meta"):
        net = models.get_model(name, num_classes=5)
    together = [id(parameter) for stage in stages(net) for parameter in stage.parameters()]
    assert sorted(together) == sorted(id(parameter) for parameter in net.parameters())
    assert stages(net)[-1] is head(net)


def test_the_products_inside_attention_are_counted() -> None:
    size = InputSize(224, 224, 3)
    model = Classifier(build_net(ModelSettings(name="torchvision/vit_b_16"), size, 1000), tuple("x" * 1000), size)
    published = models.ViT_B_16_Weights.IMAGENET1K_V1.meta["_ops"]  # in billions
    assert multiply_adds(model) / 1e9 == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto"])
def test_timms_nets_are_made_for_our_pictures(name: str) -> None:
    pytest.importorskip("timm")
    net = build_net(ModelSettings(name=f"timm/{name}", dropout=0.1, drop_path=0.1), InputSize(64, 64, 1), 7).eval()
    assert net(torch.zeros(2, 1, 64, 64)).shape == (2, 7)
    together = [id(parameter) for stage in stages(net) for parameter in stage.parameters()]
    assert sorted(together) == sorted(id(parameter) for parameter in net.parameters())
    assert stages(net)[-1] is head(net)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "timm/resnet19"}, "timm has no model 'resnet19'"),
        ({"name": "timm/resnet"}, r"timm has no model 'resnet'; .*resnet18"),
        ({"name": "timm/squeezenet"}, "timm has no model"),
        ({"name": "timm/vgg11", "drop_path": 0.1}, "timm/vgg11 cannot be made so: .*drop_path_rate"),
    ],
)
def test_what_timm_cannot_make_is_one_line(settings: dict[str, object], message: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(RecipeError, match=message):
        build_net(ModelSettings.model_validate(settings), InputSize(64, 64, 3), 7)


def test_without_timm_its_nets_say_what_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # how Python marks what cannot be imported
    with pytest.raises(RecipeError, match=r"timm/resnet18 needs timm: pip install 'pupil\[timm\]'"):
        build_net(ModelSettings(name="timm/resnet18"), InputSize(64, 64, 3), 7)
