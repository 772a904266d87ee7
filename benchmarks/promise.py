"""How often a promise is broken on real pictures, and what it accepts: one pass of a run over its test split.

python benchmarks/promise.py runs/mnist_student [--splits 200] [--calibration 1000] [--precision 0.99] [--delta 0.05]

Each time the test split, which training has not seen, is cut at random into a calibration set and a pool, as
`pupil_trust` gets them from export and from the labelling job. Broken is a pool of whose accepted labels fewer are
right than was promised.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pupil_training.judge.load import Exam, load_candidate
from pupil_trust import Calibration, Certificate, NotCertifiable, fdr_accept, pac_certificate, pool_grid

Answers = tuple[NDArray[np.float64], NDArray[np.bool_]]


def answers_of(run: Path) -> Answers:
    """Confidences (N,) on the test split, and whether each was right (N,)."""
    candidate = load_candidate(run)
    images = Exam("test").images_for(candidate)
    assert images.labels is not None
    scores = (candidate.logits(images.images).double() / candidate.temperature).softmax(1)
    confidence, predicted = scores.max(1)
    return confidence.numpy(), (predicted == images.labels).numpy()


def accepted_by(
    guarantee: str, calibration: Calibration, pool: NDArray[np.float64], asked: argparse.Namespace
) -> tuple[NDArray[np.bool_], Certificate | None]:
    """Which of the pool (M,) are accepted, with the certificate; none where nothing can be certified."""
    try:
        if guarantee == "fdr":
            return fdr_accept(calibration, pool, precision=asked.precision, fingerprint="")
        certificate = pac_certificate(calibration, precision=asked.precision, delta=asked.delta, fingerprint="")
    except NotCertifiable:
        return np.zeros(len(pool), dtype=np.bool_), None
    return pool >= certificate.threshold, certificate


class Split(NamedTuple):
    """Shares of one split: of the pool that is accepted, and of that which is right, as told by the certificate and in
    truth; NaN where nothing is accepted."""

    accepted: float
    told: float
    right: float


def splits(guarantee: str, answers: Answers, asked: argparse.Namespace) -> Iterator[Split]:
    confidence, correct = answers
    random = np.random.default_rng(0)
    for _ in range(asked.splits):
        order = random.permutation(len(correct))
        ours, pool = order[: asked.calibration], order[asked.calibration :]
        calibration = Calibration(confidence[ours], correct[ours], pool_grid(confidence[pool]))
        accepted, certificate = accepted_by(guarantee, calibration, confidence[pool], asked)
        if certificate is None or not accepted.any():
            yield Split(0.0, np.nan, np.nan)
        else:
            told = 1 - certificate.wrong / max(1, certificate.accepted)
            yield Split(float(accepted.mean()), told, float(correct[pool][accepted].mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--calibration", type=int, default=1000)
    parser.add_argument("--precision", type=float, default=0.99)
    parser.add_argument("--delta", type=float, default=0.05)
    asked = parser.parse_args()
    confidence, correct = answers_of(asked.run)
    print(f"{len(correct):,} images, {correct.mean():.4f} of the answers right")
    for guarantee in ("pac", "fdr"):
        accepted, told, right = np.array(list(splits(guarantee, (confidence, correct), asked))).T
        print(
            f"{guarantee} {asked.precision:g}, delta {asked.delta:g}, {asked.splits} splits: broken in "
            f"{np.mean(right < asked.precision):.3f} of them, nothing accepted in {np.isnan(right).sum()}; "
            f"told {np.nanmean(told):.4f}, right {spread(right)}; accepted {spread(accepted)}"
        )


def spread(shares: NDArray[np.float64]) -> str:
    """`0.9983 (0.9851 to 1.0000)`."""
    return f"{np.nanmean(shares):.4f} ({np.nanmin(shares):.4f} to {np.nanmax(shares):.4f})"


if __name__ == "__main__":
    main()
