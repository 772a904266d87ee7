"""One loaded version of a model: its bundle, its session, its queue, and who is inside."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from pupil_proto.v1.inference_pb2 import AnsweredBy, Images
from pupil_server.admission import Admission
from pupil_server.batching import Answer, Batcher
from pupil_server.bundle import Bundle, read_bundle
from pupil_server.call import Call
from pupil_server.decoding import Decoder, count, pixels_array
from pupil_server.errors import BadImage, BundleError, Unavailable
from pupil_server.images import Limits, decode
from pupil_server.metrics import Metrics
from pupil_server.resources import usable_cores
from pupil_server.session import Session
from pupil_server.settings import MEGA, ServerSettings
from pupil_server.statistics import Statistics


class Prepared(NamedTuple):
    """A bundle with its session, checked and warmed."""

    bundle: Bundle
    session: Session


def limits(settings: ServerSettings) -> Limits:
    return Limits(settings.max_image_mb * MEGA, int(settings.max_megapixels * MEGA))


def prepare(folder: Path, settings: ServerSettings) -> Prepared:
    """Reads, checks and warms a bundle: everything about loading that takes time. Raises BundleError."""
    bundle = read_bundle(folder)
    session = Session(bundle.graph, device=settings.device, threads=settings.threads or usable_cores())
    size = bundle.facts.input
    try:
        session.check_shape(size.height, size.width, size.channels, batch=bundle.facts.max_batch)
    except BundleError as error:
        raise BundleError(f"{folder}: {error}; export it again") from None
    _check_goldens(bundle, session, limits(settings))
    largest = bundle.facts.largest_batch(settings.max_batch)
    session.run(np.zeros((largest, size.height, size.width, size.channels), np.uint8))
    return Prepared(bundle, session)


def _check_goldens(bundle: Bundle, session: Session, limits: Limits) -> None:
    """Decoding and graph together must give what they gave at export: no skew between training and serving."""
    for golden in bundle.goldens:
        try:
            pixels = decode(golden.encoded, bundle.facts.input, bundle.facts.resize, limits)
        except BadImage as error:
            raise BundleError(f"{bundle.folder}: {golden.name}: {error}; export it again") from error
        scores = session.run(pixels[np.newaxis]).scores[0]
        if scores.shape != golden.scores.shape or scores.shape != (len(bundle.facts.classes),):
            raise BundleError(
                f"{bundle.folder}: {len(bundle.facts.classes)} classes, the model gives {scores.shape[0]} scores "
                f"and {golden.name} {golden.scores.shape[0]}; export it again"
            )
        off = float(np.abs(scores - golden.scores).max())
        if not off <= golden.tolerance:
            raise BundleError(
                f"{bundle.folder}: {golden.name} scores differ by {off:.3g} from those at export, "
                f"at most {golden.tolerance:g} is allowed; preprocessing or runtime are not the same"
            )


class LoadedModel:
    """A version that answers. Whoever holds it keeps it alive: `retire` waits for them."""

    def __init__(self, prepared: Prepared, settings: ServerSettings, decoder: Decoder, metrics: Metrics) -> None:
        self.bundle, self.session = prepared
        self.facts = self.bundle.facts
        self.max_batch = self.facts.largest_batch(settings.max_batch)
        self.retired = False
        self.statistics = Statistics()
        self._holders = 0
        self._let_go = asyncio.Event()
        self._let_go.set()
        self._decoder = decoder
        size = self.facts.input
        self._admission = Admission(
            max_images=settings.max_queue_images,
            max_bytes=settings.max_queue_mb * MEGA,
            image_bytes=size.height * size.width * size.channels,
        )
        self._observer = _Observer(self, self._admission, metrics)
        self._batcher = Batcher(
            self.session.run,
            max_batch=self.max_batch,
            instances=settings.instances,
            observer=self._observer,
            name=str(self),
        )

    def __str__(self) -> str:
        return f"{self.facts.model}/{self.facts.version}"

    @contextmanager
    def hold(self) -> Iterator[Self]:
        """Keeps the model alive while inside. Raises Unavailable once it is being unloaded."""
        if self.retired:
            raise Unavailable(f"{self} was unloaded; try again")
        self._holders += 1
        self._let_go.clear()
        try:
            yield self
        finally:
            self._holders -= 1
            if not self._holders:
                self._let_go.set()

    async def predict(self, images: Images, call: Call) -> Answer:
        """Logits and scores of every image of a request. Raises BadImage for the first that cannot be read."""
        answer, broken = await self.predict_readable(images, call)
        for place, image in broken.items():
            raise BadImage(f"image {place + 1} of {len(images.encoded)}: {image}")
        assert answer is not None  # no image broken, and `count` refuses none
        return answer

    async def predict_readable(self, images: Images, call: Call) -> tuple[Answer | None, dict[int, BadImage]]:
        """The answer for the images that can be read, in order, and why not for the others by their place."""
        with self._door(count(images), call) as arrived:
            if not images.encoded:
                return await self._submit(pixels_array(images.pixels, self.facts.input), call, arrived), {}
            decoded = await self._decoder.decode(images.encoded, self.facts.input, self.facts.resize, call)
            broken = {place: image for place, image in enumerate(decoded) if isinstance(image, BadImage)}
            readable = [image for image in decoded if not isinstance(image, BadImage)]
            if not readable:
                self.statistics.failed.add(time.monotonic() - arrived)
                return None, broken
            return await self._submit(np.stack(readable), call, arrived), broken

    async def predict_pixels(self, pixels: NDArray[np.uint8], call: Call) -> Answer:
        """Logits and scores of images (N, H, W, C) of the model's own size, N at least 1."""
        with self._door(len(pixels), call) as arrived:
            return await self._submit(pixels, call, arrived)

    def answered_by(self, answer: Answer | None = None) -> AnsweredBy:
        """Who answered, and what it took."""
        return AnsweredBy(
            model=self.facts.model,
            version=self.facts.version,
            precision=self.facts.precision,
            fingerprint=self.facts.fingerprint,
            queue_seconds=answer.queue_seconds if answer else 0.0,
            compute_seconds=answer.compute_seconds if answer else 0.0,
        )

    async def retire(self, grace: float) -> None:
        """Lets nobody in any more, waits at most `grace` seconds for who is inside, and frees the session."""
        self.retired = True
        try:
            async with asyncio.timeout(grace):
                await self._let_go.wait()
        except TimeoutError:
            pass  # whoever is still inside hears Unavailable from the batcher
        await self._batcher.close()

    @contextmanager
    def _door(self, images: int, call: Call) -> Iterator[float]:
        """Holds places for a request's images; gives the time at which it came, and counts it where it fails."""
        arrived = time.monotonic()
        try:
            with self._admission.admit(images):
                yield arrived
        except BaseException:
            self.statistics.failed.add(time.monotonic() - arrived)
            raise

    async def _submit(self, pixels: NDArray[np.uint8], call: Call, arrived: float) -> Answer:
        call.require_time()
        decoding = time.monotonic() - arrived
        answer = await self._batcher.submit(pixels, call.deadline)
        seconds = time.monotonic() - arrived
        self.statistics.answer(seconds, decoding=decoding, queue=answer.queue_seconds, compute=answer.compute_seconds)
        return answer


class _Observer:
    """The batcher's events as metrics."""

    def __init__(self, model: LoadedModel, admission: Admission, metrics: Metrics) -> None:
        labels = (model.facts.model, str(model.facts.version))
        self._admission = admission
        self._statistics = model.statistics
        self._metrics = metrics
        self._batch_images = metrics.batch_images.labels(*labels)
        self._inference_seconds = metrics.inference_seconds.labels(*labels)
        self._queue_seconds = metrics.queue_seconds.labels(*labels)
        metrics.queue_images.labels(*labels).set_function(lambda: admission.images)
        metrics.queue_bytes.labels(*labels).set_function(lambda: admission.images * admission.image_bytes)

    def batched(self, images: int, seconds: float) -> None:
        self._admission.measured(images, seconds)
        self._statistics.batch(images, seconds)
        self._batch_images.observe(images)
        self._inference_seconds.observe(seconds)

    def started(self, queue_seconds: float) -> None:
        self._queue_seconds.observe(queue_seconds)

    def cancelled(self, stage: str) -> None:
        self._metrics.cancelled.labels(stage).inc()

    def expired(self, stage: str) -> None:
        self._metrics.expired.labels(stage).inc()
