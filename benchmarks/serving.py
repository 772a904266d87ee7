"""What one request costs: ONNX Runtime alone, the barest grpcio server, and both fronts of ours, in one run.

python benchmarks/serving.py

One raw 28×28 image a request, as pupil.v1 Classify, 1, 8 and 64 of them in flight on one connection. The load is
h2load (Debian's nghttp2-client). The figure to compare is the server's CPU seconds per 1,000 requests: unlike requests
a second it does not care who else uses the machine. Ratios are to the barest server of the same round.
"""

import argparse
import io
import json
import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pupil_export.bundle import fingerprint, sha256
from pupil_export.repository import write_bundle
from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1.inference_pb2_grpc import InferenceStub

IN_FLIGHT = (1, 8, 64)
CLASSES = 10
METHOD = "/pupil.v1.Inference/Classify"
TICK = os.sysconf("SC_CLK_TCK")


def student() -> bytes:
    """A convolutional net of the size that distillation leaves: two layers, 28×28 in, 10 classes out."""
    random = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> object:
        return numpy_helper.from_array(random.normal(0, 0.1, shape).astype(np.float32), name)

    stride = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "first"], ["a"], **stride),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], **stride),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["flat"]),
        helper.make_node("MatMul", ["flat", "last"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 28, 28, 1])
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", CLASSES]) for n in ("logits", "scores")]
    constants = [weights("first", 8, 1, 3, 3), weights("second", 16, 8, 3, 3), weights("last", 16 * 7 * 7, CLASSES)]
    graph = helper.make_graph(nodes, "student", [images], outputs, constants)
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    )


def repository(folder: Path) -> Path:
    """The student as a bundle that `pupil serve` takes; returns its graph."""
    white = io.BytesIO()
    Image.new("L", (28, 28), 255).save(white, "PNG")
    scores = session(student()).run(["scores"], {"images": np.full((1, 28, 28, 1), 255, np.uint8)})[0][0].tolist()
    golden = {"tolerance": 0.001, "images": [{"file": "white.png", "scores": scores}]}
    files = {
        "model.onnx": student(),
        "golden/white.png": white.getvalue(),
        "golden/golden.json": json.dumps(golden).encode(),
    }
    facts = {
        "format": 1,
        "model": "student",
        "version": 1,
        "created": "2026-01-01T00:00:00Z",
        "classes": [str(digit) for digit in range(CLASSES)],
        "input": {"height": 28, "width": 28, "channels": 1},
        "resize": {"shortest_side": 28, "crop": "center", "interpolation": "bilinear"},
        "precision": "fp32",
        "temperature": 1.0,
        "certificates": [],
        "files": {name: sha256(content) for name, content in files.items()},
    }
    facts["fingerprint"] = fingerprint(facts)
    write_bundle(folder / "student/1", {**files, "bundle.json": json.dumps(facts).encode()})
    return folder / "student/1/model.onnx"


def session(graph: Path | bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def naive(graph: Path) -> None:
    """What one writes in a first hour: 64 threads, and one run of the session a request."""
    model = session(graph)

    def classify(request: pb.ClassifyRequest, context: object) -> pb.ClassifyResponse:
        pixels = request.images.pixels
        images = np.frombuffer(pixels.data, np.uint8).reshape(pixels.count, 28, 28, 1)
        (scores,) = model.run(["scores"], {"images": images})
        best = int(scores[0].argmax())
        top = pb.ScoredClass(label=str(best), index=best, score=scores[0, best])
        return pb.ClassifyResponse(predictions=[pb.Prediction(top=[top])])

    server = grpc.server(ThreadPoolExecutor(64))
    handler = grpc.unary_unary_rpc_method_handler(
        classify, pb.ClassifyRequest.FromString, pb.ClassifyResponse.SerializeToString
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("pupil.v1.Inference", {"Classify": handler}),)
    )
    print(json.dumps({"grpc": f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"}), flush=True)
    server.start()
    server.wait_for_termination()


@contextmanager
def running(command: list[str]) -> Iterator[tuple[int, str]]:
    """The process and the address of a server that prints a line of JSON when it is ready."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, json.loads(process.stdout.readline())["grpc"]
        finally:
            process.kill()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def load(pid: int, address: str, body: Path, in_flight: int, requests: int) -> tuple[float, float]:
    """CPU seconds of the server per 1,000 requests, and requests a second."""
    command = ["h2load", "-c", "1", "-m", str(in_flight), "-n", str(requests), "-d", str(body)]
    command += ["-H", "content-type: application/grpc", "-H", "te: trailers", f"http://{address}{METHOD}"]
    before = cpu_seconds(pid)
    out = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    found = re.search(r"([\d.]+) req/s.*?(\d+) succeeded", out, re.DOTALL)
    if not found or int(found[2]) != requests:
        raise SystemExit(f"{address}: not every request was answered:\n{out}")
    return (cpu_seconds(pid) - before) / requests * 1000, float(found[1])


def alone(graph: Path, batch: int, images: int) -> tuple[float, float]:
    """The same for ONNX Runtime without a server."""
    model, pixels = session(graph), np.zeros((batch, 28, 28, 1), np.uint8)
    for _ in range(50):
        model.run(None, {"images": pixels})
    cpu, start = time.process_time(), time.perf_counter()
    for _ in range(images // batch):
        model.run(None, {"images": pixels})
    return (time.process_time() - cpu) / images * 1000, images / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--naive", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.naive:
        return naive(chosen.naive)
    if not shutil.which("h2load"):
        raise SystemExit("h2load is not here; install Debian's nghttp2-client or Homebrew's nghttp2")
    with tempfile.TemporaryDirectory() as made:
        graph = repository(Path(made) / "repository")
        body = Path(made) / "request"
        pixels = pb.Pixels(data=bytes(range(196)) * 4, count=1, height=28, width=28, channels=1)
        request = pb.ClassifyRequest(model=pb.ModelSpec(name="student"), images=pb.Images(pixels=pixels))
        body.write_bytes(struct.pack(">BI", 0, request.ByteSize()) + request.SerializeToString())
        python = sys.executable
        serve = [python, "-m", "pupil_client", "serve", "--repository", str(Path(made) / "repository"), "--port", "0"]
        serve += ["--http-port", "0", "--device", "cpu", "--threads", "1", "--max-batch", "64", "--front"]
        servers = {
            "barest grpcio": [python, __file__, "--naive", str(graph)],
            "pupil, grpcio": [*serve, "grpcio"],
            "pupil, nghttp2": [*serve, "nghttp2"],
        }
        for in_flight in IN_FLIGHT:
            measure(servers, graph, body, request, in_flight, chosen.requests, chosen.rounds)


def measure(
    servers: dict[str, list[str]],
    graph: Path,
    body: Path,
    request: pb.ClassifyRequest,
    in_flight: int,
    requests: int,
    rounds: int,
) -> None:
    rows: dict[str, list[tuple[float, float]]] = {"ONNX Runtime alone": [], **{name: [] for name in servers}}
    best = set()
    for _ in range(rounds):
        rows["ONNX Runtime alone"].append(alone(graph, in_flight, requests))
        for name, command in servers.items():
            with running(command) as (pid, address):
                with grpc.insecure_channel(address) as channel:
                    answer = InferenceStub(channel).Classify(request, timeout=20)
                best.add(answer.predictions[0].top[0].label)
                load(pid, address, body, in_flight, requests // 5)  # warm
                rows[name].append(load(pid, address, body, in_flight, requests))
    if len(best) > 1:
        raise SystemExit(f"the servers do not agree about one image: {best}")
    for name, measured in rows.items():
        cpu, rate = (statistics.median(column) for column in zip(*measured, strict=True))
        pairs = zip(measured, rows["barest grpcio"], strict=True)
        ratio = statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)
        print(f"{in_flight:3} in flight  {name:20} {cpu:.3f} CPU s/1,000  {ratio:5.2f} of barest  {rate:7,.0f} req/s")


if __name__ == "__main__":
    main()
