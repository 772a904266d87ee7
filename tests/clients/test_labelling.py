"""What the labelling job against the real `pupil serve` writes, and what it says where it cannot."""

import csv
import json
import tarfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from pupil_client import NotCertified
from pupil_client.command import main
from pupil_client.labelling.job import run
from pupil_client.labelling.promise import Promise
from pupil_client.labelling.rows import COLUMNS, read_rows
from pupil_client.labelling.sources import open_source
from pupil_training.data.labels import read_pseudo_labels
from pupil_training.settings import LabelsSettings


def ignore(images):
    pass


def rows_of(file):
    return list(read_rows(file))


def test_broken_images_are_rows_with_an_error_in_their_place(toolbox, make_job, pool, tmp_path):
    client, job = make_job
    photos = open_source(pool / "photos")
    tally = run(client, job(source=photos, promise=Promise("none")), ignore)
    rows = rows_of(tmp_path / "labels.jsonl")
    expected = toolbox.linear_scores(toolbox.random_pixels(40, seed=6), seed=1)
    assert [Path(row["image"]).name for row in rows] == [f"{number:02}.png" for number in range(40)]
    assert [number for number, row in enumerate(rows) if row["error"]] == [7, 8]
    assert (tally.accepted, tally.abstained, tally.skipped) == (38, 0, 2)
    good = [number for number in range(40) if number not in (7, 8)]
    np.testing.assert_allclose([rows[number]["scores"] for number in good], expected[good], atol=1e-5)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_each_format_holds_the_same_rows(make_job, pool, tmp_path, suffix):
    client, job = make_job
    run(client, job(source=open_source(pool / "photos"), output=tmp_path / "plain.jsonl"), ignore)
    output = tmp_path / f"labels.{suffix}"
    run(client, job(source=open_source(pool / "photos"), output=output), ignore)
    plain = rows_of(tmp_path / "plain.jsonl")
    assert rows_of(output) == plain
    assert all(tuple(row) == COLUMNS for row in plain)
    learnt = read_pseudo_labels(LabelsSettings(file=output, kind="soft"), client.model("teacher").classes, {})
    accepted = [row for row in plain if row["accepted"]]
    assert [picture.name for picture in learnt.pictures] == [row["image"] for row in accepted]
    np.testing.assert_allclose(learnt.targets, [row["scores"] for row in accepted])
    if suffix == "parquet":
        table = parquet.read_table(output)
        assert table.column_names == list(COLUMNS)
        assert table["confidence"].to_pylist() == [row["confidence"] for row in plain]
    if suffix == "csv":
        with output.open(newline="") as file:
            cells = list(csv.DictReader(file))
        assert [json.loads(cell["accepted"]) for cell in cells] == [row["accepted"] for row in plain]


def test_the_accepted_keep_the_certificate_and_those_of_fdr_are_the_servers_own(make_job, pool, tmp_path):
    client, job = make_job
    images = list(np.load(pool / "pool.npy"))
    for promise in (Promise("pac", 0.9, 0.1), Promise("fdr", 0.9), Promise("fixed", threshold=0.3)):
        wanted = list(client.pseudo_label(images, model="teacher", guarantee=promise.guarantee,
                                          precision=0.9, delta=0.1, threshold=promise.threshold))  # fmt: skip
        run(client, job(promise=promise), ignore)
        rows = rows_of(tmp_path / "labels.jsonl")
        assert [row["accepted"] for row in rows] == [each.accepted for each in wanted]
        found, certificate = rows[0]["certificate"], wanted[0].certificate
        assert {name: found[name] for name in certificate.__slots__} == asdict(certificate)


def test_what_cannot_be_certified_is_refused_before_any_work(make_job, tmp_path):
    client, job = make_job
    with pytest.raises(NotCertified, match=r"needs at least .*; precision 0\.\d+ can be promised, with \d+% of the"):
        run(client, job(promise=Promise("pac", 0.9999)), ignore)
    with pytest.raises(NotCertified, match="needs at least"):
        run(client, job(promise=Promise("fdr", 0.9999)), ignore)
    assert list(tmp_path.iterdir()) == []


def test_a_source_without_an_image_is_told_and_leaves_nothing(make_job, tmp_path):
    client, job = make_job
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with pytest.raises(ValueError, match="no images in the source"):
        run(client, job(source=open_source(tmp_path / "empty.tar")), ignore)
    assert [path.name for path in tmp_path.iterdir()] == ["empty.tar"]


def test_a_bundle_labels_without_a_server(toolbox, repository, pool, tmp_path):
    output = tmp_path / "labels.csv"
    arguments = ["label", pool / "photos", pool / "pool.npy", "--local", repository / "student/1", "--output", output]
    done = CliRunner().invoke(main, [str(each) for each in [*arguments, "--guarantee", "none"]])
    assert done.exit_code == 0, done.stderr
    rows = rows_of(output)
    assert len(rows) == 40 + len(np.load(pool / "pool.npy"))
    assert {row["served_by"] for row in rows} == {str(repository / "student/1")}
    expected = toolbox.linear_scores(np.load(pool / "pool.npy"), seed=2)
    np.testing.assert_allclose([row["scores"] for row in rows[40:]], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--local", "{repository}/student"], "student: no bundle.json in it; --local takes"),
        ([], "give either --model or --local"),
    ],
)
def test_who_labels_is_asked_for(repository, pool, words, said):
    arguments = [
        "label",
        str(pool / "photos"),
        "--output",
        "-",
        *(word.format(repository=repository) for word in words),
    ]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code != 0
    assert said in done.stderr


def test_a_job_that_ends_early_says_how_to_go_on(real, pool, tmp_path, toolbox):
    output = tmp_path / "labels.csv"
    words = ["label", str(pool / "pool.npy"), "--model", "teacher", "--precision", "0.9", "--server", real.address]
    with toolbox.files_no_larger_than(50_000):
        done = CliRunner().invoke(main, [*words, "--output", str(output)])
    assert done.exit_code == 1
    assert f"what is done lies in {output}.job: the same command goes on from there" in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"Error: {output}.job")
    words[1] = str(pool / "photos")
    refused = CliRunner().invoke(main, [*words, "--output", str(output)])
    assert refused.stderr.startswith(f"Error: {output}.job: the source has changed")  # and no word of going on
