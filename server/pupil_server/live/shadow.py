"""A sample of a student's traffic goes to its teacher too, after the caller has the answer."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pupil_proto.v1.inference_pb2 import Images, ModelSpec
from pupil_server.call import Call
from pupil_server.errors import DeadlineExceeded, NotFound, Overloaded, PupilError, Unavailable
from pupil_server.live.background import Background
from pupil_server.metrics import Metrics
from pupil_server.model import LoadedModel
from pupil_server.priority import Priority

log = logging.getLogger("pupil.live")

MOST_WAITING = 8  # samples that are with a teacher at the same time; more are dropped
PATIENCE = 10.0  # seconds for the teacher
DROPPED = {Overloaded: "overloaded", DeadlineExceeded: "late", Unavailable: "unavailable", NotFound: "not_loaded"}

Use = Callable[[ModelSpec], AbstractContextManager[LoadedModel]]
Compared = Callable[[LoadedModel, "Sample", NDArray[np.float32]], Awaitable[None]]


@dataclass(frozen=True)
class Sample:
    """Images as the student saw them (N, H, W, C), as they came where that was as files, and its scores (N, K)."""

    pixels: NDArray[np.uint8]
    files: Sequence[bytes]
    scores: NDArray[np.float32]


class Shadow:
    """Draws every image with the same chance, whatever it shows: else the rates would not be those of the traffic."""

    def __init__(self, share: float, use: Use, background: Background, metrics: Metrics) -> None:
        self._share = share
        self._use = use
        self._background = background
        self._metrics = metrics
        self._waiting: set[asyncio.Task[None]] = set()
        self._draw = random.Random()

    def saw(self, student: LoadedModel, seen: Sample, compared: Compared) -> None:
        """Draws from a request's images; `compared` hears what the teacher said of those, in a while."""
        chosen = [place for place in range(len(seen.scores)) if self._draw.random() < self._share]
        if not chosen:
            return
        if len(self._waiting) >= MOST_WAITING:
            self._metrics.shadow_images.labels("full").inc(len(chosen))
            return
        files = [seen.files[place] for place in chosen] if seen.files else ()
        sample = Sample(seen.pixels[chosen], files, seen.scores[chosen])  # copies: the request's own memory is let go
        task = asyncio.create_task(self._ask(student, sample, compared))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def let_go(self) -> None:
        """Of unloaded teachers."""
        await self._background.let_go()

    async def close(self) -> None:
        """Gives up what is still with a teacher."""
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)
        await self._background.close()

    async def _ask(self, student: LoadedModel, sample: Sample, compared: Compared) -> None:
        assert student.facts.teacher is not None  # only such students are watched
        outcome = "compared"
        try:
            with self._use(ModelSpec(name=student.facts.teacher.name)) as teacher:
                scores = await self._scores(student, teacher, sample)
                if scores is None:
                    outcome = "unlike"
                else:
                    await compared(teacher, sample, scores)
        except PupilError as error:
            outcome = DROPPED.get(type(error), "failed")
        except Exception:
            outcome = "failed"
            log.exception("%s was not compared with its teacher", student)
        self._metrics.shadow_images.labels(outcome).inc(len(sample.scores))

    async def _scores(self, student: LoadedModel, teacher: LoadedModel, sample: Sample) -> NDArray[np.float32] | None:
        """What the teacher says; None where it has other classes, or wants pixels that nobody has."""
        alike = teacher.sees_like(student)
        if teacher.facts.classes != student.facts.classes or not (alike or sample.files):
            return None
        async with Call("shadow", time.monotonic() + PATIENCE, priority=Priority.BULK).limited() as call:
            if teacher.session.device == "cpu":
                return await self._background.scores(teacher, sample.pixels if alike else list(sample.files))
            if alike:
                return (await teacher.predict_pixels(sample.pixels, call)).outputs.scores
            return (await teacher.predict(Images(encoded=sample.files), call)).outputs.scores
