"""What the report draws and chooses, against what can be worked out without it."""

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix
from torch import nn

from pupil_training.evaluate import Counted, interval
from pupil_training.models import Classifier, InputSize, build_net
from pupil_training.report.choice import agreeing, confident_mistakes, differing
from pupil_training.report.confusion import class_part, confusion, confusion_part, most_confused
from pupil_training.report.figures import loss_curve, reliability_diagram, shift_curve
from pupil_training.report.gradcam import attention, last_map, overlaid
from pupil_training.report.learning import POINTS, Series, read_log
from pupil_training.report.parts import LeftOut
from pupil_training.report.pictures import LARGEST, picture, weights_picture
from pupil_training.report.svg import VARIABLES, inline
from pupil_training.report.weights import class_templates, first_filters, weights_part
from pupil_training.settings import ModelSettings
from pupil_trust import ReliabilityBin


def opened(uri: str) -> Image.Image:
    head, _, content = uri.partition(";base64,")
    assert head in ("data:image/png", "data:image/jpeg")
    return Image.open(io.BytesIO(base64.b64decode(content)))


def untrained(name: str, side: int = 28, channels: int = 1) -> Classifier:
    torch.manual_seed(0)
    size = InputSize(side, side, channels)
    return Classifier(build_net(ModelSettings(name=name), size, 3), ("a", "b", "c"), size).eval()


def one_layer(channels: int) -> Classifier:
    size = InputSize(4, 5, channels)
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(20 * channels, 3)), ("a", "b", "c"), size).eval()


def test_the_log_is_read_by_name_and_thinned_with_its_last_point_kept(tmp_path: Path) -> None:
    rows = [{"step": step, "loss": 1 / step} for step in range(1, 2 * POINTS + 2)]
    rows.insert(1, {"step": 1, "validation_accuracy": 0.5})
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    series = read_log(tmp_path)
    assert series["validation_accuracy"] == Series([1], [0.5])
    steps, values = series["loss"]
    assert len(steps) <= POINTS
    assert (steps[-1], values[-1]) == (2 * POINTS + 1, 1 / (2 * POINTS + 1))
    with pytest.raises(LeftOut, match="not there any more"):
        read_log(tmp_path / "elsewhere")


def test_the_loss_is_drawn_with_its_terms_where_it_has_several() -> None:
    whole = {"loss": Series([1, 2], [3.0, 2.0]), "learning_rate": Series([1, 2], [0.1, 0.1])}
    (axes,) = loss_curve(whole | {"hard": Series([1, 2], [3.0, 2.0])}).axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[3.0, 2.0]]
    (axes,) = loss_curve(whole | {"hard": Series([1, 2], [1, 1]), "soft": Series([1, 2], [2, 1])}).axes
    assert [line.get_label() for line in axes.lines] == ["sum", "hard", "soft"]


def test_the_reliability_diagram_shows_the_bins() -> None:
    bins = [ReliabilityBin(count=4, right=1, confidence=0.3), ReliabilityBin(count=12, right=12, confidence=0.95)]
    top, below = reliability_diagram(bins).axes
    bars, dots = top.collections
    assert dots.get_offsets().tolist() == [[0.3, 0.25], [0.95, 1.0]]
    assert [(low[1], high[1]) for low, high in bars.get_segments()] == [
        interval(Counted(1, 4)),
        interval(Counted(12, 12)),
    ]
    assert [bar.get_height() for bar in below.patches] == [0.25, 0.75]


def test_a_shift_has_a_line_for_each_model() -> None:
    models = [[Counted(9, 10), Counted(5, 10)], [Counted(8, 10), Counted(0, 10)]]
    (axes,) = shift_curve(["as is", "10°"], models).axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[0.9, 0.5], [0.8, 0.0]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["as is", "10°"]


def test_a_figure_becomes_a_part_of_the_page_with_its_colours_and_its_font() -> None:
    svg = str(inline(loss_curve({"loss": Series([1, 2], [3.0, 2.0])}), "loss <over> the steps"))
    root = ElementTree.fromstring(svg.replace("xlink:", ""))
    assert root.attrib["aria-label"] == "loss <over> the steps"
    assert set(re.findall(r"var\(--([\w-]+)\)", svg)) <= set(VARIABLES.values())
    assert "var(--series-0)" in svg
    assert "font:" not in svg
    ids = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
    assert ids == set(re.findall(r"#([\w-]+)", svg))


def test_the_page_has_every_colour_for_the_light_and_for_the_dark() -> None:
    import pupil_training.report

    style = (Path(pupil_training.report.__file__).parent / "templates/page.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)
    for colour, name in VARIABLES.items():
        assert f"--{name}: {colour};" in light
        assert f"--{name}: " in dark


def test_confusion_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    labels, predicted = random.integers(0, 5, (2, 100))
    assert np.array_equal(confusion(labels, predicted, 5), confusion_matrix(labels, predicted, labels=range(5)))


def test_of_many_classes_those_with_the_most_mistakes_are_shown() -> None:
    labels = np.repeat(np.arange(40), 3)
    predicted = labels.copy()
    predicted[labels == 7] = 31
    predicted[np.flatnonzero(labels == 12)[0]] = 2
    counts = confusion(labels, predicted, 40)
    assert most_confused(counts, 2) == [7, 31]
    names = [f"class {place}" for place in range(40)]
    part = confusion_part(counts, names)
    assert (len(part["names"]), part["of"]) == (20, 40)
    assert {"class 2", "class 7", "class 12", "class 31"} <= set(part["names"])
    row = dict(zip(part["names"], dict(part["rows"])["class 7"], strict=True))
    assert row["class 31"] == (3, 1.0, False)
    assert row["class 7"] == (0, 0.0, True)
    worst = class_part(counts, names)["rows"][:2]
    assert [(name, counted) for name, counted, *_ in worst] == [("class 7", Counted(0, 3)), ("class 12", Counted(2, 3))]


def test_a_class_without_an_image_has_no_row() -> None:
    counts = confusion(np.array([0, 0, 2]), np.array([0, 1, 2]), 3)
    assert [row[0] for row in class_part(counts, "abc")["rows"]] == ["a", "c"]


def test_mistakes_differences_and_agreements_come_surest_first() -> None:
    confidence = np.array([0.9, 0.6, 0.8, 0.7, 0.95])
    correct = np.array([True, False, False, False, True])
    assert confident_mistakes(confidence, correct, 2).tolist() == [2, 3]
    ours, theirs = np.array([0, 1, 1, 2, 0]), np.array([0, 1, 2, 0, 0])
    assert differing(ours, theirs, confidence, 5).tolist() == [2, 3]
    assert agreeing(ours, theirs, confidence, 5).tolist() == [4, 1]  # the surest of class 0, and of class 1
    assert agreeing(ours, theirs[::-1].copy() + 9, confidence, 5).tolist() == []


def test_tiny_pictures_are_kept_and_large_ones_are_made_small() -> None:
    random = np.random.default_rng(0)
    grey, colour = (random.integers(0, 256, (20, 30, channels), dtype=np.uint8) for channels in (1, 3))
    assert np.array_equal(np.array(opened(picture(grey))), grey[..., 0])
    assert np.array_equal(np.array(opened(picture(colour))), colour)
    large = opened(picture(random.integers(0, 256, (1000, 500, 3), dtype=np.uint8)))
    assert (large.format, large.size) == ("JPEG", (LARGEST // 2, LARGEST))


def test_weights_are_orange_where_they_speak_for_and_nothing_where_they_say_nothing() -> None:
    (positive, negative, zero), *_ = np.array(opened(weights_picture(np.float32([[[2, -1, 0]]]), largest=2)))
    assert positive[0] > positive[2]
    assert negative[2] > negative[0]
    assert [each[3] for each in (positive, negative, zero)] == [255, 128, 0]
    colours = np.array(opened(weights_picture(np.float32([[[2]], [[-2]], [[0]]]), largest=2)))
    assert colours.tolist() == [[[255, 0, 128]]]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_net_of_one_layer_is_a_picture_a_class_of_what_plain_pixels_are_multiplied_with(channels: int) -> None:
    model = one_layer(channels)
    model.std.fill_(0.25)
    templates = class_templates(model)
    assert templates is not None
    pixels = torch.rand(1, channels, 4, 5)
    with torch.no_grad():
        difference = model(pixels) - model(torch.zeros_like(pixels))
    assert np.allclose((templates * pixels.numpy()).sum((1, 2, 3)), difference[0], atol=1e-4)
    assert [name for name, _ in weights_part(model)["templates"]] == ["a", "b", "c"]


def test_first_layer_filters_are_those_over_the_pixels() -> None:
    lenet = untrained("lenet5")
    assert np.array_equal(first_filters(lenet), lenet.net[0].weight.detach().numpy())
    assert untrained("airbench", 32, 3).net[0].directions.shape == first_filters(untrained("airbench", 32, 3)).shape
    assert len(weights_part(untrained("torchvision/resnet18", 32, 3))["filters"]) == 64
    hidden = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(LeftOut, match="no pictures"):
        weights_part(Classifier(hidden, ("a", "b", "c"), InputSize(28, 28, 1)))


def test_attention_is_grad_cam_worked_out_by_hand() -> None:
    model = untrained("lenet5")
    images = torch.randint(0, 256, (2, 28, 28, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    layer = last_map(model, images[:1].permute(0, 3, 1, 2) / 255)
    assert layer is model.net[4]  # the ReLU before the last pooling
    x = images.permute(0, 3, 1, 2) / 255
    maps = model.net[:5](x).detach().requires_grad_()  # mean 0 and deviation 1, so that nothing stands before it
    model.net[5:](maps)[[0, 1], [2, 0]].sum().backward()
    assert maps.grad is not None
    heat = (maps.grad.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu()
    heat = nn.functional.interpolate(heat, (28, 28), mode="bilinear", align_corners=False)[:, 0].detach()
    expected = heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-12)  # a picture may speak for its class nowhere
    assert expected.max() == 1
    assert np.allclose(attention(model, images, np.array([2, 0])), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "side", "channels", "where"),
    [
        ("torchvision/resnet18", 64, 3, lambda net: net.layer4),
        ("torchvision/mobilenet_v3_small", 64, 3, lambda net: net.features),
        ("lenet5-1998", 28, 1, lambda net: net[7]),
    ],
)
def test_attention_is_taken_where_the_last_map_is(
    name: str, side: int, channels: int, where: Callable[[nn.Module], nn.Module]
) -> None:
    model = untrained(name, side, channels)
    images = torch.randint(0, 256, (1, side, side, channels), dtype=torch.uint8)
    assert last_map(model, images.permute(0, 3, 1, 2) / 255) is where(model.net)
    heat = attention(model, images, np.array([1]))
    assert heat.shape == (1, side, side)
    assert 0 <= heat.min() <= heat.max() <= 1


def test_a_net_without_a_map_looks_nowhere() -> None:
    with pytest.raises(LeftOut, match="keeps no map"):
        attention(one_layer(1), torch.zeros(1, 4, 5, 1, dtype=torch.uint8), np.array([0]))


def test_heat_covers_the_picture_where_it_is_hot_and_leaves_it_where_not() -> None:
    pixels = np.full((2, 2, 3), 100, dtype=np.uint8)
    mixed = overlaid(pixels, np.float32([[0, 1], [0, 0]]))
    assert mixed[0, 0].tolist() == [100, 100, 100]
    assert mixed[0, 1, 0] > 200  # the hot end of the scale
