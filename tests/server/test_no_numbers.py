"""Scores that are no numbers, as where an activation overflows: nothing is promised of those."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper

from pupil_proto.v1 import inference_pb2 as pb
from pupil_server.live.agreement import Agreement

BLACK, ALL = 3, 10  # where the image is that it has no numbers for
PATIENCE = 20.0


def divide_by_the_brightest_pixel(bundle, toolbox) -> None:
    """Between the first and the last of its graph; a black image becomes 0 / 0."""
    model = onnx.load(bundle / "model.onnx")
    nodes = list(model.graph.node)
    flatten = next(place for place, node in enumerate(nodes) if node.op_type == "Flatten")
    nodes[flatten].input[0] = "bright"
    nodes[flatten:flatten] = [
        helper.make_node("ReduceMax", ["unit", "sides"], ["brightest"], keepdims=1),
        helper.make_node("Div", ["brightest", "brightest"], ["one"]),
        helper.make_node("Mul", ["unit", "one"], ["bright"]),
    ]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 2, 3]), "sides"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, bundle / "model.onnx")
    toolbox.seal(bundle, json.loads((bundle / "bundle.json").read_text()))


@pytest.fixture(scope="module")
def server(front, toolbox, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    toolbox.write_bundle(folder, "teacher", seed=1)
    divide_by_the_brightest_pixel(toolbox.write_bundle(folder, "student", seed=2, teacher="teacher"), toolbox)
    with toolbox.run_server(folder, "--front", front) as running:
        yield running


@pytest.fixture
def images(toolbox) -> pb.Images:
    pixels = toolbox.random_pixels(ALL, seed=3)
    pixels[BLACK] = 0
    return pb.Images(encoded=[toolbox.png(each) for each in pixels])


def test_its_labels_are_errors_in_their_place_whatever_is_promised(stubs, images) -> None:
    for guarantee in (pb.GUARANTEE_NONE, pb.GUARANTEE_FIXED, pb.GUARANTEE_PAC, pb.GUARANTEE_FDR):
        plan = pb.LabelPlan(model=pb.ModelSpec(name="student"), guarantee=guarantee, precision=0.9, scores=True)
        asked = [pb.PseudoLabelRequest(plan=plan), pb.PseudoLabelRequest(images=images)]
        labels = [label for each in stubs.inference.PseudoLabel(iter(asked), timeout=PATIENCE) for label in each.labels]
        assert [label.HasField("error") for label in labels] == [place == BLACK for place in range(ALL)]
        assert labels[BLACK].error.message == "the model's scores of it are no numbers"
        assert not labels[BLACK].accepted


def test_a_cascade_leaves_it_to_the_teacher(stubs, images) -> None:
    """However little is promised: at a limit of 0.99 the student answers whatever it has numbers for."""
    cascade = pb.Cascade(limit=0.99, goal=pb.CASCADE_GOAL_DISAGREEMENT)
    request = pb.ClassifyRequest(model=pb.ModelSpec(name="student"), images=images, scores=True, cascade=cascade)
    answer = stubs.inference.Classify(request, timeout=PATIENCE)
    assert [route == pb.ROUTE_TEACHER for route in answer.routes] == [place == BLACK for place in range(ALL)]
    assert np.isfinite([list(each.scores) for each in answer.predictions]).all()


def test_the_watch_counts_it_as_a_disagreement_and_stays_a_number() -> None:
    """Even where the teacher has no numbers either, and both would name the first class."""
    scores = np.array([[0.75, 0.25], [np.nan, np.nan], [0.75, 0.25]], np.float32)
    watched = Agreement()
    agree = watched.add(scores, np.array([[0.75, 0.25], [np.nan, np.nan], [np.nan, 0.5]], np.float32), limit=0.9)
    assert agree.tolist() == [True, False, False]
    assert (watched.images, watched.disagreed, watched.kl) == (3, 2, 0.0)
