"""GetWatch and ResetWatch."""

import logging

from pupil_proto.v1 import models_pb2 as pb
from pupil_server.call import Call
from pupil_server.live.watch import Watch, Watches
from pupil_server.repository import Repository

log = logging.getLogger("pupil.models")


class WatchHandlers:
    def __init__(self, repository: Repository, watches: Watches) -> None:
        self._repository = repository
        self._watches = watches

    async def get(self, request: pb.GetWatchRequest, call: Call) -> pb.Watch:
        return _message(self._watches.of(self._repository.get(request.model)))

    async def reset(self, request: pb.ResetWatchRequest, call: Call) -> pb.Watch:
        student = self._repository.get(request.model)
        log.info("the watch over %s is reset for %s", student, call.peer)
        return _message(self._watches.reset(student))


def _message(watch: Watch) -> pb.Watch:
    student, agreement = watch.student, watch.agreement
    low, high = agreement.interval()
    return pb.Watch(
        model=student.facts.model,
        version=student.facts.version,
        precision=student.facts.precision,
        fingerprint=student.facts.fingerprint,
        teacher=agreement.teacher,
        compared=agreement.images,
        disagreed=agreement.disagreed,
        disagreement_low=low,
        disagreement_high=high,
        mean_kl=agreement.kl / agreement.images if agreement.images else 0.0,
        classes=[
            pb.ClassAgreement(label=label, compared=compared, agreed=agreed)
            for label, compared, agreed in zip(
                student.facts.classes, agreement.compared, agreement.agreed, strict=False
            )
        ],
        images=watch.drift.images,
        evidence=watch.drift.evidence(),
        alarms=watch.alarms,
        lapsed=student.lapsed,
    )
