"""How often a promise is broken on real pictures, and what it accepts: one pass of a run over its test split.

python benchmarks/promise.py runs/mnist_student [--splits 200] [--calibration 1000] [--precision 0.99] [--delta 0.05]

Each time the test split, which training has not seen, is cut at random into a calibration set and a pool, as
`pupil_trust` gets them from export and from the labelling job. Broken is a pool of whose accepted labels fewer are
right than was promised.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pupil_training.judge.load import Exam, load_candidate
from pupil_trust import Calibration, NotCertifiable, fdr_accept, pac_certificate, pool_grid

Answers = tuple[NDArray[np.float64], NDArray[np.bool_]]


def answers_of(run: Path) -> Answers:
    """Confidences (N,) on the test split, and whether each was right (N,)."""
    candidate = load_candidate(run)
    images = Exam("test").images_for(candidate)
    assert images.labels is not None
    scores = (candidate.logits(images.images).double() / candidate.temperature).softmax(1)
    confidence, predicted = scores.max(1)
    return confidence.numpy(), (predicted == images.labels).numpy()


def accepted_by(guarantee: str, calibration: Calibration, pool: NDArray[np.float64], asked: argparse.Namespace):
    """Which of the pool (M,) are accepted; none where nothing can be certified."""
    try:
        if guarantee == "fdr":
            return fdr_accept(calibration, pool, precision=asked.precision, fingerprint="")[0]
        certificate = pac_certificate(calibration, precision=asked.precision, delta=asked.delta, fingerprint="")
    except NotCertifiable:
        return np.zeros(len(pool), dtype=np.bool_)
    return pool >= certificate.threshold


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
        random = np.random.default_rng(0)
        shares, coverage = [], []
        for _ in range(asked.splits):
            order = random.permutation(len(correct))
            ours, pool = order[: asked.calibration], order[asked.calibration :]
            calibration = Calibration(confidence[ours], correct[ours], pool_grid(confidence[pool]))
            accepted = accepted_by(guarantee, calibration, confidence[pool], asked)
            coverage.append(accepted.mean())
            if accepted.any():
                shares.append(correct[pool][accepted].mean())
        broken = np.sum(np.array(shares) < asked.precision) / asked.splits
        right = np.array(shares) if shares else np.array([np.nan])
        print(
            f"{guarantee} {asked.precision:g}, delta {asked.delta:g}: broken in {broken:.3f} of {asked.splits} splits, "
            f"nothing certified in {asked.splits - len(shares)}; right {right.mean():.4f} ({right.min():.4f} to "
            f"{right.max():.4f}); accepted {np.mean(coverage):.3f} ({np.min(coverage):.3f} to {np.max(coverage):.3f})"
        )


if __name__ == "__main__":
    main()
