"""A pool that is not like the calibration images: its certificate is withheld, and what may be done then."""

import csv
import re

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pupil_client.command import main
from pupil_client.labelling.evidence import Answers, Verdict
from pupil_client.labelling.rows import read_rows
from pupil_client.labelling.shift import LEVEL, Withheld, looked_at, require_comparable
from pupil_client.results import Certificate

IMAGES = 600
VERDICT = Verdict(Certificate("pac", 0.9, 0.1, 0.5, 400, 300, 2, 0.01, 0.75, "9f"))


@pytest.fixture(scope="module")
def dark(toolbox, tmp_path_factory):
    """The calibration images' kind at half their brightness."""
    file = tmp_path_factory.mktemp("dark") / "pool.npy"
    np.save(file, toolbox.random_pixels(IMAGES, seed=31) // 2)
    return file


@pytest.fixture
def label(real, dark, tmp_path):
    def run(*words):
        asked = ("--model", "teacher", "--server", real.address, "--output", tmp_path / "labels.jsonl")
        return CliRunner().invoke(main, [str(word) for word in ("label", dark, *asked, *words)])

    return run


@pytest.mark.parametrize("guarantee", ["pac", "fdr"])
def test_a_promise_about_darker_images_is_withheld_and_no_label_is_written(label, tmp_path, guarantee):
    done = label("--precision", 0.9, "--guarantee", guarantee)
    assert done.exit_code == 1
    assert "the certificate is withheld: these 600 images are not like the calibration images" in done.stderr
    assert "(pupil labels sample draws one), make a certificate from it with pupil certify" in done.stderr
    assert not (tmp_path / "labels.jsonl").exists()


def test_without_a_promise_there_is_nothing_to_withhold(label):
    assert label("--guarantee", "fixed", "--threshold", 0.2).exit_code == 0


def test_who_allows_the_shift_goes_on_from_the_scores_that_are_there_and_every_label_says_so(real, label, tmp_path):
    label("--precision", 0.9)
    shards = {file: file.stat().st_mtime_ns for file in (tmp_path / "labels.jsonl.job/shards").iterdir()}
    assert len(shards) == 2
    done = label("--precision", 0.9, "--allow-shift")
    assert done.exit_code == 0, done.stderr
    rows = list(read_rows(tmp_path / "labels.jsonl"))
    assert len(rows) == IMAGES
    said = r"accepted at precision ≥ 0.9 with confidence 0.95 for images like the calibration images, and these images "
    assert re.search(rf"600 images: [\d,]+ {said}are not \(p = \d+e-\d+\)", done.stderr)
    assert all(row["certificate"]["shift_allowed"] and row["certificate"]["shift_p_value"] < LEVEL for row in rows)


def test_a_sample_of_the_pool_itself_gives_its_labels_back_their_promise(real, dark, label, toolbox, tmp_path):
    assert label("--precision", 0.9).exit_code == 1
    words = ("labels", "sample", dark, "--images", 200, "--output", tmp_path / "sample")
    assert CliRunner().invoke(main, list(map(str, words))).exit_code == 0
    table = tmp_path / "sample/sample.csv"
    with table.open(newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    seen = np.array([np.asarray(Image.open(table.parent / path)) for path in paths])
    best = toolbox.linear_scores(seen, seed=1).argmax(axis=1)
    with table.open("w", newline="") as file:
        rows = ((path, toolbox.classes[place]) for path, place in zip(paths, best, strict=True))
        csv.writer(file).writerows([("path", "label"), *rows])
    words = ("certify", "--labels", table, "--model", "teacher", "--server", real.address, "--pool", dark,
             "--precision", 0.9, "--output", tmp_path / "certificate.json")  # fmt: skip
    assert CliRunner().invoke(main, list(map(str, words))).exit_code == 0
    done = label("--certificate", tmp_path / "certificate.json")
    assert done.exit_code == 0, done.stderr
    row = next(read_rows(tmp_path / "labels.jsonl"))
    assert row["certificate"]["calibration"] == 200
    assert not row["certificate"]["shift_allowed"]


def test_the_last_digits_of_a_confidence_are_no_shift():
    """Most answers of a good model lie so near 1 that rounding alone would tell two batches of them apart."""
    ours = Answers([1.0] * 500, [250, 250])
    theirs = Answers([float(np.float32(1 - 6e-8))] * 500, [250, 250])
    assert looked_at(VERDICT, ours, theirs, allowed=False).about == {"shift_p_value": 1.0, "shift_allowed": False}


def test_honest_pools_are_seldom_refused():
    """Independent of the server: 100 draws of both from one source, of which 1 in 1,000 may be refused."""
    random, refused = np.random.default_rng(4), 0
    for _ in range(100):
        pairs = [(random.beta(9, 1, n), np.bincount(random.integers(0, 10, n), minlength=10)) for n in (450, 2000)]
        ours, theirs = (Answers(confidence.tolist(), counts.tolist()) for confidence, counts in pairs)
        try:
            looked_at(VERDICT, ours, theirs, allowed=False)
        except Withheld:
            refused += 1
    assert refused <= 2


def test_a_server_that_does_not_tell_is_refused_before_the_work():
    with pytest.raises(Withheld, match="too old to say what its calibration images are like"):
        require_comparable(None, allowed=False)
    require_comparable(None, allowed=True)
    assert looked_at(VERDICT, None, Answers([0.5], [1, 0]), allowed=True).about == {"shift_allowed": True}


def test_a_pool_without_a_readable_image_differs_from_nothing():
    assert looked_at(VERDICT, Answers([0.5], [1, 0]), Answers([], [0, 0]), allowed=False) == VERDICT
