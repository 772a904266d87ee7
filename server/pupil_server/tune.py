"""Which settings answer a bundle's images fastest on this machine: measured, within a bounded time."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pupil_server.bundle import Bundle
from pupil_server.errors import BundleError
from pupil_server.session import Session
from pupil_server.whole import write_whole

NEARLY = 0.97  # of the most images a second is as good, where it takes a smaller batch


class Setting(NamedTuple):
    precision: str
    threads: int
    instances: int
    max_batch: int


class Trial(NamedTuple):
    """What a setting gave, by the median batch: other work on the machine moves it least."""

    setting: Setting
    images_per_second: float
    milliseconds: float


def settings(device: str, precisions: Iterable[str], *, cores: int, largest: int) -> list[Setting]:
    """All that are worth a trial. On a GPU several instances would share one stream, and threads do nothing."""
    divided = divisions(cores) if device == "cpu" else [(1, 1)]
    sizes = [*(1 << power for power in range((largest - 1).bit_length())), largest]
    return [Setting(precision, *division, size) for precision in precisions for division in divided for size in sizes]


def sweep(bundle: Bundle, device: str, planned: list[Setting], *, seconds: float) -> Iterator[Trial]:
    """The trials, as they come. Each has a fair share of what is left of `seconds`; none begins once they are over."""
    end = time.monotonic() + seconds
    largest = max(setting.max_batch for setting in planned)
    session, opened = None, ("", 0)
    for place, setting in enumerate(planned):
        if time.monotonic() >= end:
            return
        if session is None or opened != setting[:2]:
            session, opened = _open(bundle, device, setting, largest), setting[:2]
        share = (end - time.monotonic()) / (len(planned) - place)
        yield measure(session.run, _noise(bundle, setting.max_batch), setting, seconds=share)


def divisions(cores: int) -> list[tuple[int, int]]:
    """(threads, instances) that use every core and none twice, from all threads in one batch to a batch a core."""
    return [(threads, cores // threads) for threads in range(cores, 0, -1) if cores % threads == 0]


def measure(
    run: Callable[[NDArray[np.uint8]], object], images: NDArray[np.uint8], setting: Setting, *, seconds: float
) -> Trial:
    """A trial with as many batches in work all the time as there are instances."""
    run(images)
    start = time.perf_counter()

    def one_after_the_other() -> list[float]:
        times: list[float] = []
        while not times or time.perf_counter() - start < seconds:
            began = time.perf_counter()
            run(images)
            times.append(time.perf_counter() - began)
        return times

    with ThreadPoolExecutor(setting.instances) as threads:
        running = [threads.submit(one_after_the_other) for _ in range(setting.instances)]
        times = [taken for thread in running for taken in thread.result()]
    typical = median(times)
    return Trial(setting, setting.instances * len(images) / typical, 1000 * typical)


def best(trials: list[Trial], *, most_milliseconds: float) -> Trial:
    """The fastest of the trials whose batches take at most so long.

    Nearly as fast is better in the precision that was planned first, and with a smaller batch.
    """
    quick = [trial for trial in trials if trial.milliseconds <= most_milliseconds]
    if not quick:
        least = min((trial.milliseconds for trial in trials), default=float("inf"))
        raise BundleError(
            f"no batch took at most {most_milliseconds:g} ms, the quickest of {len(trials)} trials took {least:.3g} ms;"
            " allow more, or give it more --seconds"
        )
    enough = NEARLY * max(trial.images_per_second for trial in quick)
    good = [trial for trial in quick if trial.images_per_second >= enough]
    order = list(dict.fromkeys(trial.setting.precision for trial in trials))
    return min(good, key=lambda trial: (order.index(trial.setting.precision), trial.setting.max_batch))


def write_settings(file: Path, chosen: Setting, *, device: str, heading: str) -> None:
    """A file for `pupil serve --config`, whole or not at all."""
    text = (
        f"# {heading}\n"
        f'device = "{device}"\nprecision = "{chosen.precision}"\n'
        f"threads = {chosen.threads}\ninstances = {chosen.instances}\nmax_batch = {chosen.max_batch}\n"
    )
    write_whole(file, text.encode())


def _open(bundle: Bundle, device: str, setting: Setting, largest: int) -> Session:
    session = Session(
        bundle.precisions[setting.precision].graph,
        device=device,
        threads=setting.threads,
        shape=bundle.facts.input.shape,
        max_batch=largest,
        precision=setting.precision,
    )
    session.warm()
    return session


def _noise(bundle: Bundle, images: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (images, *bundle.facts.input.shape), np.uint8)
