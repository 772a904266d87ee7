"""What a cascade is certified by: the file about just these two graphs, where there is one, or else both bundles."""

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pupil_proto.v1 import inference_pb2 as pb
from pupil_server import cascade_evidence
from pupil_server.call import Call
from pupil_server.cascade import CascadeHandler
from pupil_server.decoding import Decoder
from pupil_server.errors import NoCertificate, NotFound
from pupil_server.images import Limits
from pupil_server.metrics import Metrics
from pupil_server.repository import Repository
from pupil_server.settings import ServerSettings
from pupil_trust.cascade import cascade_certificate, disagreements

STUDENT, TEACHER = pb.ModelSpec(name="student"), pb.ModelSpec(name="teacher")
Ask = Callable[..., Coroutine[Any, Any, pb.ClassifyResponse]]


@pytest.fixture
def asking(repository: Path, toolbox, monkeypatch: pytest.MonkeyPatch):
    """Runs `story(ask, served, metrics)` with both models loaded; `ask(limit=…)` classifies images in a cascade."""
    monkeypatch.setattr(cascade_evidence, "LOOK_AGAIN", 0.0)  # a file that is replaced counts at the next call
    pixels = toolbox.random_pixels(20, seed=8)
    count, height, width, channels = pixels.shape
    sent = pb.Pixels(data=pixels.tobytes(), count=count, height=height, width=width, channels=channels)

    async def whole(story) -> None:
        metrics = Metrics()
        decoder = Decoder(Limits(1_000_000, 1_000_000), threads=1, metrics=metrics)
        served = Repository(ServerSettings(repository=repository, device="cpu"), decoder, metrics)
        await served.load_at_start()
        handler = CascadeHandler(served, metrics)

        async def ask(**cascade) -> pb.ClassifyResponse:
            request = pb.ClassifyRequest(model=STUDENT, images=pb.Images(pixels=sent), cascade=pb.Cascade(**cascade))
            return await handler.classify(request, Call("Classify", time.monotonic() + 20.0))

        await story(ask, served, metrics)
        await served.close()
        decoder.close()

    return lambda story: asyncio.run(whole(story))


def write(repository: Path, *, agree: float, images: int = 1000, **changed: object) -> dict[str, Any]:
    """The file about student/1 and teacher/1, as docs/files.md describes it, and what it says.

    The surest images, a share of `agree`, both answer alike; nobody knows what is on them.
    """
    named = {}
    for role in ("student", "teacher"):
        bundle = json.loads((repository / f"{role}/1/bundle.json").read_text())
        named[role] = {key: bundle[key] for key in ("model", "version", "fingerprint", "precision")}
    alike = np.arange(images) < agree * images
    facts: dict[str, Any] = {
        "format": 1,
        **named,
        "confidence": np.linspace(1, 0.4, images).tolist(),
        "predicted": [0] * images,
        "teacher_predicted": np.where(alike, 0, 1).tolist(),
        "label": None,
        **changed,
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    facts["fingerprint"] = hashlib.sha256(text.encode()).hexdigest()
    pair = " ".join(f"{named[role]['fingerprint']}:{named[role]['precision']}" for role in ("student", "teacher"))
    file = repository / "student/cascades" / f"{hashlib.sha256(pair.encode()).hexdigest()[:32]}.json"
    file.parent.mkdir(exist_ok=True)
    file.with_suffix(".new").write_text(json.dumps(facts))
    file.with_suffix(".new").replace(file)
    return facts


def threshold(facts: dict[str, Any], limit: float) -> float:
    agree = np.equal(facts["predicted"], facts["teacher_predicted"])
    promise = {"goal": "disagreement", "limit": limit, "delta": 0.05, "student": "", "teacher": ""}
    return cascade_certificate(facts["confidence"], disagreements(agree), **promise).threshold


def test_the_file_counts_before_the_bundles_and_a_new_one_at_the_next_call(asking, repository: Path) -> None:
    async def story(ask: Ask, served: Repository, metrics: Metrics) -> None:
        by_bundles = (await ask(limit=0.02)).certificate
        assert by_bundles.calibration == 400
        found = []
        for agree in (0.9, 0.5):
            facts = write(repository, agree=agree)
            certificate = (await ask(limit=0.02)).certificate
            assert certificate.calibration == 1000
            assert certificate.threshold == threshold(facts, 0.02)
            found.append(certificate.threshold)
        assert found[0] < found[1] < 1
        next((repository / "student/cascades").iterdir()).unlink()
        assert (await ask(limit=0.02)).certificate == by_bundles

    asking(story)


def test_without_labels_only_agreement_is_promised(asking, repository: Path) -> None:
    async def story(ask: Ask, served: Repository, metrics: Metrics) -> None:
        write(repository, agree=0.9)
        for goal in (pb.CASCADE_GOAL_WORSE, pb.CASCADE_GOAL_ACCURACY):
            with pytest.raises(NoCertificate, match="without them only disagreement can be promised"):
                await ask(goal=goal)
        write(repository, agree=0.9, label=[0] * 1000)
        assert (await ask(goal=pb.CASCADE_GOAL_WORSE, limit=0.02)).certificate.lost == 0

    asking(story)


@pytest.mark.parametrize(
    "changed",
    [
        {"format": 2},
        {"student": {"fingerprint": "of another graph", "precision": "fp32"}},
        {"teacher": {"fingerprint": "of another graph", "precision": "fp32"}},
        {"predicted": [0]},
        {"label": [0]},
        {"confidence": "sure"},
        {"confidence": [float("inf")] * 1000},
    ],
)
def test_a_file_of_other_graphs_or_a_damaged_one_is_refused_and_not_passed_over(
    asking, repository: Path, changed: dict[str, object]
) -> None:
    async def story(ask: Ask, served: Repository, metrics: Metrics) -> None:
        write(repository, agree=0.9, **changed)
        for _ in range(2):
            with pytest.raises(NoCertificate, match=r"cascades/\w+.json, which says how they do together, cannot be"):
                await ask(limit=0.02)
        write(repository, agree=0.9)
        assert (await ask(limit=0.02)).routes

    asking(story)


def test_a_file_that_was_edited_is_refused(asking, repository: Path) -> None:
    async def story(ask: Ask, served: Repository, metrics: Metrics) -> None:
        facts = write(repository, agree=0.1)
        file = next((repository / "student/cascades").iterdir())
        file.write_text(json.dumps({**facts, "teacher_predicted": facts["predicted"]}))
        with pytest.raises(NoCertificate, match="cannot be used"):
            await ask()

    asking(story)


def test_a_pipe_in_the_place_of_the_file_is_not_waited_for(asking, repository: Path) -> None:
    async def story(ask: Ask, served: Repository, metrics: Metrics) -> None:
        write(repository, agree=0.9)
        file = next((repository / "student/cascades").iterdir())
        file.unlink()
        os.mkfifo(file)
        with pytest.raises(NoCertificate, match="cannot be used"):
            await ask()

    asking(story)


def test_a_teacher_that_is_not_loaded_fails_the_call_with_what_to_load_or_leaves_the_student_alone(
    asking, repository: Path
) -> None:
    async def story(ask: Ask, served: Repository, metrics: Metrics) -> None:
        await served.unload("teacher")
        with pytest.raises(NoCertificate, match=r"its teacher teacher is not loaded.*pupil models load teacher"):
            await ask()
        with pytest.raises(NotFound, match="no model teacher; loaded: student/1"):
            await ask(teacher=TEACHER)
        for named in (None, TEACHER):
            answer = await ask(teacher=named, student_alone=True)
            assert list(answer.routes) == [pb.ROUTE_STUDENT_UNAVAILABLE] * 20
            assert len(answer.predictions) == 20
            assert not answer.HasField("certificate")
            assert not answer.HasField("teacher")
        counted = metrics.registry.get_sample_value("pupil_cascade_routes_total", {"route": "student_unavailable"})
        assert counted == 40
        await served.load("teacher")
        assert (await ask(student_alone=True, limit=0.02)).HasField("certificate")

    asking(story)
