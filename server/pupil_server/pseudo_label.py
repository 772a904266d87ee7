"""Labels for unlabelled images, each accepted or abstained from under one promise."""

import asyncio
import dataclasses
import math
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import numpy as np
from numpy.typing import NDArray

from pupil_proto.v1 import inference_pb2 as pb
from pupil_server.answers import written
from pupil_server.call import Call
from pupil_server.certificates import calibration_message, certificate_message
from pupil_server.errors import BadImage, BadRequest, Code, NoCertificate, Overloaded
from pupil_server.metrics import Metrics
from pupil_server.model import LoadedModel
from pupil_server.priority import Priority
from pupil_server.reading import count
from pupil_server.repository import Repository
from pupil_server.streams import in_order
from pupil_server.work import Answer
from pupil_trust import (
    Calibration,
    Certificate,
    NotCertifiable,
    fdr_accept,
    fixed_certificate,
    no_certificate,
    pac_certificate,
)

PRECISION, DELTA = 0.99, 0.05
NO_NUMBER = pb.PseudoLabel(error=pb.Error(code=Code.INTERNAL, message="the model's scores of it are no numbers"))
MOST_HELD_SCORES = 64_000_000  # float32 scores that one FDR stream may hold back: 256 MB


class PseudoLabelHandler:
    def __init__(self, repository: Repository, metrics: Metrics, *, default_deadline: float) -> None:
        self._repository = repository
        self._metrics = metrics
        self._default_deadline = default_deadline

    async def pseudo_label(
        self, requests: AsyncIterator[pb.PseudoLabelRequest], call: Call
    ) -> AsyncGenerator[pb.PseudoLabelResponse, None]:
        """One model for the whole stream, even where another takes over: a certificate is bound to its fingerprint.

        A pool of images can wait.
        """
        call = dataclasses.replace(call, priority=Priority.BULK)
        first = await anext(requests, None)
        if first is None or not first.HasField("plan"):
            raise BadRequest("plan: missing; the first request of the stream carries it")
        plan, rest = first.plan, _with_images(first, requests)
        as_a_whole = plan.guarantee == pb.GUARANTEE_FDR
        label = self._label_as_a_whole if as_a_whole else self._label_one_by_one
        with self._repository.get(plan.model) as model:
            async with aclosing(label(model, plan, rest, call)) as responses:
                async for response in responses:
                    if plan.calibration and response.HasField("certificate"):
                        _tell_calibration(model, response)
                    yield response

    async def _label_one_by_one(
        self, model: LoadedModel, plan: pb.LabelPlan, requests: AsyncIterator[pb.PseudoLabelRequest], call: Call
    ) -> AsyncGenerator[pb.PseudoLabelResponse, None]:
        certificate: Certificate | None = certify(model, plan)
        threshold = certificate.threshold if certificate else 0.0
        async with aclosing(self._labelled(model, plan, requests, call, threshold)) as responses:
            async for response in responses:
                yield self._finished(response, certificate)
                certificate = None  # in the first response only
        if certificate:  # of an empty pool: whoever wants to know the promise beforehand asks like this
            yield self._finished(pb.PseudoLabelResponse(answered_by=model.answered_by()), certificate)

    async def _label_as_a_whole(
        self, model: LoadedModel, plan: pb.LabelPlan, requests: AsyncIterator[pb.PseudoLabelRequest], call: Call
    ) -> AsyncGenerator[pb.PseudoLabelResponse, None]:
        """Benjamini and Hochberg rank the whole pool, so nothing is answered before its end."""
        certify_pool(model, plan, np.empty(0))  # what cannot be certified at all is refused before the work
        held: list[pb.PseudoLabelResponse] = []
        confidence: list[float] = []
        room = MOST_HELD_SCORES // (len(model.facts.classes) if plan.scores else 1)
        async with aclosing(self._labelled(model, plan, requests, call, math.inf)) as responses:
            async for response in responses:
                held.append(response)
                confidence += [
                    label.prediction.top[0].score for label in response.labels if not label.HasField("error")
                ]
                if len(confidence) > room:
                    raise BadRequest(
                        f"more than {room:,} images are too many to be ranked as a whole; label them in parts"
                    )
        accepted, whole = certify_pool(model, plan, np.array(confidence))
        certificate: Certificate | None = whole
        verdicts = iter(accepted.tolist())
        for response in held or [pb.PseudoLabelResponse(answered_by=model.answered_by())]:
            for label in response.labels:
                label.accepted = not label.HasField("error") and next(verdicts)
            yield self._finished(response, certificate)
            certificate = None

    def _labelled(
        self,
        model: LoadedModel,
        plan: pb.LabelPlan,
        requests: AsyncIterator[pb.PseudoLabelRequest],
        call: Call,
        threshold: float,
    ) -> AsyncGenerator[pb.PseudoLabelResponse, None]:
        """The answers, in order, accepted from the threshold on."""

        async def one(request: pb.PseudoLabelRequest) -> pb.PseudoLabelResponse:
            paid = await call.paid(count(request.images))
            async with paid.limited(self._default_deadline) as limited:
                return await _label(model, request, plan, limited, threshold)

        return in_order(requests, one)

    def _finished(self, response: pb.PseudoLabelResponse, certificate: Certificate | None) -> pb.PseudoLabelResponse:
        for decision, images in Counter(map(_decision, response.labels)).items():
            self._metrics.pseudo_labels.labels(decision).inc(images)
        if certificate:
            response.certificate.CopyFrom(certificate_message(certificate))
        return response


def _decision(label: pb.PseudoLabel) -> str:
    return "error" if label.HasField("error") else "accepted" if label.accepted else "abstained"


def _tell_calibration(model: LoadedModel, response: pb.PseudoLabelResponse) -> None:
    bundle = model.bundle
    if bundle.calibration and bundle.calibration_set:
        told = calibration_message(bundle.calibration, bundle.calibration_set.predicted, len(bundle.facts.classes))
        response.calibration.CopyFrom(told)


async def _label(
    model: LoadedModel, request: pb.PseudoLabelRequest, plan: pb.LabelPlan, call: Call, threshold: float
) -> pb.PseudoLabelResponse:
    each = model.writer.most_bytes(top_k=1, everything=plan.scores)
    size = model.require_sendable(count(request.images), each)
    answer, broken = await _predict_when_there_is_room(model, request.images, call)
    scores = answer.outputs.scores if answer else np.empty((0, len(model.facts.classes)), np.float32)

    def labelled() -> pb.PseudoLabelResponse:
        confidence = scores.max(axis=1).astype(np.float64).tolist()  # as float32 the threshold would be rounded
        predictions = model.writer.predictions(scores, top_k=1, everything=plan.scores)
        labels = [
            NO_NUMBER if math.isnan(sure) else pb.PseudoLabel(prediction=prediction, accepted=sure >= threshold)
            for prediction, sure in zip(predictions, confidence, strict=True)
        ]
        for place, problem in sorted(broken.items()):
            labels.insert(place, pb.PseudoLabel(error=pb.Error(code=problem.code, message=str(problem))))
        return pb.PseudoLabelResponse(labels=labels, answered_by=model.answered_by(answer))

    return await written(labelled, size)


async def _predict_when_there_is_room(
    model: LoadedModel, images: pb.Images, call: Call
) -> tuple[Answer | None, dict[int, BadImage]]:
    """A stream waits at the door where a single call is turned away: its sender is slowed down by flow control."""
    while True:
        try:
            return await model.predict_readable(images, call)
        except Overloaded as full:
            await asyncio.sleep(full.retry_after)


def certify(model: LoadedModel, plan: pb.LabelPlan) -> Certificate:
    """The certificate for a promise that is known before the pool is. Raises NoCertificate, BadRequest."""
    calibration, fingerprint = model.bundle.calibration, model.facts.fingerprint
    if plan.guarantee == pb.GUARANTEE_FIXED:
        threshold = _share(plan.threshold, "threshold", least=0.0, most=1.0)
        return fixed_certificate(calibration, threshold=threshold, fingerprint=fingerprint)
    if plan.guarantee == pb.GUARANTEE_NONE:
        return no_certificate(calibration, fingerprint=fingerprint)
    if plan.guarantee not in (pb.GUARANTEE_UNSPECIFIED, pb.GUARANTEE_PAC):
        raise BadRequest(f"plan.guarantee: {plan.guarantee} is not known; 1 PAC, 2 FDR, 3 FIXED or 4 NONE")
    calibration = _valid_calibration(model)
    precision = _share(plan.precision or PRECISION, "precision")
    delta = _share(plan.delta or DELTA, "delta")
    try:
        return pac_certificate(calibration, precision=precision, delta=delta, fingerprint=fingerprint)
    except NotCertifiable as error:
        raise NoCertificate(f"{model}: {error}") from error


def certify_pool(
    model: LoadedModel, plan: pb.LabelPlan, confidence: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], Certificate]:
    """Which of the pool's images (M,) are accepted under FDR. Raises NoCertificate, BadRequest."""
    calibration = _valid_calibration(model)
    precision = _share(plan.precision or PRECISION, "precision")
    try:
        return fdr_accept(calibration, confidence, precision=precision, fingerprint=model.facts.fingerprint)
    except NotCertifiable as error:
        raise NoCertificate(f"{model}: {error}") from error


def _valid_calibration(model: LoadedModel) -> Calibration:
    """Raises NoCertificate where there is none, or it holds no more."""
    model.require_valid_calibration()
    if model.bundle.calibration is None:
        raise NoCertificate(
            f"{model} was exported without a calibration set; label a random sample of the pool by hand and make a "
            "certificate from it: pupil certify"
        )
    return model.bundle.calibration


def _share(value: float, name: str, *, least: float = math.ulp(0.0), most: float = math.nextafter(1.0, 0.0)) -> float:
    if not least <= value <= most:
        raise BadRequest(f"plan.{name}: {value}; a number between 0 and 1 is wanted")
    return value


async def _with_images(
    first: pb.PseudoLabelRequest, rest: AsyncIterator[pb.PseudoLabelRequest]
) -> AsyncIterator[pb.PseudoLabelRequest]:
    if first.HasField("images"):
        yield first
    async for request in rest:
        if request.HasField("plan"):
            raise BadRequest("plan: only the first request of a stream may carry one; open another stream")
        yield request
