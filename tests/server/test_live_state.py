"""What is remembered of students that come and go."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pupil_server.live import disagreements
from pupil_server.live.disagreements import MOST_STUDENTS as MOST_IN_MEMORY
from pupil_server.live.disagreements import Disagreements
from pupil_server.live.shadow import Sample
from pupil_server.live.state import MOST_STUDENTS, read_state
from pupil_server.live.watch import Watches
from pupil_server.metrics import Metrics
from pupil_server.settings import ServerSettings

CLASSES = ("cat", "dog")
ONE_OF_EACH = np.float32([[0.9, 0.1], [0.1, 0.9]])


class Student:
    """Version after version of one model, of which nothing is known."""

    def __init__(self, version: int) -> None:
        self.identity = f"{version}:fp32"
        teacher = SimpleNamespace(name="teacher")
        self.facts = SimpleNamespace(
            model="student",
            version=version,
            precision="fp32",
            fingerprint=f"{version:064}",
            teacher=teacher,
            classes=CLASSES,
        )
        self.bundle = SimpleNamespace(facts=self.facts, calibration_set=None, calibration=None)
        self.retired = False

    def in_each_precision(self) -> list["Student"]:
        return [self]


@pytest.fixture
def watches(tmp_path: Path) -> Watches:
    settings = ServerSettings(repository=tmp_path, drift=True, watch_state=tmp_path / "state.json")
    return Watches(settings, lambda spec: pytest.fail("nobody is asked"), Metrics())


def serve(watches: Watches, version: int) -> int:
    """Loads a version, shows its teacher two images more, unloads it; how many those were by now."""
    student = Student(version)
    watches.attach(student)
    agreement = watches.of(student).agreement
    agreement.add(ONE_OF_EACH, ONE_OF_EACH, limit=0.5)
    student.retired = True
    return agreement.images


def test_of_many_students_those_that_were_seen_last_are_remembered(watches: Watches, tmp_path: Path) -> None:
    for version in range(MOST_STUDENTS):
        assert serve(watches, version) == 2
    assert serve(watches, 0) == 4  # the first one has come back
    for version in range(MOST_STUDENTS, MOST_STUDENTS + 10):
        serve(watches, version)
    asyncio.run(watches.save())
    assert len(read_state(tmp_path / "state.json")) == MOST_STUDENTS
    assert serve(watches, 0) == 6
    assert serve(watches, MOST_STUDENTS + 9) == 4
    assert serve(watches, 1) == 2  # it begins anew


def test_each_disagreement_is_kept_once_however_many_students_take_turns(tmp_path: Path) -> None:
    kept = Disagreements(tmp_path, pictures=False)
    pixels = np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1)
    for version in [*range(MOST_IN_MEMORY + 1), 0]:
        kept.add(Student(version), Sample(pixels, (), ONE_OF_EACH), ONE_OF_EACH[::-1], [0, 1])
    files = list(tmp_path.glob("*.jsonl"))
    assert len(files) == MOST_IN_MEMORY + 1
    for file in files:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        assert len({row["sha256"] for row in rows}) == len(rows) == 2
    assert len(kept._known) == MOST_IN_MEMORY


def test_a_full_disk_leaves_no_half_picture_and_is_told_once_until_there_is_room(
    tmp_path: Path, toolbox, monkeypatch, caplog
) -> None:
    now = 1000.0
    monkeypatch.setattr(disagreements, "time", SimpleNamespace(monotonic=lambda: now))
    kept = Disagreements(tmp_path, pictures=True)

    def differ(first: int) -> None:
        pixels = np.arange(first, first + 8, dtype=np.uint8).reshape(2, 2, 2, 1)
        kept.add(Student(1), Sample(pixels, (), ONE_OF_EACH), ONE_OF_EACH[::-1], [0, 1])

    with toolbox.files_no_larger_than(20):
        for first in range(5):
            differ(first)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
    differ(5)  # there is room again, but nobody has looked
    assert caplog.text.count("a disagreement is not kept ([Errno 27] File too large)") == 1
    now += disagreements.PAUSE
    differ(6)
    assert len(list((tmp_path / "images").iterdir())) == 2
    rows = [json.loads(line) for file in tmp_path.glob("*.jsonl") for line in file.read_text().splitlines()]
    assert all((tmp_path / row["image"]).stat().st_size > 20 for row in rows)
    assert len(rows) == 2
