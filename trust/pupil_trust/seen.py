"""Which images a model has seen, told by what their SHA-256 begins with: eight bytes an image, found by halving."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

SEEN = np.dtype("<u8")  # as the marks lie on a disk


def mark(sha256: str) -> int:
    """The first eight bytes of a hexadecimal SHA-256 as one number, the first byte the highest.

    Among a million images another one has the same mark once in ten million million questions.
    """
    return int(sha256[:16], 16)


def marks_of(digests: Iterable[str]) -> NDArray[np.uint64]:
    """The marks (N,) of images by their SHA-256, each once, ascending."""
    return np.unique(np.array([mark(digest) for digest in digests], dtype=SEEN))


def are_among(asked: ArrayLike, marks: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of the `asked` marks (M,) are among `marks` (N,), which ascend; of an array on a disk little is read."""
    wanted = np.asarray(asked, dtype=SEEN)
    if not len(marks):
        return np.zeros(len(wanted), dtype=np.bool_)
    places = np.searchsorted(marks, wanted)
    found: NDArray[np.bool_] = marks[np.minimum(places, len(marks) - 1)] == wanted
    return found
