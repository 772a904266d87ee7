"""`pupil cascade`: what it says of a pair of bundles, beside the server's own certificate and plain counting."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pupil_client import Cascade, Client, NotPossible
from pupil_client.command import main
from pupil_client.own_server import running_server
from pupil_export.bundle_graph import BundleGraph
from pupil_export.pair import Pair


def cascade(*arguments: object):
    return CliRunner().invoke(main, ["cascade", *map(str, arguments)], prog_name="pupil")


def test_every_number_is_that_of_counting_the_calibration_images(repository: Path) -> None:
    done = cascade(repository / "student/1", "--goal", "worse", "--limit", "0.05", "--json")
    (row,) = map(json.loads, done.stdout.splitlines())
    ours, theirs = (
        json.loads((repository / f"{name}/1/calibration.json").read_text()) for name in ("student", "teacher")
    )
    label, confidence = np.array(ours["label"]), np.array(ours["confidence"])
    student, teacher = (np.array(each["predicted"]) == label for each in (ours, theirs))
    answers = confidence >= row["threshold"]
    assert 0 < answers.mean() < 1
    assert row["lost"] == (answers & ~student & teacher).sum()
    assert row["deferred"] == pytest.approx(1 - answers.mean())
    assert row["right"] == np.where(answers, student, teacher).mean()
    costs = [
        json.loads((repository / f"{name}/1/bundle.json").read_text())["multiply_adds"]
        for name in ("student", "teacher")
    ]
    assert row["cost"] == pytest.approx(costs[0] / costs[1] + row["deferred"])


def test_the_server_answers_by_the_thresholds_that_the_command_prints(
    repository: Path, digits: Path, tmp_path: Path
) -> None:
    pair = Pair.of_calibration(*(BundleGraph.read(repository / name) for name in ("student/1", "teacher/1")))
    threshold = pair.certificate("disagreement", 0.05, 0.05).threshold
    images = sorted((digits / "test").glob("*/*.png"))
    with running_server(repository, tmp_path / "log") as address, Client(address) as client:
        alone = client.classify(images, model="student")
        found = client.classify(images, model="student", cascade=Cascade(0.05))
        with pytest.raises(NotPossible, match="needs at least"):
            client.classify(images[:1], model="student", cascade=Cascade(0.001))
    assert [each.route for each in found] == [
        "student" if each.confidence >= threshold else "teacher" for each in alone
    ]
    assert {each.route for each in found} == {"student", "teacher"}


def test_the_table_says_what_a_limit_would_take_and_the_picture_is_written(repository: Path, tmp_path: Path) -> None:
    done = cascade(repository / "student", "--limit", "0.001", "--limit", "0.05", "--picture", tmp_path / "curve.svg")
    assert done.exit_code == 0, done.stderr
    heads, rows = done.stdout.splitlines()[1], done.stdout.splitlines()[3:]
    assert "student answers from" in heads
    assert rows[0].split() == ["0.10%", *["-"] * 6]
    assert rows[1].startswith("5.00%")
    assert "0.10%: a loss of at most 0.001 at delta 0.05 needs at least 2995 calibration images" in done.stderr
    drawn = (tmp_path / "curve.svg").read_text()
    assert "<!-- 5% -->" in drawn  # matplotlib draws letters, and says in a comment which
    assert "multiply-adds, of the teacher" in drawn


def test_bundles_that_prove_nothing_together_are_refused_in_a_line(
    repository: Path, compressed: Path, tmp_path: Path, toolbox
) -> None:
    alone = cascade(repository / "teacher/1")
    assert alone.stderr.endswith("names no teacher's bundle; say which it is after the student's\n")
    other = tmp_path / "teacher/1"
    shutil.copytree(repository / "teacher/1", other)
    said = json.loads((other / "calibration.json").read_text())
    for other_set in ({"sha256": "of other images"}, {"label": [0], "predicted": [0]}):
        (other / "calibration.json").write_text(json.dumps({**said, **other_set}))
        toolbox.seal(other, json.loads((other / "bundle.json").read_text()))
        assert "calibrated on different images" in cascade(repository / "student/1", other).stderr
    assert "was not exported in int8" in cascade(repository / "student/1", "--precision", "int8").stderr
    assert cascade(compressed, repository / "teacher/1", "--precision", "int8").exit_code == 0
    told = cascade(repository / "student/1", "--picture", tmp_path / "nowhere/curve.svg")
    assert (told.stdout, "nowhere/curve.svg: its folder does not exist" in told.stderr) == ("", True)
    assert "a bundle is wanted" in cascade(repository / "student/1", tmp_path / "nobody").stderr
