"""What one image costs: the barest code that does the work, the barest server on grpcio, and both fronts of ours.

python benchmarks/serving.py
python benchmarks/serving.py --server-core 1 --load-core 0 --photos FOLDER --peer triton=localhost:8001

The load is h2load (Debian's nghttp2-client) on one connection. The figure to compare is the server's CPU seconds per
1,000 images: unlike requests a second it does not care who else uses the machine. Whoever is compared is measured in
turn, round by round; ratios are within a round, to the server or the loop that is named first in a table. A peer is any
server of the Open Inference Protocol v2 with a model `student` like ours; its CPU is told where its process is named.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
from cpu_time import cpu_seconds
from google.protobuf.message import Message
from serving_alone import Timed, decodes, runs
from serving_models import LARGE, SMALL, bundle

from pupil_proto.oip.v2 import infer_pb2 as oip
from pupil_proto.v1 import inference_pb2 as pb

CLASSIFY, INFER = "/pupil.v1.Inference/Classify", "/inference.GRPCInferenceService/ModelInfer"
BAREST = "barest grpcio"
GRPCIO, NGHTTP2 = "pupil, grpcio", "pupil, nghttp2"
PHOTOS = 16  # of the folder, spread over it


class Row(NamedTuple):
    """One kind of request, so many of them in flight, and who is compared at it; ratios are to the first."""

    name: str
    in_flight: int
    path: str
    requests: Sequence[Message]
    alone: Timed
    compared: tuple[str, ...]
    images: int = 1  # of one request
    share: float = 1.0  # of the requests that are asked for: large pictures need fewer


class Server(NamedTuple):
    address: str
    pid: int = 0  # 0: a peer


def classify(model: str, count: int, shape: tuple[int, int, int]) -> pb.ClassifyRequest:
    height, width, channels = shape
    data = np.random.default_rng(1).integers(0, 256, (count, *shape), np.uint8).tobytes()
    pixels = pb.Pixels(data=data, count=count, height=height, width=width, channels=channels)
    return pb.ClassifyRequest(model=pb.ModelSpec(name=model), images=pb.Images(pixels=pixels))


def infer(kind: str, shape: tuple[int, int, int]) -> oip.ModelInferRequest:
    pixels = np.random.default_rng(1).integers(0, 256, (1, *shape), np.uint8)
    raw = pixels.astype({"UINT8": np.uint8, "FP32": np.float32}[kind]).tobytes()
    tensor = oip.ModelInferRequest.InferInputTensor(name="images", datatype=kind, shape=pixels.shape)
    return oip.ModelInferRequest(model_name="student", inputs=[tensor], raw_input_contents=[raw])


def rows(small: Path, large: Path, photos: Path | None, peers: tuple[str, ...]) -> Iterator[Row]:
    alone = {number: runs(small, SMALL, number) for number in (1, 8, 64)}
    three, ours = (BAREST, GRPCIO, NGHTTP2), ("alone", GRPCIO, NGHTTP2)
    for number, loop in alone.items():
        yield Row("Classify, 28×28", number, CLASSIFY, [classify("student", 1, SMALL)], loop, three)
        for kind in ("UINT8", "FP32"):
            yield Row(f"KServe {kind}, 28×28", number, INFER, [infer(kind, SMALL)], loop, (*three, *peers))
    many = runs(small, SMALL, 32)
    yield Row("32 images a request, 28×28", 8, CLASSIFY, [classify("student", 32, SMALL)], many, ours, 32, 0.1)
    best = runs(large, LARGE, 1, 2, 4, 8)
    yield Row("Classify, 224×224", 32, CLASSIFY, [classify("large", 1, LARGE)], best, ours, share=0.1)
    if photos:
        chosen = sorted(photos.iterdir())
        files = [file.read_bytes() for file in chosen[:: max(1, len(chosen) // PHOTOS)][:PHOTOS]]
        model = pb.ModelSpec(name="large")
        requests = [pb.ClassifyRequest(model=model, images=pb.Images(encoded=[file])) for file in files]
        yield Row("Classify, photographs", 32, CLASSIFY, requests, decodes(large, files), ours, share=0.1)


def bundles(repository: Path) -> tuple[Path, Path]:
    """The graphs of a LeNet-5 and of a MobileNetV3-small, served from there."""
    from serving_nets import lenet, mobilenet  # which loads torch

    return bundle(repository, "student", SMALL, lenet()), bundle(repository, "large", LARGE, mobilenet())


def on_core(core: int | None) -> list[str]:
    return [] if core is None else ["taskset", "-c", str(core)]


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[Server]:
    """A server that prints a line of JSON when it is ready."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(json.loads(process.stdout.readline())["grpc"], process.pid)
        finally:
            process.kill()


def peer(told: str) -> tuple[str, Server]:
    name, _, place = told.partition("=")
    address, _, pid = place.partition(",")
    return name, Server(address, int(pid or 0))


def h2load(
    url: str, request: Message, requests: int, in_flight: int, prefix: list[str], *, connections: int = 1
) -> float:
    """Answers a second, so many calls in flight on each connection. Raises SystemExit where one is missing."""
    with tempfile.NamedTemporaryFile() as body:
        body.write(struct.pack(">BI", 0, request.ByteSize()) + request.SerializeToString())
        body.flush()
        command = [*prefix, "h2load", "-c", str(connections), "-m", str(in_flight), "-n", str(requests)]
        command += ["-d", body.name, "-H", "content-type: application/grpc", "-H", "te: trailers", url]
        out = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout
    found = re.search(r"([\d.]+) req/s.*?(\d+) succeeded", out, re.DOTALL)
    if not found or int(found[2]) != requests:
        raise SystemExit(f"{url}: not every request was answered:\n{out}")
    return float(found[1])


def load(server: Server, row: Row, requests: int, prefix: list[str]) -> tuple[float, float]:
    """CPU seconds of the server per 1,000 images, and images a second."""
    cpu = seconds = 0.0
    each = max(row.in_flight, requests // len(row.requests))
    for request in row.requests:
        before = cpu_seconds(server.pid)
        rate = h2load(f"http://{server.address}{row.path}", request, each, row.in_flight, prefix)
        cpu += cpu_seconds(server.pid) - before
        seconds += each / rate
    images = each * len(row.requests) * row.images
    return cpu / images * 1000, images / seconds


def require_same_answers(row: Row, servers: dict[str, Server]) -> None:
    answers = set()
    for name in {*row.compared} & {*servers}:
        with grpc.insecure_channel(servers[name].address) as channel:
            ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(row.path)
            raw = ask(row.requests[0].SerializeToString(), timeout=60)
        if row.path == CLASSIFY:
            answers.add(pb.ClassifyResponse.FromString(raw).predictions[0].top[0].label)
        else:
            scores = np.frombuffer(oip.ModelInferResponse.FromString(raw).raw_output_contents[-1], np.float32)
            answers.add(str(scores.argmax()))
    if len(answers) > 1:
        raise SystemExit(f"{row.name}: the servers do not agree about one image: {answers}")


def measure(row: Row, servers: dict[str, Server], rounds: int, requests: int, prefix: list[str]) -> None:
    """Prints a line of the table for each who is compared."""
    require_same_answers(row, servers)
    requests = max(2 * row.in_flight, int(requests * row.share))
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in dict.fromkeys((*row.compared, "alone"))}
    for turn in range(rounds + 1):
        for name, measured in found.items():
            one = row.alone(requests * row.images) if name == "alone" else load(servers[name], row, requests, prefix)
            if turn:  # the first one warms
                measured.append(one)
    for name, measured in found.items():
        cpu, rate = (statistics.median(column) for column in zip(*measured, strict=True))
        first = row.compared[0]
        ratios = [a / b if first != "alone" else b / a for (a, _), (b, _) in zip(measured, found[first], strict=True)]
        print(
            f"| {row.name} | {row.in_flight} | {name} | {cpu:.3f} | {statistics.median(ratios):.2f} "
            f"| {min(ratios):.2f} to {max(ratios):.2f} | {rate:,.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help="rows whose names begin like this; all by default")
    parser.add_argument("--requests", type=int, default=6000, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", type=Path, help="a folder of photographs")
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=HOST:PORT[,PID]", help="with its process its CPU is told"
    )
    parser.add_argument("--server-core", type=int, help="pins servers, and what runs without one")
    parser.add_argument("--load-core", type=int, help="pins h2load")
    asked = parser.parse_args()
    if not shutil.which("h2load"):
        raise SystemExit("h2load is not here; install Debian's nghttp2-client or Homebrew's nghttp2")
    if asked.server_core is not None:
        os.sched_setaffinity(0, {asked.server_core})
    peers = dict(map(peer, asked.peer))
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as stack:
        repository = Path(made) / "repository"
        small, large = bundles(repository)
        serve = [sys.executable, "-m", "pupil_client", "serve", "--repository", str(repository), "--port", "0"]
        serve += ["--http-port", "0", "--device", "cpu", "--threads", "1", "--max-batch", "128", "--front"]
        models = str(Path(__file__).with_name("serving_models.py"))
        commands = {
            BAREST: [sys.executable, models, str(small)],
            GRPCIO: [*serve, "grpcio"],
            NGHTTP2: [*serve, "nghttp2"],
        }
        servers = {
            **{name: stack.enter_context(running(command)) for name, command in commands.items()},
            **peers,
        }
        print("| | in flight | | CPU s per 1,000 images | ratio | from to | images/s |")
        print("| --- | --: | --- | --: | --: | --- | --: |")
        prefix = on_core(asked.load_core)
        for row in rows(small, large, asked.photos, tuple(peers)):
            if not asked.only or row.name.startswith(tuple(asked.only)):
                measure(row, servers, asked.rounds, asked.requests, prefix)


if __name__ == "__main__":
    main()
