"""Certificates, and the calibration behind them, to the messages that carry them."""

import numpy as np
from numpy.typing import NDArray

from pupil_proto.v1 import inference_pb2 as pb
from pupil_server.goals import GOALS
from pupil_trust import Calibration, Certificate
from pupil_trust.cascade import CascadeCertificate

MOST_TOLD = 65_536  # images of a calibration set whose answers travel

GUARANTEES = {
    "pac": pb.GUARANTEE_PAC,
    "fdr": pb.GUARANTEE_FDR,
    "fixed": pb.GUARANTEE_FIXED,
    "none": pb.GUARANTEE_NONE,
}


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


def cascade_message(certificate: CascadeCertificate) -> pb.CascadeCertificate:
    return pb.CascadeCertificate(
        goal=GOALS[certificate.goal],
        limit=certificate.limit,
        delta=certificate.delta,
        threshold=certificate.threshold,
        calibration=certificate.images,
        lost=certificate.lost,
        deferred=certificate.deferred,
        p_value=certificate.p_value,
        student=certificate.student,
        teacher=certificate.teacher,
    )


def calibration_message(calibration: Calibration, predicted: NDArray[np.int64], classes: int) -> pb.CalibrationAnswers:
    """What a pool is compared with. Drawn evenly by confidence, fewer answers are distributed as all of them are."""
    order = np.argsort(calibration.confidence, kind="stable")
    if len(order) > MOST_TOLD:
        order = order[np.linspace(0, len(order) - 1, MOST_TOLD).astype(np.int64)]
    shares = np.bincount(predicted[order], minlength=classes)
    return pb.CalibrationAnswers(confidence=calibration.confidence[order].tolist(), predicted=shares.tolist())
