"""The counts of a stream beside a reference: as a whole, and of late."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pupil_trust.drift import drift_evidence

WINDOW = 2000  # images
NOTHING = -1e9  # the logarithm of 0, as a file can hold it

Numbers = NDArray[np.float64]


class Stream:
    """Counts (K,) by kind, and the evidence that they and the reference have two sources.

    Half of the evidence is the whole stream's, which finds what is small and lasts. The other half is shared by its
    windows, the j-th with weight 1 / (j (j + 1)): what changes after months is as plain in its own window as on the
    first day, where the whole would drown it. Each is a martingale from 1 on under one source, so their mixture is.
    """

    def __init__(self, reference: Numbers) -> None:
        self.reference = reference
        self.whole, self.window = np.zeros_like(reference), np.zeros_like(reference)
        self.windows = 0  # that are full
        self.past = NOTHING  # the logarithm of their share of the evidence

    @property
    def images(self) -> int:
        return int(self.whole.sum())

    def add(self, counts: Numbers) -> None:
        """Counts (K,) of some images more. They are small beside a window."""
        self.whole, self.window = self.whole + counts, self.window + counts
        if self.window.sum() >= WINDOW:
            self.past = float(np.logaddexp(self.past, self._of_window()))
            self.windows, self.window = self.windows + 1, np.zeros_like(self.window)

    def evidence(self) -> float:
        """As a logarithm; 0 before the first image."""
        to_come = -np.log(self.windows + 2)  # the weights of the windows after this one
        parts = [drift_evidence(self.reference, self.whole), self.past, self._of_window(), to_come]
        return float(np.logaddexp.reduce(parts) - np.log(2))

    def to_dict(self) -> dict[str, Any]:
        counts = {"whole": self.whole.tolist(), "window": self.window.tolist()}
        return {**counts, "windows": self.windows, "past": self.past}

    @classmethod
    def from_dict(cls, reference: Numbers, plain: dict[str, Any]) -> Self:
        """Raises ArithmeticError, LookupError, TypeError or ValueError where that makes no sense."""
        stream = cls(reference)
        stream.whole, stream.window = (np.array(plain[key], dtype=np.float64) for key in ("whole", "window"))
        stream.windows, stream.past = int(plain["windows"]), float(plain["past"])
        if stream.windows < 0 or not np.isfinite(stream.evidence()):  # which looks at the counts, too
            raise ValueError(f"{stream.windows} windows with evidence {stream.past}")
        return stream

    def _of_window(self) -> float:
        return drift_evidence(self.reference, self.window) - float(np.log((self.windows + 1) * (self.windows + 2)))
