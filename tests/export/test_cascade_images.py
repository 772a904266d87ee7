"""`pupil cascade --images`: both models asked about a user's own images; a server certifies with what they said."""

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pupil_client import Cascade, Client, NotPossible
from pupil_client.command import main
from pupil_client.own_server import running_server
from pupil_trust import marks_of
from pupil_trust.cascade import cascade_certificate, setbacks

LIMIT, DELTA = 0.05, 0.05


def cascade(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["cascade", *map(str, arguments)], prog_name="pupil")


@pytest.fixture
def pair(repository: Path, toolbox, tmp_path: Path) -> tuple[Path, Path]:
    """The digits' student and teacher, who know as little of themselves as imported bundles do."""
    for name in ("student", "teacher"):
        folder = tmp_path / "models" / name / "1"
        shutil.copytree(repository / name / "1", folder)
        for forgotten in ("calibration.json", "trained_on.npy", "trained_on.unlabelled.npy"):
            (folder / forgotten).unlink(missing_ok=True)
        facts = json.loads((folder / "bundle.json").read_text())
        toolbox.seal(folder, {**facts, "calibration": None, "teacher": None, "multiply_adds": None})
    return tmp_path / "models/student/1", tmp_path / "models/teacher/1"


@pytest.fixture
def files(digits: Path) -> list[Path]:
    return sorted((digits / "test").glob("*/*.png"))


@pytest.fixture
def served(pair: tuple[Path, Path], tmp_path: Path) -> Iterator[Client]:
    with running_server(tmp_path / "models", tmp_path / "log") as address, Client(address) as client:
        yield client


def test_a_server_answers_by_what_its_own_answers_about_the_images_prove(
    pair: tuple[Path, Path], files: list[Path], digits: Path, served: Client
) -> None:
    asked = Cascade(LIMIT, "worse", DELTA, teacher="teacher")
    with pytest.raises(NotPossible, match="exported without a calibration set; ask both about images"):
        served.classify(files, model="student", cascade=asked)
    done = cascade(*pair, "--images", digits / "test", "--goal", "worse", "--limit", LIMIT, "--json")
    (row,) = map(json.loads, done.stdout.splitlines())
    assert "whether student/1 learned from these images could not be checked" in done.stderr

    ours, theirs = (served.classify(files, model=name) for name in ("student", "teacher"))
    right, teacher_right = (
        [each.label == file.parent.name for each, file in zip(some, files, strict=True)] for some in (ours, theirs)
    )
    by_hand = cascade_certificate(
        [each.confidence for each in ours], setbacks(right, teacher_right), goal="worse", limit=LIMIT,
        delta=DELTA, student="", teacher="",
    )  # fmt: skip
    assert (row["threshold"], row["lost"], row["images"]) == (by_hand.threshold, by_hand.lost, len(files))
    found = served.classify(files, model="student", cascade=asked)  # the server was running all the time
    assert [each.route for each in found] == [
        "student" if each.confidence >= by_hand.threshold else "teacher" for each in ours
    ]
    assert {each.route for each in found} == {"student", "teacher"}
    served.unload("teacher")
    alone = served.classify(files[:3], model="student", cascade=replace(asked, student_alone=True))
    assert [(each.route, each.label) for each in alone] == [("student_unavailable", each.label) for each in ours[:3]]


def test_images_without_labels_prove_agreement_and_nothing_else(
    pair: tuple[Path, Path], files: list[Path], tmp_path: Path, served: Client
) -> None:
    (tmp_path / "photos").mkdir()
    for number, file in enumerate(files):
        shutil.copy(file, tmp_path / "photos" / f"{number}.png")
    done = cascade(*pair, "--images", tmp_path / "photos", "--goal", "worse")
    assert "images have no label, as " in done.stderr
    assert not (pair[0].parent / "cascades").exists()
    done = cascade(*pair, "--images", tmp_path / "photos", "--picture", tmp_path / "curve.svg")
    assert f"{len(files)} images: no labels, they agree on" in done.stdout
    assert f"as the teacher, of {len(files)} images" in (tmp_path / "curve.svg").read_text()
    (row,) = map(json.loads, cascade(*pair, "--limit", LIMIT, "--json").stdout.splitlines())  # it was written down
    assert row["images"] == len(files)
    assert served.classify(files[:1], model="student", cascade=Cascade(LIMIT, teacher="teacher"))[0].route
    for goal in ("worse", "accuracy"):
        assert "only disagreement can be promised" in cascade(*pair, "--limit", LIMIT, "--goal", goal).stderr
        with pytest.raises(NotPossible, match="only disagreement can be promised"):
            served.classify(files[:1], model="student", cascade=Cascade(LIMIT, goal, teacher="teacher"))


def test_a_table_counts_its_calibration_rows_and_each_image_once(
    pair: tuple[Path, Path], files: list[Path], tmp_path: Path
) -> None:
    rows = [(str(file), file.parent.name, "calibration") for file in files[:200]]
    write_table(tmp_path / "labels.csv", [*rows, rows[0], (str(files[300]), "7", "test")])
    done = cascade(*pair, "--images", tmp_path / "labels.csv", "--goal", "accuracy")
    assert done.stdout.startswith("200 images: student ")
    (written,) = (pair[0].parent / "cascades").iterdir()
    facts = json.loads(written.read_text())
    assert facts["label"] == [int(label) for _, label, _ in rows]
    assert facts["unchecked"] == done.stderr.splitlines()[:2]


@pytest.mark.parametrize("labelled", [True, False])
def test_an_image_that_the_two_see_differently_counts_as_often_as_the_traffic_held_it(
    pair: tuple[Path, Path], files: list[Path], tmp_path: Path, served: Client, labelled: bool
) -> None:
    """Or else traffic that is half of one such picture would be promised to be free of it."""
    ours, theirs = (served.classify(files, model=name) for name in ("student", "teacher"))
    differs = [one.label != other.label for one, other in zip(ours, theirs, strict=True)]
    right = [one.label == file.parent.name for one, file in zip(ours, files, strict=True)]
    agreed = next(place for place, differ in enumerate(differs) if not differ and right[place])
    rows = [(str(file), file.parent.name if labelled else "", "") for file in files]
    for place in (differs.index(True), agreed):
        for copy in range(5):
            shutil.copy(files[place], tmp_path / f"{place}-{copy}.png")
            rows.append((str(tmp_path / f"{place}-{copy}.png"), *rows[place][1:]))
    write_table(tmp_path / "traffic.csv", [*rows, *rows])
    done = cascade(*pair, "--images", tmp_path / "traffic.csv", "--limit", 0.5, "--json")
    row = json.loads(done.stdout)
    assert (row["threshold"], row["lost"], row["images"]) == (0, sum(differs) + 5, len(files) + 5)


def test_what_a_model_learned_from_and_its_bundle_does_not_know_is_told(
    pair: tuple[Path, Path], digits: Path, toolbox
) -> None:
    for folder, digests in zip(pair, (["ff" * 32], []), strict=True):
        if digests:
            np.save(folder / "trained_on.npy", marks_of(digests))
        facts = json.loads((folder / "bundle.json").read_text())
        toolbox.seal(folder, {**facts, "trained_on": {"missing": ["the weights of a zoo"] if digests else []}})
    done = cascade(*pair, "--images", digits / "test")
    assert done.stderr.splitlines()[:2] == [
        "student/1 also learned from the weights of a zoo; these images could not be compared with them",
        "whether teacher/1 learned from these images could not be checked: its bundle does not say",
    ]


def test_images_that_prove_nothing_are_refused_in_a_line(
    repository: Path, digits: Path, pair: tuple[Path, Path], files: list[Path], tmp_path: Path
) -> None:
    known = cascade(repository / "student/1", "--images", digits / "train")
    assert known.stderr.startswith("Error: student/1 learned from ")
    assert "nothing can be proven on them; draw images that no model was trained on" in known.stderr
    table = tmp_path / "labels.csv"
    write_table(table, [(str(files[0]), "seven", "")])
    assert "row 1: its label 'seven' is no class of the models" in cascade(*pair, "--images", table).stderr
    write_table(table, [(str(files[0]), "7", ""), (str(files[0]), "1", "")])
    assert "are the same image, labelled '7' and '1'" in cascade(*pair, "--images", table).stderr
    write_table(table, [(str(tmp_path / "nowhere.png"), "7", "")])
    assert "nowhere.png: No such file or directory" in cascade(*pair, "--images", table).stderr
    (tmp_path / "broken.png").write_bytes(files[0].read_bytes()[:60])
    write_table(table, [(str(tmp_path / "broken.png"), "7", "")])
    assert "broken.png: not a readable image" in cascade(*pair, "--images", table).stderr
    (tmp_path / "nothing").mkdir()
    assert "no images" in cascade(*pair, "--images", tmp_path / "nothing").stderr
    assert not (pair[0].parent / "cascades").exists()


def test_each_precision_of_both_has_its_own_answers(compressed: Path, digits: Path, tmp_path: Path) -> None:
    copied = tmp_path / "teacher/1"
    shutil.copytree(compressed, copied)
    words = (copied, copied, "--images", digits / "test", "--json", "--limit", LIMIT)
    fingerprint = json.loads((copied / "bundle.json").read_text())["fingerprint"]
    for ours, theirs in (("int8", "fp32"), ("fp16", "int8")):
        done = cascade(*words, "--precision", ours, "--teacher-precision", theirs)
        row = json.loads(done.stdout)
        assert (row["student"], row["teacher"]) == (f"{fingerprint}:{ours}", f"{fingerprint}:{theirs}")
        assert row["time"] > 0
    assert len(list((copied.parent / "cascades").iterdir())) == 2


def test_a_changed_graph_or_a_changed_file_is_not_believed(pair: tuple[Path, Path], digits: Path) -> None:
    assert cascade(*pair, "--images", digits / "test").exit_code == 0
    (written,) = (pair[0].parent / "cascades").iterdir()
    facts = json.loads(written.read_text())
    written.write_text(json.dumps({**facts, "predicted": facts["teacher_predicted"]}))
    assert (
        "cannot be read (it was changed, or is of another format); give the images again with --images"
        in cascade(*pair).stderr
    )
    graph = pair[1] / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    done = cascade(*pair, "--images", digits / "test")
    assert "teacher/1/model.onnx: changed since it was exported" in done.stderr
    (pair[1] / "bundle.json").write_text("{}")
    assert "teacher/1/bundle.json: it is not as it was exported" in cascade(*pair).stderr


def write_table(file: Path, rows: list[tuple[str, str, str]]) -> None:
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([("path", "label", "split"), *rows])
