"""The labelling job beside the barest loop that decodes, batches and runs: same images, bundle, machine and minute.

python benchmarks/labelling.py photos/ --bundle repository/teacher/1

Prints the images a second of both and their ratio, turn by turn. The job also hashes, writes and keeps its ledger.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pupil_client import Client
from pupil_client.labelling.job import Job, run
from pupil_client.labelling.local import serving
from pupil_client.labelling.pictures import Picture
from pupil_client.labelling.promise import Promise
from pupil_client.labelling.sources import open_source
from pupil_server.bundle import read_bundle
from pupil_server.images import Limits, decode
from pupil_server.resources import usable_cores
from pupil_server.session import Session

BATCH = 32
LIMITS = Limits(16_000_000, 25_000_000)


def barest(source: Path, bundle_folder: Path) -> int:
    """Every image through Pillow on all cores and through the graph; nothing is kept."""
    bundle = read_bundle(bundle_folder)
    facts, session = bundle.facts, Session(bundle.graph, device="cpu", threads=usable_cores())

    def pixels(picture: Picture) -> NDArray[np.uint8]:
        image = picture.read()
        if image.shape is not None:
            return np.frombuffer(image.data, np.uint8).reshape(image.shape)
        return decode(image.data, facts.input, facts.resize, LIMITS)

    done, batch = 0, list[NDArray[np.uint8]]()
    with ThreadPoolExecutor(usable_cores()) as threads:
        for decoded in threads.map(pixels, open_source(source).pictures()):
            batch.append(decoded)
            if len(batch) == BATCH:
                done += len(session.run(np.stack(batch)).scores)
                batch = []
    return done + len(batch)


def timed(work: Callable[[], int]) -> float:
    """Images a second."""
    start = time.perf_counter()
    images = work()
    return images / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()

    start = time.perf_counter()
    with serving(asked.bundle) as served, Client(served.address) as client, tempfile.TemporaryDirectory() as folder:
        print(f"the server was ready after {time.perf_counter() - start:.1f} s")

        def job() -> int:
            output = Path(folder, "labels.jsonl")
            model = client.model(served.model)
            tally = run(client, Job(open_source(asked.source), output, model, Promise("none"), "here"), lambda _: None)
            return tally.accepted + tally.skipped

        for _ in range(asked.turns):
            bare, ours = timed(lambda: barest(asked.source, asked.bundle)), timed(job)
            print(f"barest {bare:,.0f} images/s, the job {ours:,.0f} images/s, ratio {ours / bare:.2f}")


if __name__ == "__main__":
    main()
