"""Small real things for every part's tests: bundles with a real graph, and a real server process in front of them."""

import contextlib
import hashlib
import io
import json
import resource
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

HEIGHT, WIDTH, CHANNELS = 6, 6, 3
CLASSES = tuple(f"class-{letter}" for letter in "abcdefgh")


def linear_weights(seed: int) -> NDArray[np.float32]:
    """(H·W·C, K): what the graphs of these tests multiply pixels with."""
    return np.random.default_rng(seed).normal(0, 0.05, (HEIGHT * WIDTH * CHANNELS, len(CLASSES))).astype(np.float32)


def linear_logits(pixels: NDArray[np.uint8], seed: int) -> NDArray[np.float64]:
    return pixels.reshape(len(pixels), -1).astype(np.float64) / 255 @ linear_weights(seed).astype(np.float64)


def linear_scores(pixels: NDArray[np.uint8], seed: int) -> NDArray[np.float64]:
    """The scores (N, K) that a bundle written with this seed must give, worked out without ONNX."""
    logits = linear_logits(pixels, seed)
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def linear_graph(seed: int) -> bytes:
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "most"], ["unit"]),
        helper.make_node("Flatten", ["unit"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", HEIGHT, WIDTH, CHANNELS])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(CLASSES)]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", len(CLASSES)]),
        ],
        [
            numpy_helper.from_array(np.float32(255), "most"),
            numpy_helper.from_array(linear_weights(seed), "weights"),
        ],
    )
    opset = [helper.make_opsetid("", 20)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opset, ir_version=10)
    return bytes(model.SerializeToString())


def png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def seal(folder: Path, facts: dict[str, object]) -> None:
    """Writes `bundle.json` with the hashes of what lies in `folder`, as docs/files.md describes it."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != "bundle.json"]
    facts["files"] = {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }
    facts.pop("fingerprint", None)
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    facts["fingerprint"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(facts))


def write_bundle(repository: Path, name: str, version: int = 1, *, seed: int = 0, teacher: str | None = None) -> Path:
    """A bundle around a linear graph, made without the project's own export."""
    folder = repository / name / str(version)
    (folder / "golden").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(linear_graph(seed))
    pixels = random_pixels(3, seed=99)
    for place, image in enumerate(pixels):
        (folder / f"golden/{place}.png").write_bytes(png(image))
    goldens = [
        {"file": f"{place}.png", "scores": scores.tolist()} for place, scores in enumerate(linear_scores(pixels, seed))
    ]
    (folder / "golden/golden.json").write_text(json.dumps({"tolerance": 1e-3, "images": goldens}))
    calibration = random_pixels(400, seed=7)
    scores = linear_scores(calibration, seed)
    best = scores.argmax(axis=1)
    wrong = np.arange(400) % 100 == 0  # 4 of 400
    (folder / "calibration.json").write_text(
        json.dumps(
            {
                "sha256": "0" * 64,
                "confidence": scores.max(axis=1).tolist(),
                "predicted": best.tolist(),
                "label": np.where(wrong, (best + 1) % len(CLASSES), best).tolist(),
                "grid": [0.5, 0.4, 0.3, 0.25, 0.2, 0.0],
                "grid_from": "fixed",
            }
        )
    )
    seal(
        folder,
        {
            "format": 1,
            "model": name,
            "version": version,
            "created": "2026-11-23T18:00:00Z",
            "classes": list(CLASSES),
            "input": {"height": HEIGHT, "width": WIDTH, "channels": CHANNELS},
            "resize": {"shortest_side": 6, "crop": "center", "interpolation": "bilinear"},
            "precision": "fp32",
            "temperature": 1.0,
            "teacher": {"name": teacher, "version": 1, "fingerprint": None} if teacher else None,
            "certificates": [],
        },
    )
    return folder


def random_pixels(count: int, *, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, HEIGHT, WIDTH, CHANNELS), dtype=np.uint8)


@dataclass
class RunningServer:
    """A `pupil serve` process of our own."""

    process: subprocess.Popen[str]
    address: str
    http: str
    log: Path

    def get(self, path: str) -> tuple[int, str]:
        """The status and the text that the HTTP port answers with."""
        try:
            with urllib.request.urlopen(f"http://{self.http}/{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def memory_mb(self) -> float:
        """Resident memory now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmRSS"))


@contextlib.contextmanager
def run_server(repository: Path, *options: str, python: Path = Path(sys.executable)) -> Iterator[RunningServer]:
    """Starts `pupil serve` on free loopback ports, waits until it is ready, and ends it."""
    command = [str(python), "-m", "pupil_client", "serve", "--repository", str(repository)]
    command += ["--port", "0", "--http-port", "0", "--device", "cpu", *options]
    with (repository.parent / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()  # ends with the process at the latest
        if not line:
            pytest.fail(f"the server did not start: {(repository.parent / 'server.log').read_text()}")
        addresses = json.loads(line)
        yield RunningServer(process, addresses["grpc"], addresses["http"], repository.parent / "server.log")
    finally:
        process.kill()
        process.wait(timeout=10)
        process.stdout.close()


@contextlib.contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """A disk that is full: a real OSError in the middle of a write.

    For a few lines, never for a whole test: the limit is the process's, and pytest writes its report to a file too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Toolbox:
    """The functions above, for tests that cannot import this file."""

    height, width, channels, classes = HEIGHT, WIDTH, CHANNELS, CLASSES
    files_no_larger_than = staticmethod(files_no_larger_than)
    linear_logits = staticmethod(linear_logits)
    linear_scores = staticmethod(linear_scores)
    png = staticmethod(png)
    random_pixels = staticmethod(random_pixels)
    run_server = staticmethod(run_server)
    seal = staticmethod(seal)
    write_bundle = staticmethod(write_bundle)


@pytest.fixture(scope="session")
def toolbox() -> type[Toolbox]:
    return Toolbox


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a teacher and its student, `teacher/1` and `student/1`."""
    folder = tmp_path / "repository"
    write_bundle(folder, "teacher", seed=1)
    write_bundle(folder, "student", seed=2, teacher="teacher")
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for the tests of a module that leave it as they found it."""
    folder = tmp_path_factory.mktemp("served") / "repository"
    write_bundle(folder, "teacher", seed=1)
    write_bundle(folder, "student", seed=2, teacher="teacher")
    with run_server(folder) as running:
        yield running


@pytest.fixture
def start(repository: Path) -> Callable[..., contextlib.AbstractContextManager[RunningServer]]:
    """`with start("--flag", …) as server`: a server of the test's own over `repository`."""
    return lambda *options: run_server(repository, *options)
