"""The client for asyncio programs: `Client`'s methods, awaited; what they do is told there."""

# ruff: noqa: ASYNC109  # the same words as in `Client`: a call's `timeout` travels to the server

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import TypeVar, Unpack, overload

from pupil_client import messages, model_messages
from pupil_client.aio_caller import AsyncCaller
from pupil_client.client import LOAD_SECONDS, Classify, Compare
from pupil_client.coalescing import Coalescer, Question
from pupil_client.errors import PupilError
from pupil_client.images import Image, Packer, RawImage, is_one, raw_image, raw_images
from pupil_client.results import Cascade, Certificate, Comparison, ModelInfo, Prediction, PseudoLabel, Seen, Watch
from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import models_pb2 as models_pb

Item = TypeVar("Item")


class AsyncClient(AsyncCaller):
    """`Client` for asyncio. Made inside the running loop, because its channel belongs to that loop.

    With `coalesce`, single images that are asked about within one turn of the loop travel in one request: for programs
    with many tasks that each have one image. An answer's `queue_seconds` is then the request's.

    async with AsyncClient("localhost:50051") as client:
        print((await client.classify(Path("cat.jpg"), model="student")).label)
    """

    def __init__(
        self,
        address: str = "localhost:50051",
        *,
        timeout: float = 10.0,
        tries: int = 3,
        token: str | None = None,
        tls: bool | Path = False,
        certificate: Path | None = None,
        key: Path | None = None,
        coalesce: bool = False,
    ) -> None:
        super().__init__(address, timeout=timeout, tries=tries, token=token, tls=tls, certificate=certificate, key=key)
        self._coalescer = Coalescer(self._classify) if coalesce else None

    @overload
    async def classify(self, images: Image, *, model: str, **how: Unpack[Classify]) -> Prediction: ...

    @overload
    async def classify(self, images: Sequence[Image], *, model: str, **how: Unpack[Classify]) -> list[Prediction]: ...

    async def classify(
        self,
        images: Image | Sequence[Image],
        *,
        model: str,
        top_k: int = 5,
        scores: bool = False,
        cascade: Cascade | None = None,
        timeout: float | None = None,
    ) -> Prediction | list[Prediction]:
        """As `Client.classify`."""
        question, asked = Question(model, top_k, scores, cascade, timeout), raw_images(images)
        if self._coalescer and is_one(images):
            return await self._coalescer.ask(question, asked[0])
        found = await self._classify(question, asked)
        return found[0] if is_one(images) else found

    async def _classify(self, question: Question, images: list[RawImage]) -> list[Prediction]:
        model, top_k, scores, cascade, timeout = question
        request = messages.classify_request(images, model=model, top_k=top_k, scores=scores, cascade=cascade)
        return messages.predictions(await self._ask(self._inference.Classify, request, timeout), len(images))

    async def classify_stream(
        self,
        images: Iterable[Image] | AsyncIterable[Image],
        *,
        model: str,
        top_k: int = 5,
        scores: bool = False,
        cascade: Cascade | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Prediction | PupilError]:
        """As `Client.classify_stream`; the images may come from an async iterable."""
        requests = (
            messages.classify_request([raw_image(image)], model=model, top_k=top_k, scores=scores, cascade=cascade)
            async for image in _each(images)
        )
        async for response in self._converse(self._streams.ClassifyStream, requests, timeout):
            yield messages.streamed_prediction(response)

    async def pseudo_label(
        self,
        images: Iterable[Image] | AsyncIterable[Image],
        *,
        model: str,
        precision: float = 0.99,
        delta: float = 0.05,
        guarantee: str = "pac",
        threshold: float | None = None,
        scores: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[PseudoLabel]:
        """As `Client.pseudo_label`; the images may come from an async iterable."""
        plan = messages.label_plan(
            model=model, precision=precision, delta=delta, guarantee=guarantee, threshold=threshold, scores=scores
        )
        promise = None
        async for response in self._converse(self._streams.PseudoLabel, _label_requests(plan, images), timeout):
            promise = promise or messages.certificate(response.certificate)
            for label in messages.pseudo_labels(response, promise):
                yield label

    async def certificate(
        self,
        *,
        model: str,
        precision: float = 0.99,
        delta: float = 0.05,
        guarantee: str = "pac",
        threshold: float | None = None,
    ) -> Certificate:
        """As `Client.certificate`."""
        plan = messages.label_plan(
            model=model, precision=precision, delta=delta, guarantee=guarantee, threshold=threshold, scores=False
        )
        responses = self._converse(self._streams.PseudoLabel, _label_requests(plan, []), None)
        return messages.certificate(messages.only_response([response async for response in responses]).certificate)

    @overload
    async def compare(self, images: Image, *, student: str, **how: Unpack[Compare]) -> Comparison: ...

    @overload
    async def compare(self, images: Sequence[Image], *, student: str, **how: Unpack[Compare]) -> list[Comparison]: ...

    async def compare(
        self,
        images: Image | Sequence[Image],
        *,
        student: str,
        teacher: str | None = None,
        top_k: int = 5,
        scores: bool = False,
        timeout: float | None = None,
    ) -> Comparison | list[Comparison]:
        """As `Client.compare`."""
        asked = raw_images(images)
        request = messages.compare_request(asked, student=student, teacher=teacher, top_k=top_k, scores=scores)
        found = messages.comparisons(await self._ask(self._inference.Compare, request, timeout), len(asked))
        return found[0] if is_one(images) else found

    async def models(self) -> list[ModelInfo]:
        """As `Client.models`."""
        found = await self._ask(self._models.List, models_pb.ListModelsRequest())
        return [model_messages.model_info(info) for info in found.models]

    async def model(self, model: str) -> ModelInfo:
        """As `Client.model`."""
        request = models_pb.GetModelRequest(model=messages.model_spec(model))
        return model_messages.model_info(await self._ask(self._models.Get, request))

    async def load(
        self, model: str, *, keep_others: bool = False, aside: bool = False, timeout: float = LOAD_SECONDS
    ) -> ModelInfo:
        """As `Client.load`."""
        request = model_messages.load_request(model, keep_others=keep_others, aside=aside)
        return model_messages.model_info(await self._ask(self._models.Load, request, timeout, tries=1))

    async def unload(self, model: str, *, timeout: float = LOAD_SECONDS) -> None:
        """As `Client.unload`."""
        await self._ask(self._models.Unload, model_messages.unload_request(model), timeout, tries=1)

    async def set_alias(self, name: str, alias: str, version: int | None) -> None:
        """As `Client.set_alias`."""
        request = models_pb.SetAliasRequest(name=name, alias=alias, version=version or 0)
        await self._ask(self._models.SetAlias, request, tries=1)

    async def watch(self, model: str) -> Watch:
        """As `Client.watch`."""
        request = models_pb.GetWatchRequest(model=messages.model_spec(model))
        return model_messages.watch(await self._ask(self._models.GetWatch, request))

    async def reset_watch(self, model: str) -> Watch:
        """As `Client.reset_watch`."""
        request = models_pb.ResetWatchRequest(model=messages.model_spec(model))
        return model_messages.watch(await self._ask(self._models.ResetWatch, request, tries=1))

    async def seen(self, marks: Sequence[int], *, model: str) -> Seen:
        """As `Client.seen`."""
        requests = model_messages.seen_requests(model, marks)
        return model_messages.seen([await self._ask(self._models.Seen, request) for request in requests])

    async def health(self, model: str = "") -> bool:
        """As `Client.health`."""
        return await self._ask(self._check, model)


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def _label_requests(
    plan: pb.LabelPlan, images: Iterable[Image] | AsyncIterable[Image]
) -> AsyncIterator[pb.PseudoLabelRequest]:
    yield pb.PseudoLabelRequest(plan=plan)
    packer = Packer()
    async for image in _each(images):
        for full in packer.add(raw_image(image)):
            yield pb.PseudoLabelRequest(images=full)
    for full in packer.rest():
        yield pb.PseudoLabelRequest(images=full)
