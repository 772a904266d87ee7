"""Scores to the messages that carry them."""

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pupil_proto.v1 import inference_pb2 as pb
from pupil_trust import Calibration, Certificate

FEW = 16  # times as many classes as are asked for, and those are few
MOST_TOLD = 65_536  # images of a calibration set whose answers travel

GUARANTEES = {
    "pac": pb.GUARANTEE_PAC,
    "fdr": pb.GUARANTEE_FDR,
    "fixed": pb.GUARANTEE_FIXED,
    "none": pb.GUARANTEE_NONE,
}


def predicted(
    scores: NDArray[np.float32], classes: tuple[str, ...], *, top_k: int, everything: bool
) -> pb.ClassifyResponse:
    """A response with one prediction an image from `scores` (N, K): its `top_k` best classes (0 means 1), best first.

    Read from bytes that are put together here: made field by field, it takes twice as long.
    """
    heads, whole_head = _heads(classes)
    raw, size = scores.astype("<f4", copy=False).tobytes(), FLOAT * len(classes)
    starts = range(0, len(raw), size)

    def entry(start: int, place: int) -> bytes:
        at = start + FLOAT * place
        return heads[place] + raw[at : at + FLOAT]

    best = _best(scores, min(top_k or 1, len(classes)))
    if best.ndim == 1:
        rows = list(map(entry, starts, best.tolist()))
    else:
        rows = [
            b"".join([entry(start, place) for place in places])
            for start, places in zip(starts, best.tolist(), strict=True)
        ]
    if everything:
        rows = [row + whole_head + raw[start : start + size] for row, start in zip(rows, starts, strict=True)]
    return pb.ClassifyResponse.FromString(b"".join([_head(PREDICTION, len(row)) + row for row in rows]))


def predictions(
    scores: NDArray[np.float32], classes: tuple[str, ...], *, top_k: int, everything: bool
) -> Sequence[pb.Prediction]:
    """The same predictions without the response."""
    return predicted(scores, classes, top_k=top_k, everything=everything).predictions


def _best(scores: NDArray[np.float32], top_k: int) -> NDArray[np.intp]:
    """The places of each row's largest scores, largest first, of equal ones the first: (N, top_k), or (N,) for one."""
    best: NDArray[np.intp]
    if top_k == 1:
        best = scores.argmax(axis=1)
    elif top_k * FEW > scores.shape[1]:
        best = (-scores).argsort(axis=1, kind="stable")[:, :top_k]
    else:  # sorting a thousand classes for the best five takes fifty times as long as looking for one after the other
        left, rows = scores.copy(), np.arange(len(scores))
        best = np.empty((len(scores), top_k), np.intp)
        for rank in range(top_k):
            best[:, rank] = left.argmax(axis=1)
            left[rows, best[:, rank]] = -1
    return best


# On the wire a field is its number and kind in one byte, the length of what follows, and that.

PREDICTION, TOP, SCORES = b"\x0a", b"\x0a", b"\x12"  # of ClassifyResponse, and two of Prediction
FLOAT = 4  # bytes


@functools.lru_cache(maxsize=64)
def _heads(classes: tuple[str, ...]) -> tuple[list[bytes], bytes]:
    """What stands before the one score of each class in a prediction, and what stands before the scores of all."""
    bare = [pb.ScoredClass(label=name, index=place, score=1).SerializeToString() for place, name in enumerate(classes)]
    return [_head(TOP, len(one)) + one[:-FLOAT] for one in bare], _head(SCORES, FLOAT * len(classes))


@functools.lru_cache(maxsize=1024)
def _head(field: bytes, length: int) -> bytes:
    """What stands before `length` bytes: seven bits of that a byte, the lowest first, and one that says more come."""
    rest = []
    while length > 0x7F:
        rest.append(length & 0x7F | 0x80)
        length >>= 7
    return field + bytes([*rest, length])


def certificate_message(certificate: Certificate) -> pb.Certificate:
    return pb.Certificate(
        guarantee=GUARANTEES[certificate.guarantee],
        precision=certificate.precision,
        delta=certificate.delta,
        threshold=certificate.threshold,
        calibration=certificate.calibration,
        accepted=certificate.accepted,
        wrong=certificate.wrong,
        p_value=certificate.p_value,
        fingerprint=certificate.fingerprint,
        coverage=certificate.coverage,
    )


def calibration_message(calibration: Calibration, predicted: NDArray[np.int64], classes: int) -> pb.CalibrationAnswers:
    """What a pool is compared with. Drawn evenly by confidence, fewer answers are distributed as all of them are."""
    order = np.argsort(calibration.confidence, kind="stable")
    if len(order) > MOST_TOLD:
        order = order[np.linspace(0, len(order) - 1, MOST_TOLD).astype(np.int64)]
    shares = np.bincount(predicted[order], minlength=classes)
    return pb.CalibrationAnswers(confidence=calibration.confidence[order].tolist(), predicted=shares.tolist())


def kl_divergence(teacher: NDArray[np.float32], student: NDArray[np.float32]) -> NDArray[np.float64]:
    """KL(teacher || student) in nats, of each row (N,) of two score arrays (N, K)."""
    tiny = np.finfo(np.float32).tiny  # a score that underflowed to 0 must not make the answer infinite
    t, s = (np.maximum(scores.astype(np.float64), tiny) for scores in (teacher, student))
    divergence: NDArray[np.float64] = (t * (np.log(t) - np.log(s))).sum(axis=1)
    return np.maximum(divergence, 0.0)
