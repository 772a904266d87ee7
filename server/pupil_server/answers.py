"""Scores to the bytes of the messages that carry them."""

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pupil_proto.v1 import inference_pb2 as pb
from pupil_server.wire import ahead

FEW = 16  # times as many classes as are asked for, and those are few
ASIDE = 250_000  # bytes of an answer, for which the loop has no time: a megabyte takes it some 50 ms

# On the wire a field is its number and kind in one byte, the length of what follows, and that.
PREDICTION, ANSWERED_BY = b"\x0a", b"\x12"  # of ClassifyResponse
TOP, SCORES = b"\x0a", b"\x12"  # of Prediction
FLOAT = 4  # bytes
SECONDS = struct.Struct("<BdBd")  # two of AnsweredBy, with their tags
QUEUE, COMPUTE = 0x29, 0x31

Written = TypeVar("Written")


async def written(write: Callable[[], Written], size: int) -> Written:
    """What `write` makes, on a thread where that may be large; `size` is how many bytes it has at most."""
    return await asyncio.to_thread(write) if size > ASIDE else write()


class Rows:
    """Values (N, K), and parts of them for answers. What all rows need is made once, when the first one does."""

    _best: list[int] | None = None
    _raw: bytes | None = None

    def __init__(self, values: NDArray[np.float32]) -> None:
        self.values = values

    def best(self, row: int) -> int:
        """The place of its largest value."""
        if self._best is None:
            self._best = self.values.argmax(axis=1).tolist()
        return self._best[row]

    def raw(self, first: int, last: int) -> bytes:
        """The bytes of values first:last, all rows counted through."""
        if self._raw is None:
            self._raw = self.values.astype("<f4", copy=False).tobytes()
        return self._raw[FLOAT * first : FLOAT * last]


class PredictionWriter:
    """Scores over one list of classes to predictions. What does not change from one to the next is built once."""

    def __init__(self, classes: Sequence[str]) -> None:
        bare = [pb.ScoredClass(label=name, index=at, score=1).SerializeToString() for at, name in enumerate(classes)]
        self._heads = [ahead(TOP, len(one)) + one[:-FLOAT] for one in bare]  # what stands before the one score
        self._single = [ahead(PREDICTION, len(head) + FLOAT) + head for head in self._heads]  # where it is alone
        self._whole_head = ahead(SCORES, FLOAT * len(classes))  # what stands before the scores of all classes
        self._longest = np.cumsum(sorted((len(head) + FLOAT for head in self._heads), reverse=True)).tolist()

    def most_bytes(self, *, top_k: int, everything: bool) -> int:
        """How long one prediction may become."""
        classes = len(self._heads)
        most: int = self._longest[min(top_k or 1, classes) - 1]
        if everything:
            most += len(self._whole_head) + FLOAT * classes
        return len(ahead(PREDICTION, most)) + most

    def response(self, scores: NDArray[np.float32], *, top_k: int, everything: bool) -> pb.ClassifyResponse:
        """One prediction an image from `scores` (N, K): its `top_k` best classes (0 means 1), best first.

        Read from bytes that are put together here: made field by field, it takes twice as long.
        """
        written = self.write(Rows(scores), 0, len(scores), top_k=top_k, everything=everything)
        return pb.ClassifyResponse.FromString(written)

    def predictions(self, scores: NDArray[np.float32], *, top_k: int, everything: bool) -> Sequence[pb.Prediction]:
        """The same predictions without the response."""
        return self.response(scores, top_k=top_k, everything=everything).predictions

    def write(self, scores: Rows, first: int, last: int, *, top_k: int, everything: bool) -> bytes:
        """The bytes of the predictions for rows first:last, in a ClassifyResponse."""
        if top_k <= 1 and not everything:
            return b"".join([self._best(scores, row) for row in range(first, last)])
        best = _best(scores.values[first:last], min(top_k or 1, len(self._heads))).tolist()
        rows: list[bytes] = []
        for row, places in enumerate(best, start=first):
            raw = scores.raw(row * len(self._heads), (row + 1) * len(self._heads))
            entries = [self._heads[place] + raw[FLOAT * place : FLOAT * (place + 1)] for place in places]
            if everything:
                entries += self._whole_head, raw
            joined = b"".join(entries)
            rows += ahead(PREDICTION, len(joined)), joined
        return b"".join(rows)

    def _best(self, scores: Rows, row: int) -> bytes:
        """A prediction of the best class alone."""
        place = scores.best(row)
        at = row * len(self._heads) + place
        return self._single[place] + scores.raw(at, at + 1)


class NameWriter:
    """Who answers, and what each answer took, as bytes of a ClassifyResponse."""

    def __init__(self, name: pb.AnsweredBy) -> None:
        plain = name.SerializeToString()
        self._head = ahead(ANSWERED_BY, len(plain) + SECONDS.size) + plain

    def write(self, queue_seconds: float, compute_seconds: float) -> bytes:
        return self._head + SECONDS.pack(QUEUE, queue_seconds, COMPUTE, compute_seconds)


def _best(scores: NDArray[np.float32], top_k: int) -> NDArray[np.intp]:
    """The places (N, top_k) of each row's largest scores, largest first, of equal ones the first."""
    if top_k * FEW > scores.shape[1]:
        return (-scores).argsort(axis=1, kind="stable")[:, :top_k]
    # sorting a thousand classes for the best five takes fifty times as long as looking for one after the other
    left, rows = scores.copy(), np.arange(len(scores))
    best = np.empty((len(scores), top_k), np.intp)
    for rank in range(top_k):
        best[:, rank] = left.argmax(axis=1)
        left[rows, best[:, rank]] = -1
    return best
