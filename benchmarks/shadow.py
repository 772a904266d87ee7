"""What a shadow costs the student: one server with it, one without, on the same core, under the same load in turn.

python benchmarks/shadow.py --server-core 1 --load-core 0
python benchmarks/shadow.py --share 0.1 --rate 300 --turns 60 --seconds 2

Requests of one image come at random moments, so many a second whatever the answers do, and a latency counts from the
moment at which its request was due. The student takes 10 million multiplications an image and its teacher 114, a pair
as distillation leaves it on CIFAR-10. The two take short turns, so that both have the same share of what else a machine
does; quantiles are over all turns, and the intervals come from drawing the turns anew (bootstrap, 95 %).
"""

import argparse
import contextlib
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
from cpu_time import cpu_seconds
from serving import Server, classify, running
from serving_models import MEDIUM, bundle
from serving_nets import plain

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import inference_pb2_grpc, models_pb2, models_pb2_grpc

PATIENCE = 10.0  # seconds
STUDENT, TEACHER = (32, 32), (32,) * 13  # channels of their convolutions


class Turn(NamedTuple):
    latencies: list[float]  # milliseconds
    cpu: float  # milliseconds of the server


def load(server: Server, rate: float, seconds: float, seed: int) -> Turn:
    """Asks for one image at a time, at the moments of a Poisson process."""
    request, latencies, done = classify("student", 1, MEDIUM), [], threading.Semaphore(0)
    draw, cpu = random.Random(seed), cpu_seconds(server.pid)
    with grpc.insecure_channel(server.address) as channel:
        stub = inference_pb2_grpc.InferenceStub(channel)
        stub.Classify(request, timeout=PATIENCE)
        due = start = time.monotonic()
        asked = 0
        while due < start + seconds:
            due += draw.expovariate(rate)
            time.sleep(max(0.0, due - time.monotonic()))

            def answered(call: "grpc.Future[pb.ClassifyResponse]", due: float = due) -> None:
                latencies.append(float("inf") if call.exception() else 1000 * (time.monotonic() - due))
                done.release()

            stub.Classify.future(request, timeout=PATIENCE).add_done_callback(answered)
            asked += 1
        for _ in range(asked):
            done.acquire()
    return Turn(latencies, 1000 * (cpu_seconds(server.pid) - cpu))


def figures(turns: list[Turn]) -> np.ndarray:
    """p50, p99 and CPU of a request, in milliseconds."""
    latencies = np.concatenate([turn.latencies for turn in turns])
    return np.array([*np.quantile(latencies, [0.5, 0.99]), sum(turn.cpu for turn in turns) / len(latencies)])


def compared(server: Server) -> int:
    """Images that the teacher has seen."""
    with grpc.insecure_channel(server.address) as channel:
        asked = models_pb2.GetWatchRequest(model=pb.ModelSpec(name="student"))
        return int(models_pb2_grpc.ModelsStub(channel).GetWatch(asked, timeout=PATIENCE).compared)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--rate", type=float, default=300, help="requests a second")
    parser.add_argument("--seconds", type=float, default=2, help="of one turn")
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--server-core", type=int, help="pins both servers")
    parser.add_argument("--load-core", type=int, help="pins who asks")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as stack:
        repository = Path(made) / "repository"
        bundle(repository, "student", MEDIUM, plain(STUDENT), teacher="teacher")
        bundle(repository, "teacher", MEDIUM, plain(TEACHER))
        serve = [sys.executable, "-m", "pupil_client", "serve", "--repository", str(repository), "--port", "0"]
        serve += ["--http-port", "0", "--device", "cpu"]
        if asked.server_core is not None:
            os.sched_setaffinity(0, {asked.server_core})
        without = stack.enter_context(running(serve))
        shadowed = stack.enter_context(running([*serve, "--shadow", str(asked.share)]))
        if asked.load_core is not None:
            os.sched_setaffinity(0, {asked.load_core})
        for server in (without, shadowed):
            load(server, asked.rate, 2, 0)  # warm
        before = compared(shadowed)
        found: dict[Server, list[Turn]] = {without: [], shadowed: []}
        for turn in range(asked.turns):
            for server in (without, shadowed) if turn % 2 else (shadowed, without):
                found[server].append(load(server, asked.rate, asked.seconds, turn))
        seen = (compared(shadowed) - before) / sum(len(turn.latencies) for turn in found[shadowed])
    show(found[without], found[shadowed], f"{asked.rate:g} images a second, of which the teacher saw {seen:.1%}")


def show(without: list[Turn], shadowed: list[Turn], title: str) -> None:
    draw = np.random.default_rng(0)
    drawn = draw.integers(0, len(without), (500, len(without)))
    again = [figures([shadowed[i] for i in turns]) / figures([without[i] for i in turns]) for turns in drawn]
    table = zip(figures(without), figures(shadowed), *np.quantile(again, [0.025, 0.975], axis=0), strict=True)
    print(f"| {title} | without | with | ratio | 95 % |")
    print("| --- | --: | --: | --: | --: |")
    for name, (a, b, low, high) in zip(("p50, ms", "p99, ms", "CPU of a request, ms"), table, strict=True):
        print(f"| {name} | {a:.2f} | {b:.2f} | {b / a:.2f} | {low:.2f} to {high:.2f} |")


if __name__ == "__main__":
    main()
