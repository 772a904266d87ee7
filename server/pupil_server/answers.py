"""Scores to the messages that carry them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pupil_proto.v1 import inference_pb2 as pb
from pupil_trust import Calibration, Certificate

MOST_TOLD = 65_536  # images of a calibration set whose answers travel

GUARANTEES = {
    "pac": pb.GUARANTEE_PAC,
    "fdr": pb.GUARANTEE_FDR,
    "fixed": pb.GUARANTEE_FIXED,
    "none": pb.GUARANTEE_NONE,
}


def predictions(
    scores: NDArray[np.float32],
    classes: tuple[str, ...],
    *,
    top_k: int,
    everything: bool,
    new: Callable[[], pb.Prediction] = pb.Prediction,
) -> list[pb.Prediction]:
    """One message an image from `scores` (N, K): its `top_k` best classes (0 means 1), best first.

    `new` makes each; the `add` of the list that they are meant for spares a copy.
    """
    made = []
    for row, places in enumerate(_best(scores, min(top_k or 1, len(classes)))):
        prediction = new()
        if everything:
            prediction.scores.extend(scores[row].tolist())
        for place in places:
            prediction.top.add(label=classes[place], index=place, score=scores.item(row, place))
        made.append(prediction)
    return made


def _best(scores: NDArray[np.float32], top_k: int) -> list[list[int]]:
    """The places of each row's largest scores, largest first; of equal ones the first comes first."""
    if top_k == 1:
        return [[place] for place in scores.argmax(axis=1).tolist()]  # a tenth of the time that sorting takes
    best: list[list[int]] = (-scores).argsort(axis=1, kind="stable")[:, :top_k].tolist()
    return best


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
