"""`pupil certify` with a person's labels against the real server, and `pupil label` under what it wrote."""

import csv
import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from pupil_client.command import main
from pupil_client.labelling.certified import signature
from pupil_client.labelling.rows import read_rows
from pupil_trust import Calibration, fdr_threshold, fixed_grid, pac_certificate, per_class_certificates, pool_grid

IMAGES = 400
WRONG = (3, 50, 51, 200)  # the images on which the model's answer is not the person's


@pytest.fixture(scope="module")
def real(toolbox, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "repository"
    toolbox.write_bundle(folder, "teacher", seed=1)
    toolbox.write_bundle(folder, "student", seed=2)
    with toolbox.run_server(folder) as running:
        yield running


class Sample:
    """Labelled images in a folder, and what the model must say about them, worked out without it."""

    def __init__(self, toolbox, folder):
        pixels = toolbox.random_pixels(IMAGES, seed=21)
        scores = toolbox.linear_scores(pixels, seed=1)
        self.confidence, self.predicted = scores.max(axis=1), scores.argmax(axis=1)
        label = self.predicted.copy()
        label[list(WRONG)] = (label[list(WRONG)] + 1) % len(toolbox.classes)
        self.correct = label == self.predicted
        self.rows = [(f"{number:03}.png", toolbox.classes[label[number]]) for number in range(IMAGES)]
        for (name, _), image in zip(self.rows, pixels, strict=True):
            (folder / name).write_bytes(toolbox.png(image))

    def calibration(self, grid):
        return Calibration(self.confidence, self.correct, grid)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sample")


@pytest.fixture(scope="module")
def sample(toolbox, folder):
    return Sample(toolbox, folder)


@pytest.fixture(scope="module")
def pool(toolbox, folder):
    np.save(folder / "pool.npy", toolbox.random_pixels(500, seed=22))
    return folder / "pool.npy"


def table(file, rows, heads=("path", "label")):
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([heads, *rows])
    return file


def pupil(*words):
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture
def certify(real, folder, sample, tmp_path):
    """Runs it over rows in the folder of the images, and gives how it ended and the file that it wrote."""

    def run(*words, rows=sample.rows, model="teacher", output=tmp_path / "certificate.json"):
        labels = rows if isinstance(rows, Path) else table(folder / f"{tmp_path.name}.csv", rows)
        asked = ("--model", model, "--server", real.address) if model else ()
        done = pupil(
            "certify", "--labels", labels, "--output", output, "--precision", 0.9, "--delta", 0.1, *asked, *words
        )
        return done, output

    return run


@pytest.fixture
def label(real, pool, tmp_path):
    def run(*words, source=pool, output=tmp_path / "labels.jsonl", model="teacher"):
        asked = ("--model", model, "--server", real.address, "--output", output)
        return pupil("label", source, *asked, *words), output

    return run


def test_a_certificate_of_ones_own_sample_is_that_of_the_models_answers_and_decides_the_labels(
    certify, label, sample, pool, toolbox
):
    done, file = certify("--pool", pool)
    assert done.exit_code == 0, done.stderr
    scores = toolbox.linear_scores(np.load(pool), seed=1).max(axis=1)
    wanted = pac_certificate(sample.calibration(pool_grid(scores)), precision=0.9, delta=0.1, fingerprint="")
    facts = json.loads(file.read_text())
    found = facts["certificate"]
    assert found["threshold"] == pytest.approx(wanted.threshold)
    assert [found[name] for name in ("guarantee", "calibration", "accepted", "wrong", "p_value")] == [
        "pac", IMAGES, wanted.accepted, wanted.wrong, wanted.p_value]  # fmt: skip
    assert f"{IMAGES} labelled images, {len(WRONG)} of them wrong" in done.stderr
    assert done.stderr.endswith(f"pupil label SOURCE --model teacher --certificate {file} --output labels.parquet\n")

    done, output = label("--certificate", file)
    assert done.exit_code == 0, done.stderr
    rows = list(read_rows(output))
    assert [row["accepted"] for row in rows] == [row["confidence"] >= found["threshold"] for row in rows]
    assert rows[7]["precision"] == "fp32"
    certificate = rows[7]["certificate"]
    assert certificate["signature"] == facts["signature"]
    assert certificate["shift_p_value"] > 0.001
    assert {name: certificate[name] for name in found} == found


def test_each_class_keeps_its_own_promise(certify, label, sample, toolbox):
    done, file = certify("--guarantee", "per-class", "--precision", 0.8)
    assert done.exit_code == 0, done.stderr
    wanted = per_class_certificates(
        sample.calibration(fixed_grid()), sample.predicted, 8, precision=0.8, delta=0.1, fingerprint="x"
    )
    expected = {name: each.threshold for name, each in zip(toolbox.classes, wanted, strict=True)
                if not isinstance(each, ValueError)}  # fmt: skip
    assert 0 < len(expected) < len(toolbox.classes)
    found = json.loads(file.read_text())["by_class"]
    assert {name: each["threshold"] for name, each in found.items()} == expected
    done, output = label("--certificate", file)
    assert "accepted at precision ≥ 0.8 with confidence 0.9 in each class, " in done.stderr
    rows = list(read_rows(output))
    assert [row["accepted"] for row in rows] == [row["confidence"] >= expected.get(row["label"], 2.0) for row in rows]
    assert any(row["accepted"] for row in rows)


def test_under_fdr_the_labelled_pool_is_ranked_by_the_sample(certify, label, sample, pool, toolbox):
    done, file = certify("--guarantee", "fdr", "--precision", 0.97)
    assert done.exit_code == 0, done.stderr
    scores = toolbox.linear_scores(np.load(pool), seed=1).max(axis=1)
    threshold = fdr_threshold(sample.calibration(fixed_grid()), scores, precision=0.97)
    rows = list(read_rows(label("--certificate", file)[1]))
    assert sum(row["accepted"] for row in rows) == int((scores >= threshold - 1e-6).sum())


def test_parquet_with_the_images_inside_and_json_lines_give_the_same_certificate(certify, folder, sample, tmp_path):
    read = [(folder / name).read_bytes() for name, _ in sample.rows]
    labels = [label for _, label in sample.rows]
    parquet.write_table(pyarrow.table({"image": read, "label": labels}), tmp_path / "inside.parquet")
    lines = [json.dumps({"image": str(folder / name), "label": label}) for name, label in sample.rows]
    (tmp_path / "lines.jsonl").write_text("\n".join(lines))
    found = [json.loads(certify(rows=rows)[1].read_text())
             for rows in (sample.rows, tmp_path / "inside.parquet", tmp_path / "lines.jsonl")]  # fmt: skip
    assert found[0]["certificate"] == found[1]["certificate"] == found[2]["certificate"]
    assert found[0]["sample"] == found[1]["sample"] == found[2]["sample"]


def test_an_image_that_is_there_twice_counts_once_and_only_the_calibration_split_does(certify, folder, sample):
    once = json.loads(certify()[1].read_text())
    rows = [
        *((*row, "calibration") for row in [*sample.rows, *sample.rows[:50]]),
        (sample.rows[0][0], "class-h", "train"),
    ]
    again = certify(rows=table(folder / "split.csv", rows, heads=("path", "label", "split")))[1]
    assert json.loads(again.read_text())["sample"] == once["sample"]


def test_copies_under_other_names_count_where_the_model_is_wrong_on_them(certify, folder, sample):
    """Or else a pool that is full of one wrong image could be promised to be right."""
    copies = []
    for number in (WRONG[0], WRONG[0] + 1):  # the second one is right
        name, label = sample.rows[number]
        for place in range(5):
            (folder / f"copy-{place}-{name}").write_bytes((folder / name).read_bytes())
            copies.append((f"copy-{place}-{name}", label))
    done, _ = certify("--precision", 0.8, rows=[*sample.rows, *copies, *copies])
    assert f"on {IMAGES + 5} labelled images, {len(WRONG) + 5} of them wrong" in done.stderr


def test_what_must_not_be_certified_is_refused_in_one_line(certify, folder, sample, tmp_path, toolbox):
    name, label = sample.rows[0]
    other = next(each for each in toolbox.classes if each != label)
    (tmp_path / "run").mkdir()
    seen = sha256((folder / name).read_bytes()).hexdigest()
    (tmp_path / "run/splits.json").write_text(json.dumps({"splits": {"train": {"sha256": [seen]}}}))
    (folder / "broken.png").write_bytes(b"\x89PNG")
    (tmp_path / "labels.jsonl").write_text(json.dumps({"image": name, "label": label, "accepted": True}))
    for words, rows, said in (
        ((), [*sample.rows, (name, other)], f"are the same image, labelled '{label}' and '{other}'"),
        (("--run", tmp_path / "run"), sample.rows, f"teacher/1 was trained on 1 of these {IMAGES} images: "),
        (("--run", tmp_path), sample.rows, "splits.json"),
        ((), [(name, "zebra")], "its label 'zebra' is no class of the model (class-a, "),
        ((), [("broken.png", label)], "broken.png"),
        ((), sample.rows[4:14], "needs at least 22 accepted calibration images without an error, has 10"),
        (("--precision", 0.999), sample.rows, "; precision 0."),
        (("--guarantee", "per-class"), sample.rows[4:14], "no class: class-a: precision 0.9 at delta 0.0125 needs"),
        (("--guarantee", "fdr"), sample.rows[4:8], "needs at least 9 calibration images, has 4"),
        ((), tmp_path / "labels.jsonl", "a person has to label a sample"),
    ):
        (tmp_path / "certificate.json").unlink(missing_ok=True)
        done, file = certify(*words, rows=rows)
        assert done.exit_code == 1
        assert said in done.stderr.splitlines()[-1]
        assert not file.exists()


def test_on_images_of_no_known_class_the_model_is_wrong(certify, sample):
    rows = [(name, "zebra" if number < 30 else label) for number, (name, label) in enumerate(sample.rows)]
    done, file = certify("--others", "--precision", 0.8, rows=rows)
    assert done.exit_code == 0, done.stderr
    assert f"{len(WRONG) + 30 - 1} of them wrong" in done.stderr
    assert json.loads(file.read_text())["sample"]["label"].count(-1) == 30


def test_a_certificate_for_another_model_or_one_that_was_changed_is_refused(certify, label, real, tmp_path):
    _, file = certify()
    facts = json.loads(file.read_text())
    assert facts["signature"] == signature(facts)
    done, output = label("--certificate", file, model="student")
    assert done.exit_code == 1
    assert "ask for --model teacher/1:fp32, or make another one with pupil certify" in done.stderr
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps({**facts, "certificate": {**facts["certificate"], "wrong": 0}}))
    assert "changed since it was written" in label("--certificate", changed)[0].stderr
    assert "not a certificate" in label("--certificate", table(tmp_path / "x.json", []))[0].stderr
    assert "give the one or the other" in label("--certificate", file, "--precision", 0.9)[0].stderr
    assert not output.exists()
