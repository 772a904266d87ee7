"""When a student may answer for its teacher: from what both said of the same images."""

import asyncio
import math
from typing import NamedTuple

from pupil_proto.v1 import inference_pb2 as pb
from pupil_server.cascade_evidence import CascadeEvidence, Evidence
from pupil_server.errors import BadRequest, NoCertificate
from pupil_server.goals import ASKED
from pupil_server.model import LoadedModel
from pupil_trust.cascade import CascadeCertificate, Goal, cascade_certificate, losses_of
from pupil_trust.certificates import NotCertifiable

LIMIT, DELTA = 0.01, 0.05
MOST_KEPT = 256


class Asked(NamedTuple):
    """A pair of graphs, what is known of them, and what is to be promised."""

    student: str
    teacher: str
    evidence: str
    goal: Goal
    limit: float
    delta: float


class CascadeCertificates:
    """Each certificate is computed once for its pair of models and its promise; the oldest is forgotten first."""

    def __init__(self) -> None:
        self._evidence = CascadeEvidence()
        self._kept: dict[Asked, CascadeCertificate] = {}

    async def of(self, student: LoadedModel, teacher: LoadedModel, cascade: pb.Cascade) -> CascadeCertificate:
        """Raises BadRequest for a promise that makes no sense, NoCertificate with what it would take."""
        student.require_valid_calibration()
        if cascade.goal not in ASKED:
            raise BadRequest(f"cascade.goal: {cascade.goal} is not known; 1 DISAGREEMENT, 2 WORSE or 3 ACCURACY")
        limit, delta = _share(cascade.limit or LIMIT, "limit"), _share(cascade.delta or DELTA, "delta")
        evidence = await self._evidence.of(student, teacher)
        asked = Asked(student.identity, teacher.identity, evidence.name, ASKED[cascade.goal], limit, delta)
        if found := self._kept.get(asked):
            return found
        try:
            certificate = await asyncio.to_thread(_certify, evidence, asked)
        except NotCertifiable as error:
            raise NoCertificate(f"{student} before {teacher}: {error}") from error
        while len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[asked] = certificate
        return certificate


def _certify(evidence: Evidence, asked: Asked) -> CascadeCertificate:
    losses = losses_of(asked.goal, evidence.predicted, evidence.teacher_predicted, evidence.label)
    return cascade_certificate(
        evidence.confidence, losses, goal=asked.goal, limit=asked.limit, delta=asked.delta,
        student=asked.student, teacher=asked.teacher,
    )  # fmt: skip


def _share(value: float, name: str) -> float:
    if not math.ulp(0.0) <= value < 1:
        raise BadRequest(f"cascade.{name}: {value}; a number between 0 and 1 is wanted")
    return value
