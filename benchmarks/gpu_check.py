"""A GPU against the CPU: the same answers, no node that slipped away, and what buffers and recorded graphs are worth.

    make gpu-check BUNDLES="repository/student/1 repository/teacher/1"

Exits 0 and says "skipped" where there is no CUDA device, 1 where an answer or a place is wrong.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pupil_server.bundle import Bundle, read_bundle
from pupil_server.cuda_binding import Buffers
from pupil_server.errors import BundleError
from pupil_server.loading import prepare
from pupil_server.onnx_session import available, open_session
from pupil_server.providers import SEARCHES, Gpu, best_device, buckets, providers
from pupil_server.settings import ServerSettings

MAX_BATCH = 32
RUNS = 30

Run = Callable[[NDArray[np.uint8]], object]


def main(folders: list[Path]) -> int:
    device, why = best_device(available())
    if device == "cpu":
        print(f"skipped: {why or 'no NVIDIA device, and no CUDA in ONNX Runtime'}")
        return 0
    if not folders:
        print("no bundle; name one or more: BUNDLES=repository/student/1 (pupil export writes them)")
        return 1
    return max(check(folder, device) for folder in folders)


def check(folder: Path, device: str) -> int:
    """Every precision of a bundle: its goldens, the places of its nodes, images a second by batch."""
    failed = 0
    for precision, bundle in read_bundle(folder).precisions.items():
        settings = ServerSettings(repository=folder.parent.parent, device=device, precision=precision)
        try:
            session = prepare(folder, settings).session  # strict: goldens within their tolerance, no node elsewhere
        except BundleError as error:
            refused = (precision, device) == ("int8", "cuda")  # which has no such convolutions, and must not hide it
            print(f"{'REFUSED, as it should be,' if refused else 'FAILED'} {folder} {precision}: {error}")
            failed |= not refused
            continue
        print(f"\n{folder} {precision}: goldens agree, nodes {session.nodes}\n")
        for line in table(bundle, device):
            print(line)
    return failed


def table(bundle: Bundle, device: str) -> list[str]:
    """Images a second for each bucket and each way of running it, as a Markdown table."""
    ways = {search.lower(): plain(bundle, device, search) for search in SEARCHES}
    ways["buffers"] = bound(bundle, device, graphs=False)
    if device == "cuda":
        ways["buffers, graphs"] = bound(bundle, device, graphs=True)
    lines = [f"| batch | {' | '.join(ways)} |", "| ---: |" + " ---: |" * len(ways)]
    for size in buckets("cuda", largest(bundle)):
        images = np.random.default_rng(0).integers(0, 256, (size, *shape_of(bundle)), np.uint8)
        rates = (f"{images_per_second(run, images):,.0f}" for run in ways.values())
        lines.append(f"| {size} | {' | '.join(rates)} |")
    return lines


def plain(bundle: Bundle, device: str, search: str) -> Run:
    """ONNX Runtime copies in and out, and allocates, on every run."""
    session = opened(bundle, device, Gpu(search=search))
    return lambda images: session.run(["logits", "scores"], {"images": images})


def bound(bundle: Bundle, device: str, *, graphs: bool) -> Run:
    session = opened(bundle, device, Gpu(graphs=graphs, search=SEARCHES[0]))
    return Buffers(session, shape_of(bundle), buckets("cuda", largest(bundle)), graphs=graphs, device=device).run


def opened(bundle: Bundle, device: str, gpu: Gpu):  # type: ignore[no-untyped-def]
    shape, precision = shape_of(bundle), bundle.facts.precision
    named = providers(device, shape=shape, max_batch=largest(bundle), precision=precision, gpu=gpu, search=gpu.search)
    return open_session(bundle.graph, device, named, threads=1, shape=shape, max_batch=largest(bundle))


def largest(bundle: Bundle) -> int:
    return bundle.facts.largest_batch(MAX_BATCH)


def shape_of(bundle: Bundle) -> tuple[int, int, int]:
    size = bundle.facts.input
    return size.height, size.width, size.channels


def images_per_second(run: Run, images: NDArray[np.uint8]) -> float:
    """By the shortest of some runs, because whatever else goes on only adds."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run(images)
        times.append(time.perf_counter() - start)
    return len(images) / min(times)


if __name__ == "__main__":
    sys.exit(main([Path(name).resolve() for name in sys.argv[1:]]))
