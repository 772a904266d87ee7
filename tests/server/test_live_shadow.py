"""What is asked of a teacher in a student's shadow, and what is given up."""

import asyncio
import random
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pupil_server.errors import DeadlineExceeded, NotFound, Overloaded, Unavailable
from pupil_server.images import Limits
from pupil_server.live.agreement import Agreement
from pupil_server.live.background import Background
from pupil_server.live.shadow import MOST_WAITING, Sample, Shadow
from pupil_server.metrics import Metrics
from pupil_server.priority import Priority

CLASSES = ("cat", "dog")
STUDENT = SimpleNamespace(facts=SimpleNamespace(teacher=SimpleNamespace(name="teacher"), classes=CLASSES))


class Teacher:
    """On a GPU. Says what `answer` does; remembers who asked."""

    facts = SimpleNamespace(classes=CLASSES)
    session = SimpleNamespace(device="cuda")

    def __init__(self, answer) -> None:
        self.calls, self.images, self._answer = [], 0, answer

    def sees_like(self, student) -> bool:
        return True

    async def predict_pixels(self, pixels, call):
        self.calls.append(call)
        self.images += len(pixels)
        return await self._answer(pixels)


def sample(images: int) -> Sample:
    return Sample(np.zeros((images, 2, 2, 1), np.uint8), (), np.tile(np.float32([0.9, 0.1]), (images, 1)))


async def agrees(pixels):
    return SimpleNamespace(outputs=SimpleNamespace(scores=sample(len(pixels)).scores))


def shadow_of(teacher: Teacher, share: float = 1.0) -> tuple[Shadow, Metrics]:
    @contextmanager
    def use(spec):
        assert spec.name == "teacher"
        yield teacher

    metrics = Metrics()
    return Shadow(share, use, Background(Limits(1_000_000, 1_000_000)), metrics), metrics


def outcomes(metrics: Metrics) -> dict[str, float]:
    (found,) = metrics.shadow_images.collect()
    return {each.labels["outcome"]: each.value for each in found.samples if each.name.endswith("_total")}


async def heard(teacher, sample, scores) -> None:
    return None


async def all_done() -> None:
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)


def test_the_teacher_is_asked_as_bulk_and_only_for_a_while() -> None:
    async def asked():
        teacher = Teacher(agrees)
        shadow, metrics = shadow_of(teacher)
        shadow.saw(STUDENT, sample(3), heard)
        await all_done()
        return teacher.calls, outcomes(metrics)

    (call,), found = asyncio.run(asked())
    assert call.priority is Priority.BULK
    assert call.deadline is not None
    assert found == {"compared": 3}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Overloaded("full", retry_after=1.0), "overloaded"),
        (DeadlineExceeded("late"), "late"),
        (Unavailable("unloaded"), "unavailable"),
        (NotFound("none"), "not_loaded"),
        (RuntimeError("of a driver"), "failed"),
    ],
)
def test_what_the_teacher_refuses_is_dropped_and_counted_by_reason(error: Exception, outcome: str) -> None:
    async def refuses(pixels):
        raise error

    async def asked():
        shadow, metrics = shadow_of(Teacher(refuses))
        shadow.saw(STUDENT, sample(3), heard)
        await all_done()
        return outcomes(metrics)

    assert asyncio.run(asked()) == {outcome: 3}


def test_samples_beyond_those_that_a_slow_teacher_has_are_dropped_at_once() -> None:
    async def asked():
        never = asyncio.Event()

        async def waits(pixels):
            await never.wait()

        teacher = Teacher(waits)
        shadow, metrics = shadow_of(teacher)
        for _ in range(MOST_WAITING + 5):
            shadow.saw(STUDENT, sample(2), heard)
        await asyncio.sleep(0)
        asked, found = len(teacher.calls), outcomes(metrics)
        await shadow.close()  # and does not wait for the teacher
        return asked, found

    assert asyncio.run(asked()) == (MOST_WAITING, {"full": 10})


@pytest.mark.parametrize(
    ("alike", "files", "seen", "outcome"),
    [
        (True, [b"1", b"2"], np.ndarray, "compared"),
        (False, [b"1", b"2"], list, "compared"),
        (False, [], type(None), "unlike"),
    ],
)
def test_a_teacher_on_the_cpu_sees_the_pixels_where_it_can_or_else_the_files(
    alike: bool, files: list[bytes], seen: type, outcome: str
) -> None:
    class Aside:
        images = None

        async def scores(self, model, images):
            self.images = images
            return sample(len(images)).scores

        async def close(self) -> None: ...

    async def asked():
        teacher, aside, metrics = Teacher(agrees), Aside(), Metrics()
        teacher.session = SimpleNamespace(device="cpu")
        teacher.sees_like = lambda student: alike
        shadow = Shadow(1.0, lambda spec: nullcontext(teacher), aside, metrics)
        shadow.saw(STUDENT, replace(sample(2), files=files), heard)
        await all_done()
        assert teacher.calls == []  # its own callers do not wait for the sample
        return type(aside.images), outcomes(metrics)

    assert asyncio.run(asked()) == (seen, {outcome: 2})


@pytest.mark.parametrize("images", [1, 50])
def test_a_tenth_of_the_images_is_drawn_one_by_one_or_many_in_a_request(images: int, monkeypatch) -> None:
    drawn = random.Random(4)
    monkeypatch.setattr("pupil_server.live.shadow.random", SimpleNamespace(Random=lambda: drawn))

    async def asked():
        teacher = Teacher(agrees)
        shadow, _ = shadow_of(teacher, share=0.1)
        for _ in range(10_000 // images):
            shadow.saw(STUDENT, sample(images), heard)
            await all_done()
        return teacher.images

    assert abs(asyncio.run(asked()) - 1000) < 3 * (10_000 * 0.1 * 0.9) ** 0.5


@pytest.mark.parametrize(
    "change",
    [{"compared": [1]}, {"compared": [3, -1]}, {"agreed": [9, 9]}, {"kl": "x"}, {"compared": [float("inf"), 0]}, {}],
)
def test_counts_of_a_state_file_that_cannot_be_are_not_gone_on_from(change: dict) -> None:
    known = {"teacher": "t", "compared": [5, 2], "agreed": [4, 2], "kl": 0.5, "alarm": False}
    assert Agreement.from_dict(known, classes=2).disagreed == 1
    with pytest.raises((ArithmeticError, LookupError, TypeError, ValueError)):
        Agreement.from_dict({**known, **change} if change else {}, classes=2)
