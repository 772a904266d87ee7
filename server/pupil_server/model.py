"""One loaded version of a model: its bundle, its session, its queue, and who is inside."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pupil_proto.v1.inference_pb2 import AnsweredBy, Images
from pupil_server.admission import Admission
from pupil_server.answers import NameWriter, PredictionWriter
from pupil_server.batching import Batcher, longest_on_the_loop
from pupil_server.bundle_facts import InputSize
from pupil_server.call import Call
from pupil_server.decoding import Decoder
from pupil_server.door import Door
from pupil_server.errors import BadImage, BadRequest, NoCertificate, NotFound, Unavailable
from pupil_server.loading import Prepared
from pupil_server.metrics import Metrics
from pupil_server.observer import Observer
from pupil_server.priority import Priority
from pupil_server.reading import Reader
from pupil_server.resources import share_of_cores
from pupil_server.session import Outputs
from pupil_server.settings import MEGA, ServerSettings
from pupil_server.watchdog import Watchdog
from pupil_server.work import Answer


class LoadedModel:
    """A version that answers, in one precision. Whoever holds it keeps it alive: `retire` waits for them.

    In its other precisions it is another LoadedModel `beside` this one: a queue of its own behind the same door,
    counted in the same statistics.
    """

    def __init__(
        self,
        prepared: Prepared,
        settings: ServerSettings,
        decoder: Decoder,
        metrics: Metrics,
        beside: "LoadedModel | None" = None,
    ) -> None:
        self.bundle, self.session, others = prepared
        self.facts = self.bundle.facts
        self.writer = PredictionWriter(self.facts.classes)
        self.max_batch = self.facts.largest_batch(settings.max_batch)
        self.retired = False
        self.lapsed = ""  # why its certificates hold no more
        self.watch: Callable[[NDArray[np.uint8], Sequence[bytes], Outputs], None] | None = None
        self._holders = 0
        self._let_go = asyncio.Event()  # retired, and nobody is inside
        self._reader = Reader(decoder, self.facts, most=settings.max_request_images)
        self._door: Door = beside._door if beside else Door(_admission(settings, self.facts.input))
        self.statistics = self._door.statistics
        self.watchdog: Watchdog = beside.watchdog if beside else Watchdog()
        self._max_answer_bytes = settings.max_message_mb * MEGA
        cores = share_of_cores(settings.workers)
        self._batcher = Batcher(
            self.watchdog.over(self.session.run),
            max_batch=self.max_batch,
            instances=settings.instances,
            observer=Observer(self.facts, self._door, metrics),
            name=str(self),
            max_queue_delay=settings.max_queue_delay,
            on_the_loop=longest_on_the_loop(cores) if self.session.always_returns else 0.0,
            clock=time.thread_time if self.session.device == "cpu" else time.perf_counter,
        )
        self._name = AnsweredBy(
            model=self.facts.model,
            version=self.facts.version,
            precision=self.facts.precision,
            fingerprint=self.facts.fingerprint,
        )
        self.name_writer = NameWriter(self._name)
        self.precisions: tuple[str, ...] = beside.precisions if beside else _precisions(prepared)
        self._others = [LoadedModel(other, settings, decoder, metrics, beside=self) for other in others]

    def __str__(self) -> str:
        return f"{self.facts.model}/{self.facts.version}"

    def in_each_precision(self) -> list["LoadedModel"]:
        """This and the others, in the order of `precisions`."""
        return [self, *self._others]

    def in_precision(self, precision: str) -> "LoadedModel":
        """The model that answers in `precision`, this one where none is named. Raises NotFound with those there are."""
        if not precision:
            return self
        for model in self.in_each_precision():
            if model.facts.precision == precision:
                return model
        raise NotFound(f"{self} does not answer in precision {precision!r}; it answers in {', '.join(self.precisions)}")

    def __enter__(self) -> Self:
        """`with model:` keeps it alive while inside. Raises Unavailable once it is being unloaded."""
        if self.retired:
            raise Unavailable(f"{self} was unloaded; try again")
        self._holders += 1
        return self

    def __exit__(self, *error: object) -> None:
        self._holders -= 1
        if self.retired and not self._holders:
            self._let_go.set()

    async def predict(self, images: Images, call: Call) -> Answer:
        """Logits and scores of every image of a request. Raises BadImage for the first that cannot be read."""
        number, files = self._reader.counted(images)
        with self._door.open(number, call, files) as arrived:
            pixels = await self._reader.read_all(images, files, call)
            return self._watched(await self._submit(pixels, call, arrived), call, files)

    async def predict_readable(self, images: Images, call: Call) -> tuple[Answer | None, dict[int, BadImage]]:
        """The answer for the images that can be read, in order, and why not for the others by their place."""
        number, files = self._reader.counted(images)
        with self._door.open(number, call, files) as arrived:
            pixels, broken = await self._reader.read(images, files, call)
            if not len(pixels):
                self.statistics.failed.add(time.monotonic() - arrived)
                return None, broken
            readable = [file for place, file in enumerate(files) if place not in broken] if broken else files
            return self._watched(await self._submit(pixels, call, arrived), call, readable), broken

    async def predict_pixels(self, pixels: NDArray[np.uint8], call: Call) -> Answer:
        """Logits and scores of images (N, H, W, C) of the model's own size, N at least 1."""
        self._reader.require_few(len(pixels))
        with self._door.open(len(pixels), call) as arrived:
            return self._watched(await self._submit(pixels, call, arrived), call)

    def takes_now(self, shape: tuple[int, int, int, int]) -> bool:
        """Whether images (N, H, W, C) are such as `answer_now` takes: of its size, one batch, and nobody watches."""
        most = min(self._reader.most, self.max_batch)
        return shape[1:] == self.facts.input.shape and shape[0] <= most and self.watch is None

    def room_now(self, images: int, since: float) -> int:
        """How many of `images` it could answer now, on the loop, which has been kept since `since`."""
        return self._batcher.room_now(images, since)

    def answer_now(self, pixels: NDArray[np.uint8], requests: int, arrived: float) -> Answer:
        """Logits and scores of images (N, H, W, C) of so many requests. Raises Overloaded, or what the model raises."""
        with self._door.admission.admit(len(pixels)):
            answer = self._batcher.run_now(pixels, requests, arrived)
        self.statistics.answer(
            time.monotonic() - arrived,
            decoding=0.0,
            queue=answer.queue_seconds,
            compute=answer.compute_seconds,
            requests=requests,
        )
        return answer

    async def predict_beside(self, other: "LoadedModel", images: Images, call: Call) -> tuple[Answer, Answer]:
        """Both models' answers. Where they want the same pixels, those are read once, and one array feeds both."""
        if not self.sees_like(other):
            return await asyncio.gather(self.predict(images, call), other.predict(images, call))
        number, files = self._reader.counted(images)
        with self._door.open(number, call, files) as arrived, other._door.open(number, call):
            pixels = await self._reader.read_all(images, files, call)
            return await asyncio.gather(self._submit(pixels, call, arrived), other._submit(pixels, call, arrived))

    def require_sendable(self, images: int, bytes_each: int) -> int:
        """The bytes of an answer about so many images. Raises BadRequest where no message may have as many."""
        self._reader.require_few(images)
        size = images * bytes_each
        if size > self._max_answer_bytes:
            raise BadRequest(
                f"an answer of {size:,} bytes, at most {self._max_answer_bytes:,} are allowed; send fewer images, or "
                "ask for fewer classes of each"
            )
        return size

    def require_valid_calibration(self) -> None:
        """Raises NoCertificate once the traffic is no longer like the calibration images."""
        if self.lapsed:
            raise NoCertificate(
                f"{self}: its certificates have lapsed, because {self.lapsed}; calibrate it anew with labelled images "
                "of today's traffic, or reset the watch: pupil models watch NAME --reset"
            )

    @property
    def identity(self) -> str:
        """Of the graph that answers."""
        return f"{self.facts.fingerprint}:{self.facts.precision}"

    def sees_like(self, other: "LoadedModel") -> bool:
        """Whether both want the same pixels of an image."""
        return (self.facts.input, self.facts.resize) == (other.facts.input, other.facts.resize)

    def answered_by(self, answer: Answer | None = None) -> AnsweredBy:
        """Who answered, and what it took."""
        found = AnsweredBy()
        found.CopyFrom(self._name)
        if answer:
            found.queue_seconds, found.compute_seconds = answer.queue_seconds, answer.compute_seconds
        return found

    async def retire(self, grace: float) -> None:
        """Lets nobody in any more, waits at most `grace` seconds for who is inside, and frees the sessions."""
        await asyncio.gather(*(model._retire(grace) for model in self.in_each_precision()))

    async def _retire(self, grace: float) -> None:
        self.retired = True
        if self._holders:
            with suppress(TimeoutError):  # whoever is still inside then hears Unavailable from the batcher
                await asyncio.wait_for(self._let_go.wait(), grace)
        await self._batcher.close()

    def _watched(self, answer: Answer, call: Call, files: Sequence[bytes] = ()) -> Answer:
        """The same answer, of which the watch hears where somebody waits for it: a pool is no traffic."""
        if self.watch and call.priority is Priority.INTERACTIVE:
            self.watch(answer.pixels, files, answer.outputs)
        return answer

    async def _submit(self, pixels: NDArray[np.uint8], call: Call, arrived: float) -> Answer:
        call.require_time()
        began = time.monotonic()
        answer = await self._batcher.submit(pixels, call.deadline, call.priority)
        ended = time.monotonic()
        self.statistics.answer(
            ended - arrived, decoding=began - arrived, queue=answer.queue_seconds, compute=answer.compute_seconds
        )
        if call.trace:
            taken = began + answer.queue_seconds
            call.trace.step("queue", began, taken)
            call.trace.step("infer", taken, ended, model=str(self), images=len(pixels))
        return answer


def _precisions(prepared: Prepared) -> tuple[str, ...]:
    return tuple(each.bundle.facts.precision for each in (prepared, *prepared.others))


def _admission(settings: ServerSettings, size: InputSize) -> Admission:
    return Admission(
        max_images=settings.max_queue_images,
        max_bytes=settings.max_queue_mb * MEGA,
        image_bytes=math.prod(size.shape),
    )
