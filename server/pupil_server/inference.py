"""Classify, ClassifyStream and Compare. A message and a Call come in, a message or one of our errors goes out."""

import functools
import math
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

import numpy as np
from numpy.typing import NDArray

from pupil_proto.v1 import inference_pb2 as pb
from pupil_server.answers import written
from pupil_server.at_once import AnswerRows, Question
from pupil_server.call import Call
from pupil_server.cascade import CascadeHandler
from pupil_server.errors import PupilError
from pupil_server.metrics import Metrics
from pupil_server.pairs import kl_divergence, require_same_classes, teacher_of
from pupil_server.reading import count
from pupil_server.repository import Repository
from pupil_server.streams import in_order

MOST_AT_ONCE = 100  # classes of each image, for which the loop has time
BESIDE_BOTH = 16  # bytes of a Comparison beside its two predictions: its head, whether they agree, and how far


class InferenceHandlers:
    def __init__(self, repository: Repository, metrics: Metrics, *, default_deadline: float) -> None:
        self._repository = repository
        self._metrics = metrics
        self._default_deadline = default_deadline
        self._cascade = CascadeHandler(repository, metrics)

    def plain(self, request: bytes, id: bytes) -> Question | None:
        """What a Classify asks that may be answered at once: about raw pixels, and one model."""
        read = pb.ClassifyRequest.FromString(request)
        pixels = read.images.pixels
        shape = (pixels.count, pixels.height, pixels.width, pixels.channels)
        size = len(pixels.data)
        if (
            read.HasField("cascade")
            or read.images.encoded
            or not size
            or size != math.prod(shape)
            or read.top_k > MOST_AT_ONCE
        ):
            return None
        model = pb.ModelSpec.FromString(read.model.SerializeToString())  # its own would keep the images too
        write = functools.partial(_write, top_k=read.top_k, everything=read.scores)
        return Question(model, shape, np.dtype(np.uint8), write)

    async def classify(self, request: pb.ClassifyRequest, call: Call) -> pb.ClassifyResponse:
        if request.HasField("cascade"):
            return await self._cascade.classify(request, call)
        with self._repository.get(request.model) as model:
            each = model.writer.most_bytes(top_k=request.top_k, everything=request.scores)
            size = model.require_sendable(count(request.images), each)
            answer = await model.predict(request.images, call)
            write = functools.partial(
                model.writer.response, answer.outputs.scores, top_k=request.top_k, everything=request.scores
            )
            response = await written(write, size)
            response.answered_by.CopyFrom(model.answered_by(answer))
            return response

    async def classify_stream(
        self, requests: AsyncIterator[pb.ClassifyRequest], call: Call
    ) -> AsyncGenerator[pb.ClassifyResponse, None]:
        """One answer a request, each within the default deadline or the stream's own, whichever comes first."""

        async def one(request: pb.ClassifyRequest) -> pb.ClassifyResponse:
            try:
                async with call.limited(self._default_deadline) as limited:
                    return await self.classify(request, limited)
            except PupilError as error:
                return pb.ClassifyResponse(error=pb.Error(code=error.code, message=str(error)))

        async with aclosing(in_order(requests, one)) as answers:
            async for answer in answers:
                yield answer

    async def compare(self, request: pb.CompareRequest, call: Call) -> pb.CompareResponse:
        with (
            self._repository.get(request.student) as student,
            self._repository.get(teacher_of(student, request)) as teacher,
            call.charged(count(request.images)) as paid,
        ):
            require_same_classes(student, teacher)
            each = student.writer.most_bytes(top_k=request.top_k, everything=request.scores)
            size = student.require_sendable(count(request.images), 2 * each + BESIDE_BOTH)
            ours, theirs = await student.predict_beside(teacher, request.images, paid)
            s, t = ours.outputs.scores, theirs.outputs.scores
            agree, kl = s.argmax(axis=1) == t.argmax(axis=1), kl_divergence(t, s)
            self._count(agree.tolist(), kl.tolist())

            def spell(scores: NDArray[np.float32]) -> Sequence[pb.Prediction]:
                return student.writer.predictions(scores, top_k=request.top_k, everything=request.scores)

            def compared() -> list[pb.Comparison]:
                rows = zip(spell(s), spell(t), agree.tolist(), kl.tolist(), strict=True)
                return [pb.Comparison(student=i, teacher=j, agree=same, kl=nats) for i, j, same, nats in rows]

            return pb.CompareResponse(
                comparisons=await written(compared, size),
                agreement=float(np.mean(agree)),
                mean_kl=float(np.mean(kl)),
                student=student.answered_by(ours),
                teacher=teacher.answered_by(theirs),
            )

    def _count(self, agree: list[bool], kl: list[float]) -> None:
        for same, nats in zip(agree, kl, strict=True):
            self._metrics.agreement.labels("yes" if same else "no").inc()
            self._metrics.kl_nats.observe(nats)


def _write(answer: AnswerRows, first: int, last: int, id: bytes, *, top_k: int, everything: bool) -> bytes:
    """A ClassifyResponse."""
    predictions = answer.model.writer.write(answer.scores, first, last, top_k=top_k, everything=everything)
    return predictions + answer.answered_by()
