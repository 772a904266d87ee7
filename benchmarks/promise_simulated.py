"""How often a promise is broken in simulation, where the truth is known exactly, and what it accepts.

python benchmarks/promise_simulated.py [--draws 2000] [--delta 0.1]

A label is right with a chance drawn from Beta(4, 0.645), and confidence is any rising function of that chance: 13.9 %
are wrong. Each draw is a calibration set, under FDR with a pool of 1,000 images. Prints the figures of docs/labels.md.
"""

import argparse
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from pupil_trust import Calibration, NotCertifiable, fdr_accept, pac_certificate

RIGHT = beta(4, 0.645)
POOL = 1000
SURE = RIGHT.isf((np.arange(100_000) + 0.5) / 100_000)  # of a pool without end, the surest first
RISK = np.cumsum(1 - SURE) / np.arange(1, len(SURE) + 1)  # the share of wrong ones among those and the surer
GRID = SURE[len(SURE) // 20 - 1 :: len(SURE) // 20]

Draw = tuple[float, float]  # the share that is accepted, and the share of wrong ones among those


def calibration(random: np.random.Generator, images: int) -> Calibration:
    right = RIGHT.rvs(images, random_state=random)
    return Calibration(right, random.random(images) < right, GRID)


def pac(random: np.random.Generator, images: int, precision: float, delta: float) -> Draw:
    """The truth of what is accepted, over all images that there could be."""
    try:
        found = pac_certificate(calibration(random, images), precision=precision, delta=delta, fingerprint="")
    except NotCertifiable:
        return 0.0, 0.0
    accepted = int((found.threshold <= SURE).sum())
    return accepted / len(SURE), float(RISK[accepted - 1])


def fdr(random: np.random.Generator, images: int, precision: float) -> Draw:
    """The truth of what is accepted of one pool."""
    pool = calibration(random, POOL)
    try:
        accepted, _ = fdr_accept(calibration(random, images), pool.confidence, precision=precision, fingerprint="")
    except NotCertifiable:
        return 0.0, 0.0
    return float(accepted.mean()), float((accepted & ~pool.correct).sum() / max(1, accepted.sum()))


def simulated(guarantee: str, images: int, precision: float, delta: float, draws: int) -> NDArray[np.float64]:
    """Of each draw, (draws, 2)."""
    random = np.random.default_rng(0)
    if guarantee == "fdr":
        return np.array([fdr(random, images, precision) for _ in range(draws)])
    return np.array([pac(random, images, precision, delta) for _ in range(draws)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--delta", type=float, default=0.1)
    asked = parser.parse_args()
    print("| | calibration images | precision | broken | wrong, on average | accepted | at best |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    for guarantee, images, precision in product(("pac", "fdr"), (300, 1000, 3000), (0.95, 0.98, 0.99)):
        accepted, wrong = simulated(guarantee, images, precision, asked.delta, asked.draws).T
        error = 1 - precision
        print(
            f"| `{guarantee}` | {images:,} | {precision:g} | {(wrong > error).mean():.3f} | {wrong.mean():.4f} | "
            f"{accepted.mean():.3f} | {(error >= RISK).mean():.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
