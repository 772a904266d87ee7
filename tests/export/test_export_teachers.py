"""A bundle as a teacher, and as the teacher that a student's bundle names."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pupil_export.teachers import teacher_of
from pupil_training.runs import load_run
from pupil_training.teachers import load_teachers, logits_of_teacher


def test_a_bundle_teaches_what_the_run_behind_it_does(runs: Path, repository: Path) -> None:
    run = load_run(runs / "teacher")
    images = run.load_split("validation").images
    by_run, by_bundle = load_teachers(
        [str(runs / "teacher"), str(repository / "teacher")], run.model, torch.device("cpu")
    )
    assert torch.allclose(logits_of_teacher(by_run, images), logits_of_teacher(by_bundle, images), atol=1e-4)
    assert by_bundle.temperature == pytest.approx(by_run.temperature)


@pytest.mark.parametrize("where", [{"bundle": "../repository/dean/3"}, {"server": "host:50051"}])
def test_a_student_of_a_bundle_or_a_server_names_what_taught_it(
    runs: Path, repository: Path, where: dict[str, Any]
) -> None:
    student = load_run(runs / "student")
    taught = {"name": "dean", "version": 3, "fingerprint": "f" * 64}
    result = {**student.result, "teachers": [{**taught, **where}]}
    assert teacher_of(replace(student, result=result), repository, None) == taught
