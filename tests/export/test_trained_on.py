"""What a bundle knows of the images behind its model."""

import csv
import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pupil_client.command import main
from pupil_export import ExportError, export
from pupil_export.trained_on import trained_on
from pupil_training.data import read_splits
from pupil_training.loop import train
from pupil_training.recipe import parse_recipe


def digests(digits: Path, *splits: str) -> set[str]:
    """The SHA-256 of every file of these splits, read without the project."""
    files = (file for split in splits for file in (digits / split).rglob("*.png"))
    return {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def marks(found: Iterable[str]) -> list[int]:
    return sorted({int.from_bytes(bytes.fromhex(digest)[:8], "big") for digest in found})


@pytest.fixture
def short(digits: Path, tmp_path: Path):
    """`short("name", group={…})`: the folder of a run of two steps."""

    def make(name: str, **settings: object) -> Path:
        values = {"steps": 2, "eval_every": 1000, "data": {"root": str(digits)}, "model": {"name": "lenet5"}}
        train(parse_recipe({**values, **settings, "name": name}, ""), tmp_path / name)
        return tmp_path / name

    return make


def labels_file(file: Path, images: list[Path]) -> Path:
    rows = [
        {
            "image": str(image),
            "sha256": hashlib.sha256(image.read_bytes()).hexdigest(),
            "label": "3",
            "accepted": number > 0,
        }
        for number, image in enumerate(images)
    ]
    rows[0]["classes"] = list("0123456789")
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_the_bundle_holds_the_hashes_of_the_files_that_training_read_and_of_splits_json(
    runs: Path, repository: Path, digits: Path, name: str
) -> None:
    found = np.load(repository / name / "1/trained_on.npy", allow_pickle=False)
    assert found.dtype == np.dtype("<u8")
    assert found.tolist() == marks(digests(digits, "train", "validation"))
    written = read_splits(runs / name / "splits.json").splits
    assert found.tolist() == marks([*written["train"].sha256, *written["validation"].sha256])
    facts = json.loads((repository / name / "1/bundle.json").read_bytes())
    assert facts["trained_on"] == {"labelled": len(found), "unlabelled": 0, "missing": []}
    assert "trained_on.npy" in facts["files"]


def test_accepted_images_of_a_labels_file_count_and_an_older_run_cannot_name_them(short, digits: Path, tmp_path: Path):
    pool = sorted((digits / "pool").rglob("*.png"))[:5]
    run = short("pseudo", labels={"file": str(labels_file(tmp_path / "labels.jsonl", pool))})
    known = trained_on(run)
    assert known.labelled == digests(digits, "train", "validation")
    assert known.unlabelled == {hashlib.sha256(image.read_bytes()).hexdigest() for image in pool[1:]}
    assert sorted(known.files) == ["trained_on.npy", "trained_on.unlabelled.npy"]
    assert known.missing == ()

    written = json.loads((run / "splits.json").read_bytes())
    del written["pseudo_labelled"]
    (run / "splits.json").write_text(json.dumps(written))
    done = CliRunner().invoke(main, ["export", str(run), "--repository", str(tmp_path / "models")])
    assert done.exit_code == 0, done.stderr
    assert "the bundle does not know the pseudo-labelled images of the run pseudo: pupil certify" in done.stderr
    facts = json.loads((tmp_path / "models/pseudo/1/bundle.json").read_bytes())
    assert facts["trained_on"]["missing"] == ["the pseudo-labelled images of the run pseudo"]


def test_a_pool_that_a_student_follows_its_teacher_on_counts(short, runs: Path, digits: Path) -> None:
    distill = {"teacher": str(runs / "teacher"), "pool": True, "hard_weight": 0}
    assert trained_on(short("follower", distill=distill)).unlabelled == digests(digits, "pool")


def test_the_images_of_a_run_whose_layers_were_taken_over_count_as_far_as_they_are_known(
    short, digits: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    for split in ("train", "validation"):
        shutil.copytree(digits / split, other / split)
        for file in (other / split).rglob("*.png"):
            file.write_bytes(file.read_bytes() + b"of another data set")
    first = short("first", data={"root": str(other), "calibration": 0})
    second = short("second", transfer={"run": str(first)})
    known = trained_on(second)
    assert known.labelled == digests(digits, "train", "validation") | digests(other, "train", "validation")
    shutil.rmtree(first)
    known = trained_on(second)
    assert known.labelled == digests(digits, "train", "validation")
    assert known.missing == ("the images of the run first, whose splits.json is not there or damaged",)


def test_a_calibration_image_that_was_learned_from_ends_the_export(runs: Path, digits: Path, tmp_path: Path) -> None:
    run = shutil.copytree(runs / "teacher", tmp_path / "teacher")
    known = next((digits / "calibration").rglob("*.png"))
    written = json.loads((run / "splits.json").read_bytes())
    written["splits"]["train"]["images"].append("train/again.png")
    written["splits"]["train"]["sha256"].append(hashlib.sha256(known.read_bytes()).hexdigest())
    (run / "splits.json").write_text(json.dumps(written))
    with pytest.raises(
        ExportError, match=r"^the model learned from 1 of the 450 calibration images, as .*\.png: nothing"
    ):
        export(run, tmp_path / "models")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("known", [0, 2])
def test_a_sample_is_certified_by_the_exported_bundle_unless_training_has_seen_some_of_it(
    repository: Path, digits: Path, tmp_path: Path, known: int
) -> None:
    files = [*sorted((digits / "calibration").rglob("*.png")), *sorted((digits / "train").rglob("*.png"))[:known]]
    with (tmp_path / "sample.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([("path", "label"), *((file, file.parent.name) for file in files)])
    asked = ["certify", "--labels", tmp_path / "sample.csv", "--local", repository / "teacher/1", "--precision", 0.5]
    done = CliRunner().invoke(main, [str(word) for word in [*asked, "--output", tmp_path / "certificate.json"]])
    assert (done.exit_code, (tmp_path / "certificate.json").exists()) == ((1, False) if known else (0, True))
    assert ("teacher/1 was trained on 2 of these 452 images: " in done.stderr) == bool(known)
