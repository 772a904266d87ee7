import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from pupil_export.answers import OnnxModel
from pupil_export.compress import compress
from pupil_export.errors import ExportError
from pupil_export.fp16 import answers_in_half, to_fp16
from pupil_export.gate import Gate
from pupil_export.graph import Served, export_graph
from pupil_training.runs import load_run

Untrained = Callable[[str, int, int], Served]
Graph = Callable[[str, int, int], bytes]
Noise = Callable[[int, int, int], np.ndarray]


def test_the_net_becomes_half_as_large_and_takes_and_gives_what_it_did(
    untrained: Untrained, untrained_graph: Graph, noise: Noise
) -> None:
    served, images = untrained("airbench", 32, 3), noise(9, 32, 3)
    graph, half = untrained_graph("airbench", 32, 3), to_fp16(served)
    assert {weights.dtype for weights in served.parameters()} == {torch.float32}  # the net is left as it was
    assert len(half) < 0.51 * len(graph)
    models = [onnx.load_from_string(each) for each in (graph, half)]
    onnx.checker.check_model(models[1], full_check=True)
    assert models[1].graph.input == models[0].graph.input
    assert models[1].graph.output == models[0].graph.output
    weights = {tensor.data_type for tensor in models[1].graph.initializer if np.prod(tensor.dims) > 100}
    assert weights == {TensorProto.FLOAT16}
    answers, reference = OnnxModel(half)(images, batch_size=4), OnnxModel(graph)(images)
    np.testing.assert_allclose(answers.scores, reference.scores, atol=1e-2)
    assert not np.array_equal(answers.logits, reference.logits)


def test_the_scores_are_those_of_a_net_that_pytorch_runs_in_half_precision(runs: Path) -> None:
    run = load_run(runs / "teacher")
    images = run.load_split("validation").images[:40]
    net = copy.deepcopy(run.model.net).half()
    pixels = (images.permute(0, 3, 1, 2) / 255 - run.model.mean) / run.model.std
    with torch.no_grad():
        logits = net(pixels.half()).float() + run.model.shift
    expected = torch.softmax(logits / run.model.temperature, 1).numpy()
    served = Served(run.model)
    on_a_cpu = OnnxModel(to_fp16(served))(images.numpy()).scores
    np.testing.assert_allclose(on_a_cpu, expected, atol=5e-3)
    on_a_gpu = answers_in_half(served, images.numpy()).scores
    assert np.abs(on_a_gpu - expected).mean() < np.abs(on_a_cpu - expected).mean() / 3


def test_a_weight_beyond_half_precision_is_named(untrained: Untrained) -> None:
    served = untrained("lenet5", 28, 1)
    with torch.no_grad():
        served.classifier.net[3].weight[2, 1, 0, 0] = -70_000
    told = r"fp16: the weights 3\.weight reach up to 70,000, and half precision ends at 65,504; leave fp16 out"
    with pytest.raises(ExportError, match=told):
        to_fp16(served)


def test_a_layer_whose_outputs_leave_half_precision_is_named_though_a_cpu_would_not_notice(
    untrained: Untrained, noise: Noise
) -> None:
    served = untrained("lenet5", 28, 1)
    with torch.no_grad():
        served.classifier.net[7].bias[3] = 60_000
        served.classifier.net[9].weight[:, 3] = 2
    with pytest.raises(ExportError, match=r"fp16: layer 9 gives up to 12\d,\d\d\d, and half precision ends at 65,504"):
        answers_in_half(served, noise(1, 28, 1))


def test_a_net_that_half_precision_is_too_coarse_for_is_refused_though_a_cpu_would_not_notice(runs: Path) -> None:
    run = load_run(runs / "teacher")
    with torch.no_grad():  # of values around 30,000 sixteen bits keep every sixteenth whole number
        run.model.net[9].bias += 30_000
        run.model.net[12].bias -= 30_000 * run.model.net[12].weight.sum(dim=1)
    served, validation = Served(run.model), run.load_split("validation")
    graph = export_graph(served)
    told = (
        r"^fp16: its graph loses \d\d\.\d\d points of accuracy on 150 validation images \(at most 0\.3 are allowed\) "
        r"and agrees with fp32 on \d\d\.\d\d% of them \(at least 98\.00% are wanted\); not exported\. Leave fp16 out "
        r"of --precision, or accept the cost with --most-lost and --least-agreement$"
    )
    with pytest.raises(ExportError, match=told):
        compress(run, served, graph, validation, ["fp16"], Gate())
    accepted = compress(run, served, graph, validation, ["fp16"], Gate(1, 0))["fp16"]
    assert accepted.facts["agreement"]["right"] < 147
    moved = accepted.facts["largest_difference"]
    assert accepted.tolerance == pytest.approx(min(1, 2 * moved))  # so that its goldens hold on a GPU too
