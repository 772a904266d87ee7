import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pupil_server import loading
from pupil_server.cuda_binding import Buffers
from pupil_server.errors import BundleError
from pupil_server.loading import prepare
from pupil_server.providers import Gpu, best_device, buckets, misplaced, providers
from pupil_server.session import Session
from pupil_server.settings import ServerSettings

SHAPE = (40, 40, 3)


@pytest.fixture
def convolutions(tmp_path: Path) -> Path:
    """Six convolutions of 32 channels over 40×40 pixels: work whose memory can be seen."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["layer-0"], perm=[0, 3, 1, 2]),
    ]
    weights = []
    for place in range(6):
        kernel = random.normal(0, 0.05, (32, 3 if place == 0 else 32, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"kernel-{place}"))
        names = [f"layer-{place}", f"kernel-{place}"]
        nodes.append(helper.make_node("Conv", names, [f"sum-{place}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"sum-{place}"], [f"layer-{place + 1}"]))
    nodes += [
        helper.make_node("GlobalAveragePool", ["layer-6"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "convolutions",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", *SHAPE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 32]) for name in ("logits", "scores")],
        weights,
    )
    file = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), file)
    return file


@pytest.fixture
def noise() -> Callable[[int], NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    return lambda images: random.integers(0, 256, (images, *SHAPE), dtype=np.uint8)


MIXED_SIZES = """
import sys
from pathlib import Path
import numpy as np
from pupil_server.session import Session

def resident():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmRSS"))

session = Session(Path(sys.argv[1]), device="cpu", threads=1, shape=(40, 40, 3), max_batch=32)
session.warm()
before = resident()
random = np.random.default_rng(0)
for size in random.permutation(np.arange(1, 33)).tolist():
    session.run(np.zeros((size, 40, 40, 3), np.uint8))
print((resident() - before) / before)
"""


def test_memory_stays_level_over_batches_of_every_size(convolutions: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", MIXED_SIZES, str(convolutions)], capture_output=True, text=True, check=True, timeout=120
    )
    assert float(ran.stdout) < 0.2  # a third with patterns of memory kept for every size


def test_a_session_tells_how_many_nodes_run_where(convolutions: Path) -> None:
    session = Session(convolutions, device="cpu", threads=1, shape=SHAPE, max_batch=4)
    assert session.nodes.keys() == {"cpu"}
    assert 10 <= session.nodes["cpu"] <= 30  # six convolutions and what is around them; some of it is fused


@pytest.mark.parametrize(
    ("placed", "device", "says"),
    [
        ({"cpu": ["Conv", "Shape"]}, "cpu", ""),
        ({"cuda": ["Conv", "Relu"], "cpu": ["Shape", "Gather", "Concat"]}, "cuda", ""),
        ({"cuda": ["Conv"], "cpu": ["Conv", "Shape", "NonZero", "Conv"]}, "cuda", "2 Conv, 1 NonZero"),
        ({"cpu": ["Shape"]}, "cuda", "no node would run on cuda"),
        ({"tensorrt": ["Conv"], "cuda": ["Softmax"]}, "tensorrt", ""),
        ({"cuda": ["Conv", "Softmax"]}, "tensorrt", "no node would run on tensorrt"),
    ],
)
def test_only_arithmetic_on_shapes_may_stay_on_the_cpu(placed: dict[str, list[str]], device: str, says: str) -> None:
    found = misplaced(placed, device)
    assert bool(found) == bool(says)
    assert says in found


@pytest.mark.parametrize(
    ("device", "most", "expected"),
    [
        ("cpu", 32, ()),
        ("cuda", 1, (1,)),
        ("cuda", 2, (1, 2)),
        ("cuda", 24, (1, 2, 4, 8, 16, 24)),
        ("tensorrt", 32, (1, 2, 4, 8, 16, 32)),
    ],
)
def test_a_gpu_sees_powers_of_two_and_the_largest_batch_and_a_cpu_any_size(
    device: str, most: int, expected: tuple[int, ...]
) -> None:
    assert buckets(device, most) == expected


def named(device: str, **gpu: object) -> dict[str, dict[str, str]]:
    options = Gpu(**gpu)  # type: ignore[arg-type]
    return dict(providers(device, shape=SHAPE, max_batch=16, precision="fp16", gpu=options, search="HEURISTIC"))


def test_a_device_is_its_own_providers_and_never_the_cpu_beside_them() -> None:
    assert list(named("cpu")) == ["CPUExecutionProvider"]
    assert list(named("cuda")) == ["CUDAExecutionProvider"]
    assert list(named("tensorrt")) == ["TensorrtExecutionProvider", "CUDAExecutionProvider"]


def test_graphs_and_the_engine_cache_are_there_for_those_who_ask(tmp_path: Path) -> None:
    plain, asked = named("tensorrt"), named("tensorrt", graphs=True, engines=tmp_path)
    assert plain["CUDAExecutionProvider"]["enable_cuda_graph"] == "0"
    assert "trt_engine_cache_path" not in plain["TensorrtExecutionProvider"]
    assert asked["CUDAExecutionProvider"]["enable_cuda_graph"] == "1"
    assert asked["TensorrtExecutionProvider"]["trt_engine_cache_path"] == str(tmp_path)
    least, most = (asked["TensorrtExecutionProvider"][f"trt_profile_{end}_shapes"] for end in ("min", "max"))
    assert (least, most) == ("images:1x40x40x3", "images:16x40x40x3")


def test_auto_says_why_it_is_not_cuda_where_that_could_be_expected(tmp_path: Path) -> None:
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert best_device(both[1:], tmp_path) == ("cpu", "")  # no GPU, and nothing for one: no alert is wanted
    assert best_device(both, tmp_path) == ("cpu", "no NVIDIA device is visible; --device cpu says that none is meant")
    (tmp_path / "nvidia0").touch()
    lacks = "this build of ONNX Runtime has no CUDA provider; pip install 'pupil[cuda]' brings one"
    assert best_device(both[1:], tmp_path) == ("cpu", lacks)
    assert best_device(both, tmp_path) == ("cuda", "")


@pytest.mark.skipif(any(Path("/dev").glob("nvidia[0-9]*")), reason="CUDA may well work here")
def test_where_cuda_is_seen_but_does_not_work_auto_falls_back_and_keeps_the_reason(
    toolbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = toolbox.write_bundle(tmp_path / "repository", "student")
    monkeypatch.setattr(loading, "best_device", lambda available: ("cuda", ""))
    session = prepare(bundle, ServerSettings(repository=tmp_path / "repository")).session
    assert session.device == "cpu"
    assert "cuda" in session.fallback.lower()


@pytest.mark.skipif(any(Path("/dev").glob("nvidia[0-9]*")), reason="CUDA may well work here")
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_device_that_is_not_there_is_a_refusal_that_prints_nothing(
    convolutions: Path, device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BundleError, match=f"--device {device}|refuses it on {device}"):
        Session(convolutions, device=device, threads=1, shape=SHAPE, max_batch=4)
    assert capsys.readouterr().out == ""


def test_buffers_give_every_batch_size_what_a_plain_run_gives(convolutions: Path, noise) -> None:
    """On the CPU's memory: the binding is the same, only the addresses differ."""
    session = ort.InferenceSession(convolutions, providers=["CPUExecutionProvider"])
    buffers = Buffers(session, SHAPE, (1, 2, 4, 6), graphs=False, device="cpu")
    held = []
    for count in (6, 1, 3, 2, 5, 4):
        pixels = noise(count)
        logits, scores = buffers.run(pixels)
        held.append((scores, session.run(["scores"], {"images": pixels})[0]))
        assert logits.shape == (count, 32)
    for scores, expected in held:  # an answer is not overwritten by the next batch
        np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_a_session_leaves_the_arithmetic_of_its_thread_alone(convolutions: Path) -> None:
    """ONNX Runtime's flush of tiny numbers to zero would stay on in the thread that opened the session."""

    def tiny() -> float:
        session = Session(convolutions, device="cpu", threads=1, shape=SHAPE, max_batch=4)
        session.run(np.zeros((1, *SHAPE), np.uint8))
        return float(np.array([5e-324])[0] * np.array([1.0])[0])

    with ThreadPoolExecutor(1) as fresh:
        assert fresh.submit(tiny).result(timeout=60) > 0
