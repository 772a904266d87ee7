"""`pupil models describe`: a net layer by layer."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from pupil_training.cli_models import describe
from pupil_training.models import Classifier, InputSize, build_net
from pupil_training.models.cost import multiply_adds, parameters
from pupil_training.models.describe import describe as look_at
from pupil_training.settings import ModelSettings

LENET = ("lenet5", "--size", "28x28x1", "--classes", "10")


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(describe, [str(word) for word in words])


def test_the_table_has_a_line_a_layer_and_the_totals() -> None:
    lines = [line.split() for line in run(*LENET).stdout.splitlines()]
    assert lines[0] == ["layer", "kind", "output", "sees", "jump", "parameters", "multiply-adds"]
    assert lines[2] == ["0", "Conv2d", "6×28×28", "5×5", "1", "156", "117,600"]
    assert lines[7] == ["5", "MaxPool2d", "16×5×5", "16×16", "4"]
    assert lines[9] == ["7", "Linear", "120", "32×32", "48,120", "48,000"]
    assert lines[-1] == ["total", "61,706", "416,520"]


def test_json_says_the_same_to_a_machine() -> None:
    said = json.loads(run(*LENET, "--json").stdout)
    assert said["input"] == {"height": 28, "width": 28, "channels": 1}
    assert (said["name"], said["classes"], said["parameters"], said["multiply_adds"]) == ("lenet5", 10, 61706, 416520)
    axis = {"size": 6, "jump": 2, "start": -2}
    assert said["layers"][2] == {
        "name": "2", "kind": "MaxPool2d", "output": [6, 14, 14], "field": {"height": axis, "width": axis},
        "parameters": 0, "multiply_adds": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["knn", "linear", "mlp", "lenet5-1998", "alexnet", "vgg11", "resnet20", "wrn-10-1", "torchvision/resnet18"]
)
def test_the_layers_add_up_to_what_the_net_costs(name: str) -> None:
    size = InputSize(32, 32, 3)
    net = build_net(ModelSettings(name=name), size, 5)
    cost = parameters(net), multiply_adds(Classifier(net, tuple("abcde"), size))
    found = look_at(net, size)
    assert (found.parameters, found.multiply_adds) == cost
    assert (sum(e.parameters for e in found.layers), sum(e.multiply_adds for e in found.layers)) == cost


def test_what_lies_outside_of_layers_is_in_the_totals_and_an_unknown_field_is_no_number() -> None:
    size = InputSize(224, 224, 3)
    with torch.device("meta"):
        net = build_net(ModelSettings(name="torchvision/vit_b_16"), size, 1000)
    found = look_at(net, size)
    outside = 197 * 768 + 768  # positions and class token
    assert found.parameters == 86_567_656 == sum(layer.parameters for layer in found.layers) + outside
    assert found.layers[-1].field is None


def test_settings_are_those_of_a_recipe() -> None:
    narrow = run("mlp", "--size", "2x3x1", "--classes", "4", "--set", "widths=[5]", "--set", "dropout=0.5", "--json")
    assert json.loads(narrow.stdout)["parameters"] == 7 * 5 + 6 * 4


def test_the_picture_shows_one_field_inside_the_other(tmp_path: Path) -> None:
    assert run(*LENET, "--picture", tmp_path / "lenet.png").exit_code == 0
    image = Image.open(tmp_path / "lenet.png").convert("RGB")
    pixel = 640 // 28  # of the input, in the picture
    across = [image.getpixel((column * pixel + pixel // 2, 12 * pixel + pixel // 2)) for column in range(28)]
    colours = [colour for n, colour in enumerate(across) if n == 0 or colour != across[n - 1]]
    assert [across.count(colour) for colour in (colours[0], across[12])] == [28 - 16, 5]  # unseen; the first layer's
    assert sum(colour != colours[0] for colour in across) == 16  # the last map's middle place sees 16 pixels
    assert colours[0] == (255, 255, 255)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lenet6"], "no model is called 'lenet6'"),
        (["lenet5"], "LeNet-5 takes 28×28 or 32×32 pixels, not 224×224"),
        (["lenet5", "--size", "28x28"], "--size 28x28: height, width and channels are wanted, for example 28x28x1"),
        (["lenet5", "--size", "28x28x2"], "data.channels"),
        (["mlp", "--set", "widhts=[5]"], "unknown setting 'model.widhts'; did you mean 'model.widths'?"),
        (["mlp", "--set", "widths"], "an override is written key=value"),
        (["linear", "--picture", "{folder}/a.png"], "no layer of this net gives a map"),
        (["resnet20", "--picture", "{folder}/nowhere/a.png"], "/nowhere/a.png: No such file or directory"),
    ],
)
def test_a_mistake_is_answered_in_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    done = run(*(word.format(folder=tmp_path) for word in words))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_help_ends_with_an_example() -> None:
    *_, head, example = run("--help").stdout.splitlines()
    assert head.strip() == "Example:"
    assert example.strip().startswith("pupil models describe ")
