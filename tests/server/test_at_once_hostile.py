"""Callers, models and moments for which an answer at once would be a wrong one."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pupil_proto.v1 import inference_pb2 as pb
from pupil_server.at_once import AtOnce
from pupil_server.errors import Overloaded
from pupil_server.method import Failure
from pupil_server.pace import KNOWN
from pupil_server.priority import Priority
from pupil_server.tokens import Tokens

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


TOKENS = {  # the lines of each beside its name and hash, and whether its calls are answered at once
    "good": ('scopes = ["infer"]', True),
    "quota": ('scopes = ["infer"]\nimages_per_second = 1000.0', False),
    "expired": ('scopes = ["infer"]\nexpires = 2020-01-01T00:00:00Z', False),
    "labels": ('scopes = ["label"]', False),
}


def entries() -> Iterator[str]:
    for name, (lines, _) in TOKENS.items():
        yield f'[[token]]\nname = "{name}"\nsha256 = "{hashlib.sha256(name.encode()).hexdigest()}"\n{lines}\n'


def test_a_call_without_a_token_that_may_do_it_and_costs_nothing_is_left(serving, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text("".join(entries()))

    async def story(served) -> None:
        served.dispatcher._tokens = Tokens(file)
        request = classify(bytes(108), 1)
        assert served.at_once(CLASSIFY, request) == [None]
        for name, (_, answered) in TOKENS.items():
            metadata = {"authorization": f"Bearer {name}"}
            assert (served.at_once(CLASSIFY, request, metadata=metadata) != [None]) == answered, name
        file.write_text("")
        served.dispatcher._tokens.file.reload()
        assert served.at_once(CLASSIFY, request, metadata={"authorization": "Bearer good"}) == [None]

    serving(story)


def test_whoever_finds_no_place_in_the_queue_or_a_place_that_is_kept_for_bulk_is_left(serving) -> None:
    async def story(served) -> None:
        admission = served.repository.get(STUDENT)._door.admission
        request = classify(bytes(2 * 108), 2)
        with admission.admit(6):
            assert served.at_once(CLASSIFY, request) != [None]
            with admission.admit(1):
                assert served.at_once(CLASSIFY, request) == [None]
            with pytest.raises(Overloaded):
                admission.admit(3, priority=Priority.BULK)
            assert served.at_once(CLASSIFY, request) == [None]
        assert admission.images == 0

    serving(story, max_queue_images=8)


def test_who_asks_by_an_alias_is_answered_by_the_version_that_it_means_now(serving, repository: Path, toolbox) -> None:
    toolbox.write_bundle(repository, "student", 2, seed=7)
    pixels = toolbox.random_pixels(1, seed=1)
    raw = pb.Pixels(data=pixels.tobytes(), count=1, height=6, width=6, channels=3)
    spec = pb.ModelSpec(name="student", alias="stable")
    request = pb.ClassifyRequest(model=spec, images=pb.Images(pixels=raw), scores=True).SerializeToString()
    seeds = {1: 2, 2: 7}

    async def story(served) -> None:
        for version in (1, 2, 1):
            await served.repository.set_alias("student", "stable", version)
            served.repository.get(spec)._batcher._on_the_loop = 60.0
            for _ in range(KNOWN):
                await served.usually(CLASSIFY, request)
            (answer,) = served.at_once(CLASSIFY, request)
            found = pb.ClassifyResponse.FromString(answer)
            assert found.answered_by.version == version
            wanted = toolbox.linear_scores(pixels, seed=seeds[version])[0]
            assert list(found.predictions[0].scores) == pytest.approx(wanted, abs=1e-4)

    serving(story, versions=("all",))
