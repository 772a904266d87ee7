"""What it costs to run several models at once instead of one after the other, by how they share the cores.

python benchmarks/two_models.py own|global|turns [--models 2] [--threads 2]

own     every session has a pool of threads, as the server does it
global  all sessions share ONNX Runtime's pool
turns   every session has a pool, one batch runs at a time

A large model (the teacher) and small ones run the same batches, first one after the other, then side by side; what
counts is the median of the ratios within a round. Above 1: side by side is faster, or dearer in CPU.
"""

import argparse
import contextlib
import os
import statistics
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from onnx import TensorProto, helper, numpy_helper

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

ROUNDS = 7
SECONDS = 0.4  # of each model in a round
BATCH = 16


class Loaded(NamedTuple):
    session: ort.InferenceSession
    images: np.ndarray
    runs: int

    def run(self, turn: contextlib.AbstractContextManager[object]) -> None:
        for _ in range(self.runs):
            with turn:
                self.session.run(None, {"images": self.images})


def graph(channels: int, layers: int, side: int) -> bytes:
    """A net of 3×3 convolutions."""
    random = np.random.default_rng(0)
    nodes, weights, last, depth = [], [], "images", 3
    for i in range(layers):
        values = random.normal(0, 0.1, (channels, depth, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{i}"))
        nodes.append(helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        last, depth = f"r{i}", channels
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["scores"]))
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, side, side])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", channels, 1, 1])
    whole = helper.make_graph(nodes, "net", [images], [scores], weights)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def load(data: bytes, side: int, threads: int, *, shared: bool) -> Loaded:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.use_per_session_threads = not shared
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).random((BATCH, 3, side, side), dtype=np.float32)
    session.run(None, {"images": images})
    start = time.perf_counter()
    for _ in range(5):
        session.run(None, {"images": images})
    return Loaded(session, images, max(1, round(SECONDS * 5 / (time.perf_counter() - start))))


def cost(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds, and CPU seconds of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(models: list[Loaded], turn: contextlib.AbstractContextManager[object]) -> tuple[float, float]:
    """Speed and CPU side by side, each divided by that of one after the other."""

    def in_turn() -> None:
        for model in models:
            model.run(turn)

    def side_by_side() -> None:
        threads = [threading.Thread(target=model.run, args=(turn,)) for model in models]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    rounds = [(cost(in_turn), cost(side_by_side)) for _ in range(ROUNDS)]
    speed = statistics.median(one[0] / both[0] for one, both in rounds)
    return speed, statistics.median(both[1] / one[1] for one, both in rounds)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=["own", "global", "turns"])
    parser.add_argument("--models", type=int, default=2)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args()
    if asked.way == "global":  # for the whole process: no session may have threads of its own then
        ort.set_global_thread_pool_sizes(asked.threads, 1)
    turn = threading.Lock() if asked.way == "turns" else contextlib.nullcontext()
    sizes = [(64, 6, 32), *[(16, 3, 32)] * (asked.models - 1)]
    models = [load(graph(*size), size[-1], asked.threads, shared=asked.way == "global") for size in sizes]
    speed, cpu = measure(models, turn)
    print(f"{asked.way:7} speed × {speed:.2f}   CPU × {cpu:.2f}", flush=True)


if __name__ == "__main__":
    main()
