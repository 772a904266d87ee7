"""A teacher's own process: what it answers, whom it gives way to, and how it ends."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from pupil_proto.v1.inference_pb2 import ModelSpec
from pupil_server.errors import BadImage, Overloaded, Unavailable
from pupil_server.images import Limits
from pupil_server.live import background
from pupil_server.live.background import MOST_ASKED, Background
from pupil_server.model import LoadedModel

TEACHER = 1  # seed of its weights
PATIENCE = 20.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def run(repository: Path, repositories) -> Callable[..., None]:
    """`run(script)`: awaits script(background, teacher) over loaded models, and leaves no process."""

    def whole(script: Callable[[Background, LoadedModel], Awaitable[None]]) -> None:
        async def over(loaded) -> None:
            found = Background(Limits(1_000_000, 1_000_000))
            try:
                await asyncio.wait_for(script(found, loaded.get(ModelSpec(name="teacher"))), PATIENCE)
            finally:
                await found.close()

        repositories.run(repository, over)
        assert children() == []

    return whole


def children() -> list[int]:
    """Processes that this one started and that run the teacher."""
    found = map(int, Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())
    return [pid for pid in found if b"teacher_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def threads(pid: int) -> list[int]:
    return [int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir()]


def test_it_says_of_pixels_and_of_files_what_the_graph_says(run, toolbox) -> None:
    images = toolbox.random_pixels(11, seed=3)  # in three batches

    async def script(background: Background, teacher: LoadedModel) -> None:
        files = [toolbox.png(image) for image in images]
        of_pixels, of_files = await asyncio.gather(
            background.scores(teacher, images), background.scores(teacher, files)
        )
        np.testing.assert_allclose(of_pixels, toolbox.linear_scores(images, TEACHER), atol=1e-5)
        np.testing.assert_array_equal(of_files, of_pixels)

    run(script)


def test_it_is_given_a_core_only_where_that_would_idle(run, toolbox) -> None:
    async def script(background: Background, teacher: LoadedModel) -> None:
        await background.scores(teacher, toolbox.random_pixels(1, seed=3))
        (pid,) = children()
        assert {os.sched_getscheduler(thread) for thread in threads(pid)} == {os.SCHED_IDLE}
        assert os.sched_getscheduler(0) == os.SCHED_OTHER

    run(script)


def test_a_file_that_is_no_image_is_refused_and_the_next_one_answered(run, toolbox) -> None:
    images = toolbox.random_pixels(1, seed=3)

    async def script(background: Background, teacher: LoadedModel) -> None:
        with pytest.raises(BadImage):
            await background.scores(teacher, [toolbox.png(images[0]), b"no image"])
        np.testing.assert_allclose(
            await background.scores(teacher, images), toolbox.linear_scores(images, TEACHER), atol=1e-5
        )

    run(script)


def test_one_that_does_not_come_back_is_asked_no_more_and_mixes_nothing_up_once_it_does(run, toolbox) -> None:
    images = toolbox.random_pixels(MOST_ASKED, seed=3)

    async def script(background: Background, teacher: LoadedModel) -> None:
        await background.scores(teacher, images[:1])
        (pid,) = children()
        os.kill(pid, signal.SIGSTOP)
        asked = [asyncio.create_task(background.scores(teacher, image[None])) for image in images]
        await asyncio.sleep(0)  # all are on their way
        for task in asked[:-1]:
            task.cancel()
        with pytest.raises(Overloaded):
            await background.scores(teacher, images[:1])
        os.kill(pid, signal.SIGCONT)
        np.testing.assert_allclose(await asked[-1], toolbox.linear_scores(images[-1:], TEACHER), atol=1e-5)

    run(script)


def test_one_that_is_killed_is_missed_by_those_who_wait_and_after_a_pause_there_is_another(
    run, toolbox, monkeypatch
) -> None:
    images = toolbox.random_pixels(1, seed=3)

    async def script(found: Background, teacher: LoadedModel) -> None:
        await found.scores(teacher, images)
        (pid,) = children()
        os.kill(pid, signal.SIGSTOP)
        asked = asyncio.create_task(found.scores(teacher, images))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        for waiting in (asked, found.scores(teacher, images)):
            with pytest.raises(Unavailable, match="teacher/1"):
                await waiting
        assert children() == []
        monkeypatch.setattr(background, "PAUSE", 0.0)
        np.testing.assert_allclose(
            await found.scores(teacher, images), toolbox.linear_scores(images, TEACHER), atol=1e-5
        )

    run(script)


def test_it_ends_with_its_model_and_takes_no_other_graph_for_it(run, toolbox, repository: Path) -> None:
    images, other = toolbox.random_pixels(1, seed=3), (repository / "student/1/model.onnx").read_bytes()

    async def script(background: Background, teacher: LoadedModel) -> None:
        await background.scores(teacher, images)
        teacher.retired = True
        await background.let_go()
        assert children() == []
        teacher.bundle.graph.write_bytes(other)
        with pytest.raises(Unavailable):
            await background.scores(teacher, images)

    run(script)
