"""Reads pictures in threads: their digests, and the pixels of those that are to be kept."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pupil_training.data.pictures import Picture
from pupil_training.errors import DataError
from pupil_training.preprocess import Preprocess, UnreadableImage

AT_ONCE = 64  # pictures that a thread takes; handing them out one by one costs as much as decoding small ones


@dataclass(frozen=True)
class Reading:
    """What was found at each place."""

    digests: list[str]  # "" where the picture is unreadable
    pixels: NDArray[np.uint8]  # (N, H, W, C); (0,) where they were not to be kept
    problems: dict[int, str]  # by the place of an unreadable picture

    def first_problem(self) -> str:
        """What is wrong with the first unreadable one; "" where there is none."""
        return self.problems[min(self.problems)] if self.problems else ""

    def good(self) -> NDArray[np.int64]:
        """The places of the readable ones."""
        bad = np.fromiter(self.problems, dtype=np.int64)
        return np.setdiff1d(np.arange(len(self.digests)), bad)


def read(
    pictures: Sequence[Picture], preprocess: Preprocess | None, *, keep: bool = True, what: str | None = None
) -> Reading:
    """Looks at every picture: only at its bytes without `preprocess`; else decodes it, and keeps the pixels if asked.

    `what` is shown on a progress bar. Raises OSError for a file that is gone.
    """
    count = len(pictures)
    shape = (count, preprocess.height, preprocess.width, preprocess.channels) if preprocess and keep else (0,)
    reading = Reading([""] * count, np.empty(shape, dtype=np.uint8), {})

    def look(start: int) -> int:
        some = range(start, min(start + AT_ONCE, count))
        for i in some:
            try:
                reading.digests[i], pixels = pictures[i].read(preprocess)
            except UnreadableImage as error:
                reading.problems[i] = f"{pictures[i].name}: {error}"
                continue
            if keep and pixels is not None:
                reading.pixels[i] = pixels
        return len(some)

    with (
        ThreadPoolExecutor() as threads,
        tqdm(desc=what, total=count, unit="image", leave=False, disable=None if what else True) as bar,
    ):
        for done in threads.map(look, range(0, count, AT_ONCE)):
            bar.update(done)
    return reading


def pixels_of(pictures: Sequence[Picture], preprocess: Preprocess) -> NDArray[np.uint8]:
    """Pixels (N, H, W, C). Raises DataError for the first that is unreadable."""
    reading = read(pictures, preprocess)
    if problem := reading.first_problem():
        raise DataError(problem)
    return reading.pixels
