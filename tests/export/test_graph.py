from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from scipy.special import softmax

from pupil_export.answers import OnnxModel
from pupil_export.errors import ExportError
from pupil_export.graph import Served, export_graph
from pupil_export.parity import check_parity

Untrained = Callable[[str, int, int], Served]
Noise = Callable[[int, int, int], np.ndarray]


@pytest.mark.parametrize(
    ("name", "side", "channels"), [("lenet5", 28, 1), ("vgg", 28, 1), ("torchvision/resnet18", 32, 3)]
)
def test_the_exported_graph_agrees_with_pytorch_in_eval_mode_at_every_batch_size(
    untrained: Untrained, noise: Noise, name: str, side: int, channels: int
) -> None:
    served = untrained(name, side, channels)
    graph = export_graph(served.train())  # as it may come from training, with dropout and moving statistics
    served = untrained(name, side, channels)
    model = OnnxModel(graph)
    for batch_size in (1, 2, 3, 8, 17):
        images = noise(batch_size, side, channels)
        with torch.no_grad():
            logits, scores = served(torch.from_numpy(images))
        answers = model(images)
        np.testing.assert_allclose(answers.logits, logits.numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(answers.scores, scores.numpy(), atol=1e-5)
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)


@pytest.fixture(scope="module")
def lenet(untrained: Untrained) -> Served:
    return untrained("lenet5", 28, 1)


@pytest.fixture(scope="module")
def graph(lenet: Served) -> bytes:
    return export_graph(lenet)


def test_normalisation_and_temperature_are_inside(lenet: Served, graph: bytes, noise: Noise) -> None:
    images = noise(5, 28, 1)
    mean, std = lenet.classifier.mean.item(), lenet.classifier.std.item()
    normalised = (images.astype(np.float32).transpose(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad():
        logits = lenet.classifier.net(torch.from_numpy(normalised.astype(np.float32))).numpy()
    answers = OnnxModel(graph)(images)
    np.testing.assert_allclose(answers.logits, logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(answers.scores, softmax(logits / 0.25, axis=1), atol=1e-5)
    np.testing.assert_allclose(answers.scores.sum(axis=1), 1, atol=1e-6)


def test_input_and_outputs_are_named_and_typed_as_documented_and_the_batch_is_free(graph: bytes) -> None:
    model = onnx.load_from_string(graph)

    def described(value: onnx.ValueInfoProto) -> tuple[str, int, list[int | str]]:
        tensor = value.type.tensor_type
        return value.name, tensor.elem_type, [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]

    assert [described(value) for value in model.graph.input] == [("images", onnx.TensorProto.UINT8, ["N", 28, 28, 1])]
    assert [described(value) for value in model.graph.output] == [
        ("logits", onnx.TensorProto.FLOAT, ["N", 7]),
        ("scores", onnx.TensorProto.FLOAT, ["N", 7]),
    ]
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 20)]


def test_the_same_weights_give_the_same_bytes_without_a_word_about_the_source(lenet: Served, graph: bytes) -> None:
    assert export_graph(lenet) == graph
    assert b".py" not in graph


def test_more_classes_than_outputs_are_refused(untrained: Untrained) -> None:
    served = untrained("lenet5", 28, 1)
    served.classifier.classes = tuple("abcdefgh")
    with pytest.raises(ExportError, match="8 classes, but the net has 7 outputs"):
        export_graph(served)


def nudged(graph: bytes, by: float) -> bytes:
    """The graph with `by` added to the first bias of its last layer."""
    model = onnx.load_from_string(graph)
    last = next(tensor for tensor in model.graph.initializer if list(tensor.dims) == [7])
    bias = onnx.numpy_helper.to_array(last).copy()
    bias[0] += by
    last.CopyFrom(onnx.numpy_helper.from_array(bias, last.name))
    return model.SerializeToString()


def test_parity_passes_the_honest_graph_and_says_how_close_it_came(lenet: Served, graph: bytes, noise: Noise) -> None:
    parity = check_parity(lenet, OnnxModel(graph), noise(30, 28, 1))
    assert parity.images == 24
    assert 0 <= parity.largest_difference < 1e-5
    assert check_parity(lenet, OnnxModel(graph), noise(2, 28, 1)).images == 2


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (0.01, r"at batch size 1: scores by up to 0\.0\d+ \(0\.0001 is allowed\), the best class of 0 of 24 images"),
        (100.0, r"at batch size 1: .* the best class of 24 of 24 images"),
        (float("nan"), "scores by up to nan"),
    ],
)
def test_a_graph_whose_weights_were_nudged_is_refused_with_the_numbers(
    lenet: Served, graph: bytes, noise: Noise, by: float, message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        check_parity(lenet, OnnxModel(nudged(graph, by)), noise(24, 28, 1))
