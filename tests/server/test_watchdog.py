import json
import signal
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pupil_proto.v1 import inference_pb2 as pb
from pupil_server.watchdog import Watchdog

PATIENCE = 20.0
POISON = 255


def graph_that_hangs_on_white(weights: np.ndarray) -> bytes:
    """A linear classifier that counts to 10¹⁵ first where the first value of an image is 255."""
    count = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["still"]),
            helper.make_node("Identity", ["before"], ["after"]),
        ],
        "count",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [None, None]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [None, None]),
        ],
    )
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("Slice", ["flat", "zero", "one", "one"], ["firsts"]),
        helper.make_node("ReduceMax", ["firsts"], ["brightest"], keepdims=0),
        helper.make_node("Div", ["brightest", "white"], ["share"]),
        helper.make_node("Floor", ["share"], ["poisoned"]),
        helper.make_node("Mul", ["poisoned", "many"], ["turns_as_float"]),
        helper.make_node("Cast", ["turns_as_float"], ["turns"], to=TensorProto.INT64),
        helper.make_node("Loop", ["turns", "", "flat"], ["same"], body=count),
        helper.make_node("Div", ["same", "white"], ["unit"]),
        helper.make_node("MatMul", ["unit", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    constants = {
        "white": np.float32(POISON),
        "many": np.float32(1e15),
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "weights": weights,
    }
    graph = helper.make_graph(
        nodes,
        "hangs",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 6, 6, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 8]) for name in ("logits", "scores")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


@pytest.fixture
def hanging(repository: Path, toolbox) -> None:
    make_hanging(repository / "student/1", toolbox)


def make_hanging(bundle: Path, toolbox) -> None:
    """Turns a model into one that never comes back from an image whose first value is 255."""
    (old,) = [
        numpy_helper.to_array(each)
        for each in onnx.load(bundle / "model.onnx").graph.initializer
        if each.name == "weights"
    ]
    (bundle / "model.onnx").write_bytes(graph_that_hangs_on_white(old))
    toolbox.seal(bundle, json.loads((bundle / "bundle.json").read_text()))


def request(first: int) -> pb.ClassifyRequest:
    pixels = np.zeros((1, 6, 6, 3), np.uint8)
    pixels.flat[0] = first
    images = pb.Images(pixels=pb.Pixels(data=pixels.tobytes(), count=1, height=6, width=6, channels=3))
    return pb.ClassifyRequest(model=pb.ModelSpec(name="student"), images=images)


def live(http: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{http}/livez", timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics(http: str) -> str:
    with urllib.request.urlopen(f"http://{http}/metrics", timeout=PATIENCE) as page:
        found: str = page.read().decode()
    return found


def test_the_oldest_batch_that_runs_is_the_one_that_counts() -> None:
    watchdog, inside, go_on = Watchdog(), threading.Event(), threading.Event()

    def hang(name: str) -> str:
        inside.set()
        assert go_on.wait(PATIENCE)
        return name

    assert watchdog.longest() == 0.0
    old = threading.Thread(target=watchdog.over(hang), args=("old",))
    old.start()
    assert inside.wait(PATIENCE)
    before = watchdog.longest()
    assert watchdog.over(str)(1) == "1"  # another instance comes and goes
    assert watchdog.longest() > before > 0
    go_on.set()
    old.join(PATIENCE)
    assert watchdog.longest() == 0.0


def test_a_batch_that_fails_is_not_one_that_hangs() -> None:
    watchdog = Watchdog()
    with pytest.raises(ValueError, match="invalid literal"):
        watchdog.over(int)("x")
    assert watchdog.longest() == 0.0


def test_a_model_that_hangs_makes_the_server_not_live_and_does_not_keep_it_from_ending(
    hanging, start, connect, becomes
) -> None:
    with start("--watchdog", "0.5", "--drain-grace", "0.2") as server:
        stubs = connect(server.address)
        assert stubs.inference.Classify(request(0), timeout=PATIENCE).predictions
        assert live(server.http) == (200, "ok\n")
        stuck = stubs.inference.Classify.future(request(POISON), timeout=PATIENCE)
        becomes(lambda: live(server.http) == (503, "a batch in student/1 does not end\n"))
        assert "a batch in student/1 does not end" in server.log.read_text()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=PATIENCE) == 1
        assert "something does not end" in server.log.read_text()
        stuck.cancel()


def test_without_a_watchdog_a_slow_batch_is_nobodys_business(hanging, start, connect, becomes) -> None:
    with start("--watchdog", "0", "--default-deadline", "0.7") as server:
        stubs = connect(server.address)
        stuck = stubs.inference.Classify.future(request(POISON))
        becomes(stuck.done)
        assert live(server.http) == (200, "ok\n")


def test_a_teacher_that_hangs_costs_the_student_in_whose_shadow_it_works_no_answer(
    repository, toolbox, start, connect, becomes
) -> None:
    make_hanging(repository / "teacher/1", toolbox)
    with start("--shadow", "1", "--watchdog", "0") as server:
        stubs = connect(server.address)
        for _ in range(20):
            assert stubs.inference.Classify(request(POISON), timeout=PATIENCE).predictions
        assert 'pupil_shadow_images_total{outcome="full"}' in metrics(server.http)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=PATIENCE) == 0  # nor does it keep the server from ending


def test_a_teacher_that_hangs_costs_a_cascade_no_answer_but_its_promise(
    repository, toolbox, start, connect, becomes
) -> None:
    """Of this pair too little is proven for the student to answer: all is left to the teacher, who may not come."""
    make_hanging(repository / "teacher/1", toolbox)
    asked = request(POISON)
    asked.cascade.limit = 0.02
    with start("--watchdog", "0", "--max-queue-images", "2") as server:
        stubs = connect(server.address)
        alone = stubs.inference.Classify(request(POISON), timeout=PATIENCE).predictions
        late = stubs.inference.Classify(asked, timeout=1.0)
        stuck = [stubs.inference.Classify.future(asked, timeout=PATIENCE) for _ in range(2)]
        becomes(lambda: 'pupil_queue_images{model="teacher",version="1"} 2.0' in metrics(server.http))
        full = stubs.inference.Classify(asked, timeout=PATIENCE)
        for each in stuck:
            each.cancel()
    for answer, route in ((late, pb.ROUTE_STUDENT_LATE), (full, pb.ROUTE_STUDENT_OVERLOADED)):
        assert (list(answer.routes), answer.predictions) == ([route], alone)
        assert not answer.HasField("teacher")
