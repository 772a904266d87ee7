"""The labelling job against the real `pupil serve`: whatever happens to it, the same bytes come out."""

import csv
import json
import socket
import tarfile
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from pupil_client import Client, NotCertified, Unavailable
from pupil_client.command import main
from pupil_client.labelling.asking import ModelChanged
from pupil_client.labelling.job import SHARD_IMAGES, Job, run, threads
from pupil_client.labelling.ledger import work_folder
from pupil_client.labelling.promise import Promise
from pupil_client.labelling.rows import COLUMNS, read_rows
from pupil_client.labelling.sources import open_source
from pupil_training.data.labels import read_pseudo_labels
from pupil_training.settings import LabelsSettings

PROMISE = Promise("pac", 0.9, 0.1)
IMAGES = 2 * SHARD_IMAGES + 300


@pytest.fixture(scope="module")
def real(toolbox, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "repository"
    toolbox.write_bundle(folder, "teacher", seed=1)
    with toolbox.run_server(folder) as running:
        yield running


@pytest.fixture(scope="module")
def pool(toolbox, tmp_path_factory):
    """An array of pictures of the model's size, and of files one folder with some that are broken."""
    folder = tmp_path_factory.mktemp("pool")
    np.save(folder / "pool.npy", toolbox.random_pixels(IMAGES, seed=5))
    (folder / "photos").mkdir()
    for number, pixels in enumerate(toolbox.random_pixels(40, seed=6)):
        (folder / f"photos/{number:02}.png").write_bytes(toolbox.png(pixels))
    (folder / "photos/07.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (folder / "photos/08.png").write_bytes(b"")
    return folder


@pytest.fixture
def make(real, pool, tmp_path):
    """A job for `teacher` over the array, with what the test changes."""
    with Client(real.address) as client:

        def job(**changes):
            about = {"source": open_source(pool / "pool.npy"), "output": tmp_path / "labels.jsonl",
                     "model": client.model("teacher"), "promise": PROMISE, "served_by": "here"}  # fmt: skip
            return Job(**{**about, **changes})

        yield client, job


@pytest.fixture(scope="module")
def undisturbed(real, pool, tmp_path_factory):
    """The bytes that come out when nothing happens."""
    output = tmp_path_factory.mktemp("undisturbed") / "labels.jsonl"
    with Client(real.address) as client:
        job = Job(open_source(pool / "pool.npy"), output, client.model("teacher"), PROMISE, "here")
        run(client, job, lambda images: None)
    return output.read_bytes()


def ignore(images):
    pass


class Stopped(Exception):
    pass


def stop(images):
    raise Stopped


def stop_after(images):
    def count(more):
        nonlocal images
        images -= more
        if images < 0:
            raise Stopped

    return count


def rows_of(file):
    return list(read_rows(file))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_shard_that_is_done_is_not_asked_for_again(make, undisturbed):
    client, job = make

    def once(images):
        nonlocal labelled
        labelled += images
        if labelled > SHARD_IMAGES + 100:
            raise Stopped

    labelled = 0
    with pytest.raises(Stopped):
        run(client, job(), once)
    done = list(work_folder(job().output).glob("shards/*.json"))
    assert done
    before = {file: file.stat().st_mtime_ns for file in done}

    def still_there(images):
        assert {file: file.stat().st_mtime_ns for file in done} == before

    run(client, job(), still_there)
    assert job().output.read_bytes() == undisturbed
    assert not work_folder(job().output).exists()


def test_a_server_that_is_killed_and_comes_back_is_waited_for(toolbox, repository, pool, tmp_path, undisturbed):
    port = free_port()
    with ExitStack() as servers:
        running = servers.enter_context(toolbox.run_server(repository, "--port", str(port)))

        def restart(images):
            nonlocal running
            if running is not None:
                running.process.kill()
                running.process.wait()
                servers.enter_context(toolbox.run_server(repository, "--port", str(port)))
                running = None

        with Client(running.address) as client:
            model = client.model("teacher")
            source = open_source(pool / "pool.npy")
            run(client, Job(source, tmp_path / "labels.jsonl", model, PROMISE, "here"), restart)
    assert running is None
    assert (tmp_path / "labels.jsonl").read_bytes() == undisturbed


def test_a_server_that_stays_away_ends_the_job_once_patience_does(start, pool, tmp_path):
    with start() as server, Client(server.address) as client:

        def kill(images):
            server.process.kill()

        model = client.model("teacher")
        job = Job(open_source(pool / "pool.npy"), tmp_path / "labels.jsonl", model, PROMISE, "here", patience=0.3)
        said = []
        with pytest.raises(Unavailable):
            run(client, job, kill, partial(threads, say=said.append))
    assert said == [f"no server at {server.address}; asking again for at most 0 s"]
    assert [path.name for path in tmp_path.glob("labels*")] == ["labels.jsonl.job"]


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE])
def test_a_job_that_is_turned_away_asks_again(server, tmp_path, code):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(b"dog 1")
    with Client(server.address) as client:
        model = client.model("student")
        server.rules.calls.clear()
        server.rules.failures = [(code, "not now", 20)] * 5
        run(client, Job(open_source(tmp_path / "photos"), tmp_path / "labels.csv", model, PROMISE, "here"), ignore)
    assert server.rules.calls == ["PseudoLabel"] * (5 + 2)
    assert [row["label"] for row in rows_of(tmp_path / "labels.csv")] == ["dog"]


def test_a_model_that_is_another_after_a_restart_ends_the_job_and_keeps_what_is_done(
    toolbox, repository, pool, tmp_path
):
    port = free_port()
    toolbox.write_bundle(tmp_path / "other", "teacher", seed=8)
    output = tmp_path / "labels.jsonl"
    with ExitStack() as servers:
        running = servers.enter_context(toolbox.run_server(repository, "--port", str(port)))

        def swap(images):
            nonlocal running
            if running is not None:
                running.process.kill()
                running.process.wait()
                servers.enter_context(toolbox.run_server(tmp_path / "other", "--port", str(port)))
                running = None

        with Client(running.address) as client:
            job = Job(open_source(pool / "pool.npy"), output, client.model("teacher"), PROMISE, "here")
            with pytest.raises(ModelChanged, match="was replaced while it labelled: begun with fingerprint"):
                run(client, job, swap)
            with pytest.raises(ValueError, match="load it again and ask for --model teacher/1, or remove") as told:
                run(client, replace(job, model=client.model("teacher")), ignore)
    assert "\n" not in str(told.value)
    assert not output.exists()


def test_a_job_over_another_source_than_it_was_begun_with_is_refused_in_one_line(make, pool):
    client, job = make
    with pytest.raises(Stopped):
        run(client, job(), stop)
    said = "the source has changed since the job was begun.*, or remove .*labels.jsonl.job to start over"
    with pytest.raises(ValueError, match=said):
        run(client, job(source=open_source(pool / "photos")), ignore)


def test_a_job_goes_on_under_another_promise_with_the_scores_that_it_has(make, tmp_path):
    client, job = make
    strict = Promise("fixed", threshold=0.2)
    run(client, job(output=tmp_path / "fresh.jsonl", promise=strict), ignore)
    with pytest.raises(Stopped):
        run(client, job(), stop_after(SHARD_IMAGES + 100))
    run(client, job(promise=strict), ignore)
    assert job().output.read_bytes() == (tmp_path / "fresh.jsonl").read_bytes()
    assert {row["accepted"] for row in rows_of(job().output)} == {True, False}


def test_two_at_once_on_one_job_are_one_too_many(make):
    client, job = make

    def another(images):
        with pytest.raises(ValueError, match="another process is at work on this job"):
            run(client, job(), ignore)
        raise Stopped

    with pytest.raises(Stopped):
        run(client, job(), another)


def test_a_full_disk_is_told_and_the_job_goes_on_once_there_is_room(toolbox, make, undisturbed):
    client, job = make
    with toolbox.files_no_larger_than(20_000), pytest.raises(OSError, match=r"."):
        run(client, job(), ignore)
    assert not job().output.exists()
    run(client, job(), ignore)
    assert job().output.read_bytes() == undisturbed


def test_a_tiny_queue_only_makes_it_slower(start, pool, tmp_path, undisturbed):
    with start("--max-queue-images", "12", "--max-batch", "4") as server, Client(server.address) as client:
        model = client.model("teacher")
        run(client, Job(open_source(pool / "pool.npy"), tmp_path / "labels.jsonl", model, PROMISE, "here"), ignore)
    assert (tmp_path / "labels.jsonl").read_bytes() == undisturbed


def test_broken_images_are_rows_with_an_error_in_their_place(toolbox, make, pool, tmp_path):
    client, job = make
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
def test_each_format_holds_the_same_rows(make, pool, tmp_path, suffix):
    client, job = make
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


def test_the_accepted_keep_the_certificate_and_those_of_fdr_are_the_servers_own(make, pool, tmp_path):
    client, job = make
    images = list(np.load(pool / "pool.npy"))
    for promise in (Promise("pac", 0.9, 0.1), Promise("fdr", 0.9), Promise("fixed", threshold=0.3)):
        wanted = list(client.pseudo_label(images, model="teacher", guarantee=promise.guarantee,
                                          precision=0.9, delta=0.1, threshold=promise.threshold))  # fmt: skip
        run(client, job(promise=promise), ignore)
        rows = rows_of(tmp_path / "labels.jsonl")
        assert [row["accepted"] for row in rows] == [each.accepted for each in wanted]
        found, certificate = rows[0]["certificate"], wanted[0].certificate
        assert {name: found[name] for name in certificate.__slots__} == asdict(certificate)


def test_what_cannot_be_certified_is_refused_before_any_work(make, tmp_path):
    client, job = make
    with pytest.raises(NotCertified, match=r"needs at least .*; precision 0\.\d+ can be promised, with \d+% of the"):
        run(client, job(promise=Promise("pac", 0.9999)), ignore)
    with pytest.raises(NotCertified, match="needs at least"):
        run(client, job(promise=Promise("fdr", 0.9999)), ignore)
    assert list(tmp_path.iterdir()) == []


def test_a_source_without_an_image_is_told_and_leaves_nothing(make, tmp_path):
    client, job = make
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
    assert len(rows) == 40 + IMAGES
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
