"""What certificates are computed from: a model's answers on labelled images, and the thresholds to try."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pupil_trust.arrays import confidences, one_each

SHARES = np.arange(1, 21) / 20  # of the pool: the surest 5 %, 10 %, ..., everything
FIXED = (0.9999, 0.9995, 0.999, 0.998, 0.995, 0.99, 0.98, 0.97, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.2, 0.0)


@dataclass(frozen=True)
class Calibration:
    """Confidences (N,) on the calibration set, whether each was right (N,), and the thresholds (G,) to test.

    `grid` runs strict to loose and must not depend on `correct`. N may be 0; then nothing can be certified.
    Raises ValueError for NaN, shapes that do not match, or a grid out of order.
    """

    confidence: NDArray[np.float64]
    correct: NDArray[np.bool_]
    grid: NDArray[np.float64]

    def __post_init__(self) -> None:
        confidence = confidences(self.confidence)
        grid = confidences(self.grid, "grid")
        if not len(grid) or (np.diff(grid) >= 0).any():
            raise ValueError("grid does not fall from strict to loose; see pool_grid and fixed_grid")
        object.__setattr__(self, "correct", one_each(confidence, self.correct))
        object.__setattr__(self, "confidence", confidence)
        object.__setattr__(self, "grid", grid)

    @property
    def images(self) -> int:
        return len(self.confidence)

    def counts(self, threshold: float) -> tuple[int, int]:
        """How many images have at least this confidence, and how many of those are wrong."""
        accepted = self.confidence >= threshold
        return int(accepted.sum()), int((accepted & ~self.correct).sum())


def pool_grid(pool_confidence: ArrayLike) -> NDArray[np.float64]:
    """The confidences that accept the surest 5 %, 10 %, ..., 100 % of the pool, strict to loose, each once.

    They are values of the pool itself, never between two, so that accepting is exact whatever the rounding.
    Raises ValueError for an empty pool or NaN.
    """
    pool = np.sort(confidences(pool_confidence, "pool confidence"))
    if not len(pool):
        raise ValueError("the pool is empty; use fixed_grid instead")
    accepted = np.ceil(SHARES * len(pool) - 1e-9).astype(np.int64)  # 0.15 * 20 is 3, not 3.0000000000000004
    return np.unique(pool[len(pool) - accepted])[::-1]


def fixed_grid() -> NDArray[np.float64]:
    """Thresholds for where there is no pool, strict to loose, the last accepting everything."""
    return np.array(FIXED)
