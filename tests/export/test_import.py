"""Graphs that somebody else might have exported, each small and real, through the command into a server."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from scipy.special import softmax

from pupil_export.foreign.cli import import_command
from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import inference_pb2_grpc
from pupil_training.judge.cli import evaluate

CLASSES = 5
SIDE = 8
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
Graph = Callable[..., Path]


def weights(channels: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, (channels * SIDE * SIDE, CLASSES)).astype(np.float32)


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    """Writes `model.onnx`: a linear classifier, with what is asked for otherwise."""

    def write(
        *,
        batch: int | str = "N",
        layout: str = "nchw",
        channels: int = 3,
        size: tuple[int | str, int | str] = (SIDE, SIDE),
        kind: int = TensorProto.FLOAT,
        shape: tuple[int, ...] | None = None,  # written out in a Reshape; a Flatten without
        allowzero: bool = False,
        inside: bool = False,
        square: bool = False,  # N×K×1×1 out
        mixing: bool = False,  # each answer depends on the whole batch
        old: bool = False,  # the weights among the inputs
        opset: int = 13,
        name: str = "images",  # the same as that of our own, on purpose
    ) -> Path:
        matrix = numpy_helper.from_array(weights(channels).astype(helper.tensor_dtype_to_np_dtype(kind)), "weights")
        sides = [batch, channels, *size] if layout == "nchw" else [batch, *size, channels]
        nodes, initializers, last = [], [matrix], name
        if layout == "nhwc":
            nodes.append(helper.make_node("Transpose", [last], ["nchw"], perm=[0, 3, 1, 2]))
            last = "nchw"
        if shape is None:
            nodes.append(helper.make_node("Flatten", [last], ["flat"], axis=1))
        else:
            initializers.append(numpy_helper.from_array(np.array(shape, np.int64), "shape"))
            more = {"allowzero": 1} if allowzero else {}
            nodes.append(helper.make_node("Reshape", [last, "shape"], ["flat"], **more))
        nodes.append(helper.make_node("MatMul", ["flat", "weights"], ["products"]))
        last = "products"
        if mixing:
            nodes.append(helper.make_node("ReduceMean", [last], ["middle"], axes=[0], keepdims=1))
            nodes.append(helper.make_node("Add", [last, "middle"], ["mixed"]))
            last = "mixed"
        if inside:
            nodes.append(helper.make_node("Softmax", [last], ["soft"], axis=1))
            last = "soft"
        if square:
            initializers.append(numpy_helper.from_array(np.array([0, CLASSES, 1, 1], np.int64), "corners"))
            nodes.append(helper.make_node("Reshape", [last, "corners"], ["square"]))
            last = "square"
        nodes.append(helper.make_node("Identity", [last], ["scores"]))  # again a name of our own
        inputs = [helper.make_tensor_value_info(name, kind, sides)]
        if old:
            inputs += [helper.make_tensor_value_info(each.name, each.data_type, each.dims) for each in initializers]
        outputs = [helper.make_tensor_value_info("scores", kind, None)]
        outputs[0].type.tensor_type.shape.dim.add().dim_param = "N"
        proto = helper.make_model(
            helper.make_graph(nodes, "foreign", inputs, outputs, initializers),
            opset_imports=[helper.make_opsetid("", opset)],
            ir_version=3 if old else 8,
        )
        onnx.save(proto, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return write


def run(model: Path, *more: object, mean: object = "0.4,0.5,0.6", std: object = "0.2,0.25,0.3") -> Result:
    options = ["--repository", model.parent / "models", "--name", "foreign", "--mean", mean, "--std", std, *more]
    if "--classes" not in more:
        options += ["--classes", ",".join("abcde")]
    return CliRunner().invoke(import_command, [str(model), *(str(option) for option in options)])


def facts(model: Path) -> dict[str, object]:
    return json.loads((model.parent / "models/foreign/1/bundle.json").read_bytes())  # type: ignore[no-any-return]


def expected(pixels: np.ndarray) -> np.ndarray:
    """Scores (N, K) for uint8 pixels (N, H, W, C), worked out without ONNX."""
    channels = pixels.shape[3]
    fed = (pixels / 255 - np.array(MEAN[:channels])) / np.array(STD[:channels])
    flat = fed.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    return softmax(flat @ weights(channels).astype(np.float64), axis=1)


def served(toolbox, model: Path, pixels: np.ndarray) -> np.ndarray:
    """What a real server answers, all in one request."""
    count, height, width, channels = pixels.shape
    sent = pb.Pixels(data=pixels.tobytes(), count=count, height=height, width=width, channels=channels)
    request = pb.ClassifyRequest(model=pb.ModelSpec(name="foreign"), images=pb.Images(pixels=sent), scores=True)
    with toolbox.run_server(model.parent / "models") as server, grpc.insecure_channel(server.address) as channel:
        answer = inference_pb2_grpc.InferenceStub(channel).Classify(request, timeout=20)
    return np.array([prediction.scores for prediction in answer.predictions])


def pixels(count: int = 5, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, SIDE, SIDE, channels), dtype=np.uint8)


@pytest.mark.parametrize(
    ("written", "told", "max_batch"),
    [
        ({}, "outside", None),
        ({"batch": 1}, "outside", None),
        ({"batch": 1, "shape": (1, 192), "inside": True}, "inside", None),
        ({"batch": 1, "shape": (1, 192), "allowzero": True, "opset": 14}, "outside", None),
        ({"batch": 1, "mixing": True}, "outside", 1),
        ({"batch": "N", "shape": (1, 192)}, "outside", 1),  # a free batch that is none
        ({"batch": 4, "shape": (4, -1)}, "outside", None),
        ({"layout": "nhwc", "inside": True}, "inside", None),
        ({"square": True, "old": True, "opset": 9}, "outside", None),
        ({"kind": TensorProto.FLOAT16}, "outside", None),
        ({"kind": TensorProto.DOUBLE, "batch": 1}, "outside", None),
    ],
)
def test_it_answers_as_it_did_before(graph: Graph, toolbox, written, told, max_batch) -> None:
    model = graph(**written)
    result = run(model)
    assert (result.exit_code, result.stdout) == (0, f"{model.parent}/models/foreign/1\n"), result.output
    found = facts(model)
    assert (found["graph"]["softmax"], found["max_batch"]) == (told, max_batch)  # type: ignore[index]
    wanted = expected(pixels())
    if written.get("mixing"):  # alone, an image is its own mean
        flat = ((pixels() / 255 - np.array(MEAN)) / np.array(STD)).transpose(0, 3, 1, 2).reshape(5, -1)
        wanted = softmax(2 * (flat @ weights(3).astype(np.float64)), axis=1)
    half = written.get("kind") == TensorProto.FLOAT16
    assert np.abs(served(toolbox, model, pixels()) - wanted).max() < (5e-3 if half else 1e-5)


def test_grey_images_of_a_size_that_the_graph_leaves_open(graph: Graph, toolbox) -> None:
    model = graph(channels=1, size=("height", "width"))
    assert "--size HxW" in run(model, mean="0.4", std="0.2").output
    assert run(model, "--size", f"{SIDE}x{SIDE}", mean="0.4", std="0.2").exit_code == 0
    grey = pixels(channels=1)
    assert np.abs(served(toolbox, model, grey) - expected(grey)).max() < 1e-5


@pytest.mark.parametrize("batch", [{}, {"batch": 1, "mixing": True}])  # mixing: one image at a time for ever
def test_it_is_judged_on_its_users_images(graph: Graph, tmp_path: Path, batch) -> None:
    """Beside a run, its teacher or its student, as every bundle is; what nobody knows of it is left open."""
    shown = pixels(20)
    labels = np.random.default_rng(2).integers(0, CLASSES, 20)
    for place, name in enumerate("abcde"):
        for split, chosen in (("train", [0]), ("test", np.flatnonzero(labels == place))):
            (tmp_path / split / name).mkdir(parents=True)
            for image in chosen:
                Image.fromarray(shown[image]).save(tmp_path / split / name / f"{image}.png")
    assert run(graph(**batch)).exit_code == 0
    folder = str(tmp_path / "models/foreign")
    told = CliRunner().invoke(evaluate, [folder, "--data", f"root={tmp_path}", "--json"])
    report = json.loads(told.stdout)
    right = int((expected(shown).argmax(axis=1) == labels).sum())  # mixing with nobody else doubles the logits
    assert report["accuracy"] == {"right": right, "of": 20}
    assert (report["parameters"], report["multiply_adds"]) == (None, None)
    assert CliRunner().invoke(evaluate, [folder]).stderr == (
        f"Error: {folder}: it was trained elsewhere, so say on which images it is judged: --data root=FOLDER\n"
    )


def test_a_published_net_is_freed_from_its_batch_of_one(tmp_path: Path) -> None:
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    torch.manual_seed(0)
    net = torchvision.models.mobilenet_v3_small(num_classes=CLASSES).eval()
    with warnings.catch_warnings():  # the old exporter is quick, and most files that go round are its
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.zeros(1, 3, 64, 64),), tmp_path / "model.onnx", dynamo=False)
    assert run(tmp_path / "model.onnx").exit_code == 0
    assert facts(tmp_path / "model.onnx")["max_batch"] is None


def test_goldens_are_the_given_pictures_and_their_scores_are_the_models_own(graph: Graph, tmp_path: Path) -> None:
    pictures = np.random.default_rng(2).integers(0, 256, (20, SIDE, SIDE, 3), dtype=np.uint8)
    (tmp_path / "pictures").mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"pictures/{number:02}.png")
    model = graph()
    assert run(model, "--images", tmp_path / "pictures").exit_code == 0
    folder = model.parent / "models/foreign/1/golden"
    goldens = json.loads((folder / "golden.json").read_bytes())
    decoded = np.stack([np.array(Image.open(folder / golden["file"])) for golden in goldens["images"]])
    assert np.array_equal(decoded, pictures[[0, 2, 5, 7, 10, 12, 15, 17]])
    scores = np.array([golden["scores"] for golden in goldens["images"]])
    assert np.abs(scores - expected(decoded)).max() < 1e-5


def test_classes_come_from_a_file_and_what_is_known_stands_in_the_card(graph: Graph, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cat\nbig dog, brown\nbird\nfish\nbee\n\n", encoding="utf-8")
    model = graph()
    result = run(model, "--classes", tmp_path / "classes.txt", "--resize", "10", "--licence", "MIT", "--json")
    said = json.loads(result.stdout)
    assert said["resize"] == {"shortest_side": 10, "crop": "center", "interpolation": "bilinear"}
    assert facts(model)["classes"] == ["cat", "big dog, brown", "bird", "fish", "bee"]
    card = (Path(said["path"]) / "README.md").read_text(encoding="utf-8")
    for stated in ("Licence: MIT", "mean 0.4, 0.5, 0.6", "shorter side to 10", "big dog, brown", "no certificate"):
        assert stated in card


@pytest.mark.parametrize(
    ("written", "options", "says"),
    [
        ({"channels": 4}, [], "model.onnx: takes ?×4×8×8; images are wanted, N×C×H×W or N×H×W×C with 1 or 3 channels"),
        ({"channels": 4}, ["--layout", "nchw"], "takes 4 channels as nchw; 1 or 3 are wanted"),
        ({"kind": TensorProto.INT32}, [], "takes int32 'images'; float images are wanted"),
        ({"batch": 4, "mixing": True}, [], "takes exactly 4 images at a time"),
        ({}, ["--classes", "a,b,c"], "gives 5 numbers an image, but there are 3 classes"),
        ({}, ["--softmax", "inside"], "are no probabilities: they do not sum to 1; say --softmax outside"),
        ({"inside": True}, ["--softmax", "outside"], "are probabilities already; say --softmax inside"),
        (
            {},
            ["--output", "logits"],
            "has no output 'logits'; say with --output which are the scores or logits: scores",
        ),
        ({}, ["--size", "9x9"], "takes 8×8 images, not 9×9; leave --size out"),
        ({}, ["--resize", "4"], "--resize 4: "),
        ({}, ["--mean", "0.5,0.5"], "takes 3 channels; --mean and --std want one number or 3"),
        ({}, ["--mean", "123.7,116.3,103.5"], "of pixels from 0 to 1; divide it and --std by 255"),
        ({}, ["--std", "0"], "--std 0.0, 0.0, 0.0: numbers above 0 are wanted"),
        ({}, ["--name", "a/b"], "a model's name is made of letters"),
        ({}, ["--images", "nowhere"], "nowhere: no images"),
        ({"shape": (7, -1)}, [], "ONNX Runtime refuses it"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_leaves_nothing(graph: Graph, written, options, says: str) -> None:
    model = graph(**written)
    result = run(model, *options)
    assert result.exit_code == 1
    assert says in result.output
    assert result.output.count("\n") == 1
    assert [file.name for file in model.parent.iterdir()] == ["model.onnx"]


def test_a_graph_with_two_inputs_is_told_so(graph: Graph) -> None:
    model = graph()
    proto = onnx.load(model)
    proto.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N"]))
    onnx.save(proto, model)
    assert "takes 'images', 'mask'; only a graph with one input, the images, can be served" in run(model).output


def test_of_two_outputs_one_must_be_named(graph: Graph) -> None:
    model = graph()
    proto = onnx.load(model)
    proto.graph.output.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["N", 192]))
    onnx.save(proto, model)
    assert "gives 2 outputs; say with --output which are the scores or logits: scores, flat" in run(model).output
    assert run(model, "--output", "scores").exit_code == 0


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no graph at all", b"\xff" * 100])
def test_a_file_that_is_no_graph_is_told_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    result = run(tmp_path / "model.onnx")
    assert (result.exit_code, "model.onnx: not an ONNX file" in result.output) == (1, True)


def test_a_list_of_classes_that_is_not_there_or_names_one_twice_is_told_so(graph: Graph) -> None:
    told = run(graph(), "--classes", "nowhere.txt").stderr
    assert "--classes nowhere.txt: no such file; a file with one class a line" in told
    told = run(graph(), "--classes", "a,b,b,c,d").stderr
    assert "--classes a,b,b,c,d: 'b' stands there twice; give each class its own name" in told


def test_a_file_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    assert "nowhere.onnx: cannot be read (No such file or directory)" in run(tmp_path / "nowhere.onnx").output
