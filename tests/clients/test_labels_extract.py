"""Images out of a tar and an array, seen through Pillow."""

import hashlib
import io
import json
import os
import shlex
import sqlite3
import tarfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pupil_client.command import main
from pupil_client.labelling import exports
from pupil_client.labelling.extract import Extracted, extract
from pupil_client.labelling.review import choose
from pupil_client.labelling.rows import read_rows
from pupil_client.labelling.sources import open_source

CLASSES = ["cat", "dog"]
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)
SURE = (0.95, 0.6, 0.7)  # of each image's best class


def pupil(*arguments):
    return CliRunner().invoke(main, ["labels", *map(str, arguments)], prog_name="pupil", catch_exceptions=False)


def row(image, sure, **changes):
    about = {"image": image, "sha256": "", "label": "cat", "confidence": sure, "accepted": sure > 0.9,
             "scores": [sure, 1 - sure], "classes": None, "error": None}  # fmt: skip
    return {**about, **changes}


@pytest.fixture
def sources(tmp_path):
    np.save(tmp_path / "pool.npy", PIXELS)
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for number, pixels in enumerate(PIXELS):
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "BMP")
            member = tarfile.TarInfo(f"{number}.jpg")  # a name that lies
            member.size = file.tell()
            file.seek(0)
            tar.addfile(member, file)
    return [tmp_path / "pool.npy", tmp_path / "shard.tar"]


@pytest.fixture
def labels(sources, tmp_path):
    """A row an image, the first of which names the classes, and one of an image that is nowhere."""
    array, tar = sources
    rows = [row(f"{array}#{number}", sure) for number, sure in enumerate(SURE)]
    rows += [row(f"{tar}/{number}.jpg", sure - 0.01) for number, sure in enumerate(SURE)]
    rows += [row(f"{tar}/9.jpg", 0.5)]
    rows[0]["classes"] = CLASSES
    file = tmp_path / "labels.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return file


def test_the_doubtful_become_files_with_the_same_pixels_the_most_doubtful_first(labels, sources, tmp_path):
    done = pupil("extract", labels, *sources, "--output", tmp_path / "review")
    assert (done.exit_code, done.stderr) == (
        0,
        "4 images, 1 rows left out: not in these sources, or not readable\n",
    )
    rows = [json.loads(line) for line in (tmp_path / "review/labels.jsonl").read_text().splitlines()]
    assert [each["confidence"] for each in rows] == [0.59, 0.6, 0.69, 0.7]
    assert [Path(each["image"]).suffix for each in rows] == [".bmp", ".png", ".bmp", ".png"]
    for each, number in zip(rows, (1, 1, 2, 2), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(each["image"])), PIXELS[number])
        assert each["sha256"] == hashlib.sha256(Path(each["image"]).read_bytes()).hexdigest()
    assert [each["classes"] for each in rows] == [CLASSES, None, None, None]


def test_what_was_extracted_is_exported_like_files(labels, sources, tmp_path):
    assert pupil("extract", labels, *sources, "--only", "accepted", "--output", tmp_path / "sure").exit_code == 0
    done = pupil("export", tmp_path / "sure/labels.jsonl", "--to", "folders", "--output", tmp_path / "out")
    assert done.stderr == "2 rows\n"
    assert sorted(file.suffix for file in (tmp_path / "out/cat").iterdir()) == [".bmp", ".png"]


def test_label_names_the_command_that_takes_its_abstentions_out(server, tmp_path):
    """The fake server sees a fox, which it abstains from, in a tar whose images nobody can look at."""
    with tarfile.open(tmp_path / "shard 1.tar", "w") as tar:
        member = tarfile.TarInfo("fox.jpg")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"fox"))
    output, shard, review = (tmp_path / name for name in ("labels.jsonl", "shard 1.tar", "review"))
    words = [
        "label",
        shard,
        "--guarantee",
        "fixed",
        "--threshold",
        0.99,
        "--model",
        "student",
        "--output",
        output,
        "--server",
        server.address,
    ]
    told = CliRunner().invoke(main, [str(word) for word in words]).stderr.splitlines()[-1]
    what, _, command = told.partition(": ")
    assert what == "the abstentions as files to look at"
    assert shlex.split(command) == ["pupil", "labels", "extract", str(output), str(shard), "--output", "review"]
    assert pupil(*shlex.split(command)[2:-1], review).stderr == "1 images\n"


def test_where_no_row_is_wanted_it_is_told_which_would_be(labels, sources, tmp_path):
    """Not that the sources are wrong."""
    rows = [json.loads(line) for line in labels.read_text().splitlines()]
    labels.write_text("".join(json.dumps({**each, "accepted": True}) + "\n" for each in rows))
    done = pupil("extract", labels, *sources, "--output", tmp_path / "review")
    assert done.stderr == "Error: no row is among those asked for; --only all takes every one\n"
    done = pupil("export", labels, "--to", "label-studio", "--output", tmp_path / "review.json")
    assert done.stderr == "0 rows: none is abstained, --only all takes every one\n"


def test_other_sources_than_those_that_were_labelled_are_refused_and_leave_nothing(labels, tmp_path):
    np.save(tmp_path / "other.npy", PIXELS)
    done = pupil("extract", labels, tmp_path / "other.npy", "--output", tmp_path / "review")
    assert done.exit_code == 1
    assert done.stderr == "Error: no row is about an image of these sources; name those that were labelled\n"
    assert not list(tmp_path.glob("*review*"))


class Scores(list):
    """Knows how many of its kind there are, and were at most."""

    now = most = 0

    def __init__(self, scores):
        super().__init__(scores)
        Scores.now += 1
        Scores.most = max(Scores.most, Scores.now)

    def __del__(self):
        Scores.now -= 1


@pytest.mark.parametrize("only", ["all", "abstained"])
def test_there_are_never_more_rows_in_memory_than_are_written_at_once(tmp_path, monkeypatch, only):
    """The doubtful ones, which are put in order, neither."""
    monkeypatch.setattr(exports, "ROWS", 8)
    np.save(tmp_path / "pool.npy", np.zeros((100, 2, 2), np.uint8))

    def rows():
        for number in range(100):
            yield row(f"{tmp_path}/pool.npy#{number}", 0.5) | {"scores": Scores([0.5, (number * 7 % 100) / 256])}

    monkeypatch.setattr(Scores, "most", 0)
    done = extract(lambda: choose(rows(), only), open_source(tmp_path / "pool.npy"), tmp_path / "out")
    written = [256 * each["scores"][1] for each in read_rows(tmp_path / "out/labels.jsonl")]
    there = [number * 7 % 100 for number in range(100)]
    assert written == (there if only == "all" else sorted(there, reverse=True))
    assert (done, Scores.now) == (Extracted(100, 0), 0)
    assert Scores.most <= 2 * 8 + 2  # a batch goes when the next one is read


def test_the_order_is_the_rows_own_and_an_image_that_two_are_about_comes_once(labels, sources, tmp_path):
    """Beside them lies one whose name is not UTF-8, which no row can be about."""
    lines = labels.read_text().splitlines(keepends=True)
    labels.write_text("".join([*reversed(lines), lines[1]]))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / os.fsdecode(b"\xff.png")).write_bytes(b"")
    done = pupil("extract", labels, *sources, tmp_path / "photos", "--only", "all", "--output", tmp_path / "out")
    assert (done.exit_code, done.stderr) == (0, "6 images, 1 rows left out: not in these sources, or not readable\n")
    rows = list(read_rows(tmp_path / "out/labels.jsonl"))
    assert [each["confidence"] for each in rows] == [0.69, 0.59, 0.94, 0.7, 0.6, 0.95]


def test_a_full_disk_under_the_temporary_file_is_told_in_one_line(labels, sources, tmp_path, monkeypatch):
    class Full(sqlite3.Connection):
        def executemany(self, *_):
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite3, "connect", lambda _: Full(":memory:"))
    done = pupil("extract", labels, *sources, "--output", tmp_path / "out")
    told = "a temporary file: database or disk is full; TMPDIR may name another folder"
    assert (done.exit_code, done.stderr) == (1, f"Error: {told}\n")
    assert not list(tmp_path.glob("*out*"))
