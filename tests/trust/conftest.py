from collections.abc import Callable

import numpy as np
import pytest

from pupil_trust import Calibration

LEVELS = np.linspace(0.525, 1.0, 20)
ERROR = 0.35 * (1 - (LEVELS - 0.525) / 0.475) ** 1.5 + 0.004  # at each level; scores are overconfident throughout


@pytest.fixture(scope="session")
def true_error() -> Callable[[float], float]:
    """The exact share of wrong labels at or above a threshold, for images drawn by `draw`."""
    return lambda threshold: float(ERROR[threshold <= LEVELS].mean())


@pytest.fixture(scope="session")
def draw() -> Callable[[np.random.Generator, int], Calibration]:
    """A calibration set whose confidences are equally likely to be any of 20 levels."""

    def calibration(random: np.random.Generator, images: int) -> Calibration:
        level = random.integers(0, len(LEVELS), images)
        correct = random.random(images) >= ERROR[level]
        return Calibration(LEVELS[level], correct, LEVELS[::-1])

    return calibration
