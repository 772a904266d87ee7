"""The labelling job beside the barest loop that decodes, batches and runs: same images, bundle, machine and minute.

python benchmarks/labelling.py photos/ --bundle repository/teacher/1

Prints the images a second and the CPU of both and their ratios, turn by turn. The job also hashes, writes and keeps its
ledger.

python benchmarks/labelling.py photos/ --bundle repository/teacher/1 --ray

The job on a Ray cluster of two nodes, each with a core of this machine, beside --local with the same two: both from
when all of them label until the last image is done.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np
from cpu_time import cpu_of_all
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from pupil_client import Client
from pupil_client.labelling.job import Hire, Job, run, threads
from pupil_client.labelling.local import serving
from pupil_client.labelling.node import own_server
from pupil_client.labelling.pictures import Picture
from pupil_client.labelling.promise import Promise
from pupil_client.labelling.sources import open_source
from pupil_server.bundle import read_bundle
from pupil_server.images import Limits, decode
from pupil_server.resources import usable_cores

BATCH, AT_ONCE = 32, 512  # images of a run of the graph, and in memory
LIMITS = Limits(16_000_000, 25_000_000)
Measured = tuple[float, float]  # images a second, and the CPU seconds of a thousand


def barest(source: Path, bundle_folder: Path) -> int:
    """Every image through Pillow on all cores, where it is a file, and through the graph; nothing is kept."""
    bundle = read_bundle(bundle_folder)
    facts, session = bundle.facts, InferenceSession(bundle.graph, providers=["CPUExecutionProvider"])
    shape = (facts.input.height, facts.input.width, facts.input.channels)
    pictures = open_source(source).pictures()

    def decoded(picture: Picture) -> NDArray[np.uint8]:
        return decode(picture.read().data, facts.input, facts.resize, LIMITS)

    done = 0
    with ThreadPoolExecutor(usable_cores()) as threads:
        while batch := list(islice(pictures, AT_ONCE)):
            first = batch[0].read()
            if first.shape == shape:
                pixels = np.frombuffer(b"".join(each.read().data for each in batch), np.uint8).reshape(-1, *first.shape)
            else:
                pixels = np.stack(list(threads.map(decoded, batch)))
            for start in range(0, len(pixels), BATCH):
                done += len(session.run(["scores"], {"images": pixels[start : start + BATCH]})[0])
    return done


def measured(work: Callable[[], int]) -> Measured:
    """What it took, here and in the processes that were started from here."""
    cpu, start = cpu_of_all(os.getpid()), time.perf_counter()
    images = work()
    return images / (time.perf_counter() - start), (cpu_of_all(os.getpid()) - cpu) / images * 1000


@contextmanager
def on_two_nodes(bundle: Path, say: Callable[[str], object]) -> Iterator[Hire]:
    """A Ray cluster on this machine, each node on a core of its own."""
    from ray.cluster_utils import Cluster

    from pupil_client.labelling.cluster import Terms, connected
    from pupil_client.labelling.cluster_crew import ClusterCrew

    cores, cluster = (sorted(os.sched_getaffinity(0)) * 2)[:2], Cluster()  # the same twice where there is but one
    for core in cores:
        os.sched_setaffinity(0, {core})
        cluster.add_node(num_cpus=1)
    os.sched_setaffinity(0, cores)
    with connected(cluster.address):
        yield partial(ClusterCrew, Terms(partial(own_server, bundle.absolute(), 10.0), True, say))
    cluster.shutdown()


class Clock:
    """Images a second from the last `start` on."""

    def __init__(self) -> None:
        self.start()

    def start(self, *_: object) -> None:
        self._images, self._start = 0, time.perf_counter()

    def progress(self, images: int) -> None:
        self._images += images
        self.rate = self._images / (time.perf_counter() - self._start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--ray", action="store_true")
    asked = parser.parse_args()
    (beside_ray if asked.ray else beside_the_barest)(asked.source, asked.bundle, asked.turns)


def beside_the_barest(source: Path, bundle: Path, turns: int) -> None:
    start = time.perf_counter()
    with serving(bundle) as served, Client(served.address) as client, tempfile.TemporaryDirectory() as folder:
        print(f"the server was ready after {time.perf_counter() - start:.1f} s")

        def job() -> int:
            output = Path(folder, "labels.parquet")
            model = client.model(served.model)
            tally = run(client, Job(open_source(source), output, model, Promise("none"), "here"), lambda _: None)
            return tally.accepted + tally.skipped

        ratios = []
        for _ in range(turns):
            bare, ours = measured(lambda: barest(source, bundle)), measured(job)
            faster, cheaper = ours[0] / bare[0], bare[1] / ours[1]
            ratios.append((faster, cheaper))
            print(
                f"barest {in_words(*bare)}; the job {in_words(*ours)}; ratios {faster:.2f}, {cheaper:.2f}", flush=True
            )
        for name, column in zip(("images a second", "CPU"), zip(*ratios, strict=True), strict=True):
            print(f"{name}: median {median(column):.2f} ({min(column):.2f} to {max(column):.2f})")


def in_words(rate: float, cpu: float) -> str:
    return f"{rate:,.0f} images/s, {cpu:.3f} s of CPU for 1,000"


def beside_ray(source: Path, bundle: Path, turns: int) -> None:
    clock = Clock()
    with (
        on_two_nodes(bundle, clock.start) as ray,  # before gRPC's threads are here: Ray forks
        serving(bundle) as served,
        Client(served.address) as client,
        tempfile.TemporaryDirectory() as folder,
    ):

        def rate(hire: Hire) -> float:
            job = Job(
                open_source(source), Path(folder, "labels.jsonl"), client.model(served.model), Promise("none"), ""
            )
            clock.start()
            run(client, job, clock.progress, hire)
            return clock.rate

        for _ in range(turns):
            local, nodes = rate(threads), rate(ray)
            print(f"--local {local:,.0f} images/s, Ray {nodes:,.0f} images/s, ratio {nodes / local:.2f}", flush=True)


if __name__ == "__main__":
    main()
