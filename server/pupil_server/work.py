"""One request on its way through the batches, and one batch with its parts of requests."""

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pupil_server.priority import Priority
from pupil_server.session import Outputs


class Answer(NamedTuple):
    """Logits and scores (N, K) of one request, the pixels that they are of, and how long that took, in seconds."""

    outputs: Outputs
    pixels: NDArray[np.uint8]  # (N, H, W, C), as the model saw them
    queue_seconds: float
    compute_seconds: float


class Work:
    """One request: its images, how many of them are in batches by now, what is answered so far, and who waits.

    Most of it is of the class until it changes: one is made for every request.
    """

    taken = done = 0
    queue_seconds = compute_seconds = 0.0
    _parts: dict[int, Outputs] | None = None  # by their first row: two instances may finish out of order

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        deadline: float,
        priority: Priority,
        answer: asyncio.Future[Answer],
        arrived: float,
    ) -> None:
        self.pixels = pixels  # (N, H, W, C)
        self.deadline, self.arrived = deadline, arrived  # on time.monotonic's clock
        self.priority, self.answer = priority, answer

    @property
    def stage(self) -> str:
        return "inference" if self.taken else "queue"

    def finish(self, first: int, outputs: Outputs, seconds: float) -> None:
        """Takes the rows from `first` on; with the last ones the request is answered."""
        self.compute_seconds += seconds
        self.done += len(outputs.logits)
        if self.done < len(self.pixels) or self._parts is not None:
            self._parts = self._parts or {}
            self._parts[first] = outputs
        if self.done == len(self.pixels) and not self.answer.done():
            whole = outputs if self._parts is None else _joined(self._parts)
            self.answer.set_result(Answer(whole, self.pixels, self.queue_seconds, self.compute_seconds))


def _joined(parts: dict[int, Outputs]) -> Outputs:
    in_order = [parts[first] for first in sorted(parts)]
    return Outputs(*(np.concatenate(arrays) for arrays in zip(*in_order, strict=True)))


class Part(NamedTuple):
    """Rows first:last of one request, inside one batch."""

    work: Work
    first: int
    last: int


@dataclass(slots=True, eq=False)
class Batch:
    """What one run of the model answers."""

    parts: list[Part]
    images: int = field(init=False)

    def __post_init__(self) -> None:
        self.images = sum([last - first for _, first, last in self.parts])

    def works(self) -> list[Work]:
        return [work for work, _, _ in self.parts]

    def pixels(self) -> NDArray[np.uint8]:
        """One array of all images (N, H, W, C)."""
        rows = [
            work.pixels if last - first == len(work.pixels) else work.pixels[first:last]
            for work, first, last in self.parts
        ]
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def finish(self, outputs: Outputs, seconds: float) -> None:
        """Gives every request its own rows."""
        if len(self.parts) == 1:
            work, first, _ = self.parts[0]
            work.finish(first, outputs, seconds)
            return
        row = 0
        for work, first, last in self.parts:
            rows = slice(row, row + last - first)
            row = rows.stop
            work.finish(first, Outputs(outputs.logits[rows], outputs.scores[rows]), seconds)
