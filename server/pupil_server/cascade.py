"""The cascade: the student answers where a certificate lets it, and leaves the rest to its teacher."""

import functools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pupil_proto.v1 import inference_pb2 as pb
from pupil_server.answers import written
from pupil_server.call import Call
from pupil_server.cascade_certificates import CascadeCertificates
from pupil_server.certificates import cascade_message
from pupil_server.errors import BadRequest, DeadlineExceeded, NoCertificate, NotFound, Overloaded, Unavailable
from pupil_server.metrics import Metrics
from pupil_server.model import LoadedModel
from pupil_server.pairs import require_same_classes, teacher_of
from pupil_server.reading import count
from pupil_server.repository import Repository
from pupil_server.work import Answer

TEACHERS_SHARE = 0.9  # of the time that is left; in the rest the student's answer leaves, should the teacher be late
FALLBACKS = {
    Overloaded: pb.ROUTE_STUDENT_OVERLOADED,
    DeadlineExceeded: pb.ROUTE_STUDENT_LATE,
    Unavailable: pb.ROUTE_STUDENT_UNAVAILABLE,
}


class CascadeHandler:
    def __init__(self, repository: Repository, metrics: Metrics) -> None:
        self._repository = repository
        self._metrics = metrics
        self._certificates = CascadeCertificates()

    async def classify(self, request: pb.ClassifyRequest, call: Call) -> pb.ClassifyResponse:
        """Each image is answered by the student or its teacher. Raises NoCertificate where too little is proven."""
        images = count(request.images)
        with self._repository.get(request.model) as student, call.charged(images) as paid:
            student.require_sendable(images, _bytes_each(request, student))
            try:
                teacher = self._teacher(student, request.cascade)
            except (NotFound, NoCertificate, Unavailable):
                if not request.cascade.student_alone:
                    raise
                return await self._alone(student, request, paid)
            with teacher:
                return await self._together(student, teacher, request, paid)

    def _teacher(self, student: LoadedModel, cascade: pb.Cascade) -> LoadedModel:
        """Where it is not loaded, raises NotFound for one that the caller named, NoCertificate for the bundle's own."""
        spec = teacher_of(student, cascade)
        try:
            return self._repository.get(spec)
        except NotFound as error:
            if cascade.HasField("teacher"):
                raise
            raise NoCertificate(
                f"{student}: its teacher {spec.name} is not loaded, and without it nothing is promised; load it (pupil "
                f"models load {spec.name}), or let the student answer alone (student_alone)"
            ) from error

    async def _alone(self, student: LoadedModel, request: pb.ClassifyRequest, paid: Call) -> pb.ClassifyResponse:
        """Every image is the student's, and flagged."""
        ours = await student.predict(request.images, paid)
        routes = [pb.ROUTE_STUDENT_UNAVAILABLE] * len(ours.outputs.scores)
        self._count(routes)
        return await _response(request, student, ours, ours.outputs.scores, routes)

    async def _together(
        self, student: LoadedModel, teacher: LoadedModel, request: pb.ClassifyRequest, paid: Call
    ) -> pb.ClassifyResponse:
        require_same_classes(student, teacher)
        if request.images.HasField("pixels") and not student.sees_like(teacher):
            raise BadRequest(f"pixels: {student} and {teacher} want different ones; send the images encoded")
        certificate = await self._certificates.of(student, teacher, request.cascade)
        ours = await student.predict(request.images, paid)
        scores = ours.outputs.scores.copy()
        deferred = ~(scores.max(axis=1).astype(np.float64) >= certificate.threshold)  # NaN is no confidence
        theirs, route = None, pb.ROUTE_TEACHER
        if deferred.any():
            left = ours.pixels[deferred] if student.sees_like(teacher) else _files(request.images, deferred)
            theirs, route = await _ask(teacher, left, paid)
        if theirs:
            scores[deferred] = theirs.outputs.scores
        routes = [route if each else pb.ROUTE_STUDENT for each in deferred.tolist()]
        self._count(routes)
        response = await _response(request, student, ours, scores, routes)
        response.certificate.CopyFrom(cascade_message(certificate))
        if theirs:
            response.teacher.CopyFrom(teacher.answered_by(theirs))
        return response

    def _count(self, routes: Sequence[pb.Route]) -> None:
        for route, images in Counter(routes).items():
            name = pb.Route.Name(route).removeprefix("ROUTE_").lower()
            self._metrics.cascade_routes.labels(name).inc(images)


def _bytes_each(request: pb.ClassifyRequest, student: LoadedModel) -> int:
    return student.writer.most_bytes(top_k=request.top_k, everything=request.scores)


async def _response(
    request: pb.ClassifyRequest,
    student: LoadedModel,
    ours: Answer,
    scores: NDArray[np.float32],
    routes: Sequence[pb.Route],
) -> pb.ClassifyResponse:
    write = functools.partial(student.writer.predictions, scores, top_k=request.top_k, everything=request.scores)
    return pb.ClassifyResponse(
        predictions=await written(write, len(scores) * _bytes_each(request, student)),
        answered_by=student.answered_by(ours),
        routes=routes,
    )


def _files(images: pb.Images, places: NDArray[np.bool_]) -> pb.Images:
    return pb.Images(encoded=[images.encoded[place] for place in np.flatnonzero(places).tolist()])


async def _ask(teacher: LoadedModel, left: NDArray[np.uint8] | pb.Images, call: Call) -> tuple[Answer | None, pb.Route]:
    """The teacher's answer about pixels or files, or why the student's must do."""
    hurried = replace(call, deadline=time.monotonic() + TEACHERS_SHARE * call.remaining())
    try:
        ask = teacher.predict(left, hurried) if isinstance(left, pb.Images) else teacher.predict_pixels(left, hurried)
        return await ask, pb.ROUTE_TEACHER
    except (Overloaded, DeadlineExceeded, Unavailable) as error:
        return None, FALLBACKS[type(error)]
