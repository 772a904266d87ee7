"""Callers, models and moments for which an answer at once would be a wrong one."""

import time
from pathlib import Path

import pytest

from pupil_proto.v1 import inference_pb2 as pb
from pupil_server.at_once import AtOnce
from pupil_server.dispatch import Failure

CLASSIFY = "pupil.v1.Inference/Classify"
MEGA = 1_000_000
STUDENT = pb.ModelSpec(name="student")


def classify(data: bytes, count: int, side: int = 6, channels: int = 3) -> bytes:
    pixels = pb.Pixels(data=data, count=count, height=side, width=side, channels=channels)
    return pb.ClassifyRequest(model=STUDENT, images=pb.Images(pixels=pixels)).SerializeToString()


def memory_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS"))


def test_of_requests_that_are_remembered_no_images_stay_in_memory(serving) -> None:
    async def story(served) -> None:
        def send(first: int) -> float:
            for size in range(MEGA + first, MEGA + first + 30):
                served.at_once(CLASSIFY, classify(bytes([1]) * size, size, 1, 1))
            return memory_mb()

        before = send(0)
        assert send(30) < before + 15  # of the 30 that came

    serving(story)


def test_a_call_that_an_answer_may_not_reach_in_time_is_for_the_batcher_to_refuse(serving, monkeypatch) -> None:
    async def story(served) -> None:
        model = served.repository.get(STUDENT)
        quick = model._batcher._predict

        def slow(pixels):
            time.sleep(0.005)
            return quick(pixels)

        monkeypatch.setattr(model._batcher, "_predict", slow)
        images = model.statistics.images
        request, soon = classify(bytes(108), 1), served.call(CLASSIFY, deadline=0.004)
        method = served.methods[CLASSIFY]
        assert served.dispatcher.at_once(method, [(request, soon)], time.monotonic()) == [None]
        assert model.statistics.images == images
        with pytest.raises(Failure, match="deadline"):
            await served.dispatcher.unary(method, request, soon)

    serving(story)


def test_an_error_of_ours_leaves_every_call_of_the_turn_to_the_usual_way_and_is_logged(
    serving, monkeypatch, caplog
) -> None:
    async def story(served) -> None:
        def broken(self, question):
            raise RuntimeError("ours")

        monkeypatch.setattr(AtOnce, "_model", broken)
        assert served.at_once(CLASSIFY, classify(bytes(108), 1), classify(bytes(216), 2)) == [None, None]
        assert "ours" in caplog.text

    serving(story)
