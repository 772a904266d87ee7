"""Teachers at work for the shadow, each in a process that takes no core from anybody."""

import asyncio
import logging
import os
import pickle
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pupil_server.errors import BadImage, Overloaded, Unavailable
from pupil_server.images import Limits
from pupil_server.live.teacher_process import ROWS, Images, TeacherFacts
from pupil_server.model import LoadedModel

log = logging.getLogger("pupil.live")

COMMAND = (sys.executable, "-P", "-m", "pupil_server.live.teacher_process")
TOGETHER = 4  # images of one run: the pixels of many would hold up the loop on their way
MOST_ASKED = 16  # batches that a process has not answered, with those for which nobody waits any more
PAUSE = 60.0  # seconds before a process that ended is started anew


class Background:
    """One process for each model. A thread of the lowest priority would not do: where it is kept from running while it
    holds Python's lock, everybody waits.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._processes: dict[LoadedModel, _Process] = {}

    async def scores(self, model: LoadedModel, images: Images) -> NDArray[np.float32]:
        """(N, K). Raises BadImage, Overloaded, and Unavailable where the process has ended."""
        process = self._processes.get(model)
        if process is None or process.ended < time.monotonic() - PAUSE:
            process = self._processes[model] = _Process(model, self._limits)
        together = min(TOGETHER, model.max_batch)
        batches = [images[first : first + together] for first in range(0, len(images), together)]
        return np.concatenate([await process.scores(batch) for batch in batches])

    async def let_go(self) -> None:
        """Ends the processes of unloaded models."""
        await self._end([model for model in self._processes if model.retired])

    async def close(self) -> None:
        await self._end(list(self._processes))

    async def _end(self, models: list[LoadedModel]) -> None:
        await asyncio.gather(*(self._processes.pop(model).close() for model in models))


class _Process:
    """The process of one model; `ended` is when, on time.monotonic's clock."""

    def __init__(self, model: LoadedModel, limits: Limits) -> None:
        loop = asyncio.get_running_loop()
        self.ended = float("inf")
        self._name = f"the process in which {model} sees a sample"
        self._classes = len(model.facts.classes)
        self._stdin: asyncio.Future[asyncio.StreamWriter] = loop.create_future()
        self._asked: deque[asyncio.Future[NDArray[np.float32]]] = deque()
        self._life = loop.create_task(self._live(_facts(model, limits)))

    async def scores(self, images: Images) -> NDArray[np.float32]:
        stdin = await asyncio.shield(self._stdin)
        if self._life.done():
            raise Unavailable(f"{self._name} has ended")
        if len(self._asked) >= MOST_ASKED:
            raise Overloaded(f"{self._name} has {MOST_ASKED} batches already", retry_after=1.0)
        answer: asyncio.Future[NDArray[np.float32]] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        stdin.write(pickle.dumps(images))
        return await answer

    async def close(self) -> None:
        self._life.cancel()
        await asyncio.gather(self._life, return_exceptions=True)

    async def _live(self, facts: TeacherFacts) -> None:
        """From the start of the process to its end."""
        pipe = asyncio.subprocess.PIPE
        try:  # in no session of its own: Linux may share the cores between sessions first, whatever their priorities
            process = await asyncio.create_subprocess_exec(*COMMAND, stdin=pipe, stdout=pipe)
            try:
                _yield_to_everybody(process.pid)
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(pickle.dumps(facts))
                self._stdin.set_result(process.stdin)
                await self._hear(process.stdout)
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                status = await process.wait()
            log.error("%s has ended with status %d; samples are dropped for %g s", self._name, status, PAUSE)
        except OSError as error:
            log.error("%s does not start: %s; samples are dropped for %g s", self._name, error, PAUSE)
        finally:
            self._end()

    async def _hear(self, stdout: asyncio.StreamReader) -> None:
        """Hands on its answers, until it ends."""
        with suppress(asyncio.IncompleteReadError):
            while True:
                (rows,) = ROWS.unpack(await stdout.readexactly(ROWS.size))
                data = await stdout.readexactly(rows * self._classes * np.float32().nbytes)
                answer = self._asked.popleft()
                if answer.done():
                    continue  # nobody waits for it any more
                if rows:
                    answer.set_result(np.frombuffer(data, np.float32).reshape(rows, self._classes))
                else:
                    answer.set_exception(BadImage("not an image for the teacher"))

    def _end(self) -> None:
        self.ended = time.monotonic()
        waiting: list[asyncio.Future[Any]] = [self._stdin, *self._asked]
        for each in waiting:
            if not each.done():
                each.set_exception(Unavailable(f"{self._name} has ended"))


def _facts(model: LoadedModel, limits: Limits) -> TeacherFacts:
    facts, graph = model.facts, model.bundle.graph
    return TeacherFacts(
        graph=graph,
        sha256=facts.files[graph.name],
        precision=facts.precision,
        input=facts.input,
        resize=facts.resize,
        max_batch=min(TOGETHER, model.max_batch),
        limits=limits,
    )


def _yield_to_everybody(pid: int) -> None:
    """Has a process of ours run where a core would idle, and be the first to go where memory ends."""
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
    try:
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, OSError):  # not Linux, or a sandbox that forbids it
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, 19)
