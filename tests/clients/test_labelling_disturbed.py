"""The labelling job against the real `pupil serve`: whatever happens to it, the same bytes come out."""

import socket
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import grpc
import pytest

from pupil_client import Client, Unavailable
from pupil_client.labelling.asking import ModelChanged
from pupil_client.labelling.evidence import Answers
from pupil_client.labelling.job import SHARD_IMAGES, Job, run, threads
from pupil_client.labelling.ledger import work_folder
from pupil_client.labelling.promise import Promise
from pupil_client.labelling.rows import read_rows
from pupil_client.labelling.sources import open_source

PROMISE = Promise("pac", 0.9, 0.1)  # that of `make_job`, too


@pytest.fixture(scope="module")
def undisturbed(real, pool, tmp_path_factory):
    """The bytes that come out when nothing happens."""
    output = tmp_path_factory.mktemp("undisturbed") / "labels.jsonl"
    with Client(real.address) as client:
        job = Job(open_source(pool / "pool.npy"), output, client.model("teacher"), PROMISE, "here")
        run(client, job, lambda images: None)
    return output.read_bytes()


class Undecided:
    """Evidence that ends a job when all is labelled."""

    answers = Answers([], [])

    def decide(self, pool):
        raise Stopped


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


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_shard_that_is_done_is_not_asked_for_again(make_job, undisturbed):
    client, job = make_job

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


def test_shards_that_somebody_changed_or_removed_are_labelled_anew(make_job, undisturbed):
    client, job = make_job
    with pytest.raises(Stopped):
        run(client, job(evidence=Undecided()), ignore)
    first, second, _ = sorted(work_folder(job().output).glob("shards/*.json"))
    first.write_bytes(first.read_bytes().replace(b"class-a", b"class-b"))
    second.unlink()
    run(client, job(), ignore)
    assert job().output.read_bytes() == undisturbed


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
    assert [row["label"] for row in read_rows(tmp_path / "labels.csv")] == ["dog"]


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


@pytest.mark.parametrize("guarantee", ["pac", "fdr"])
def test_the_evidence_of_another_model_under_the_same_name_counts_for_nothing(server, tmp_path, guarantee):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(b"dog 1")
    with Client(server.address) as client:
        before = replace(client.model("student"), fingerprint="before")
        job = Job(open_source(tmp_path / "photos"), tmp_path / "labels.csv", before, Promise(guarantee), "here")
        with pytest.raises(ModelChanged, match="student/2 was replaced while it labelled"):
            run(client, job, ignore)
    assert server.rules.batches == []


def test_a_job_over_another_source_than_it_was_begun_with_is_refused_in_one_line(make_job, pool):
    client, job = make_job
    with pytest.raises(Stopped):
        run(client, job(), stop)
    said = "the source has changed since the job was begun.*, or remove .*labels.jsonl.job to start over"
    with pytest.raises(ValueError, match=said):
        run(client, job(source=open_source(pool / "photos")), ignore)


def test_a_job_goes_on_under_another_promise_with_the_scores_that_it_has(make_job, tmp_path):
    client, job = make_job
    strict = Promise("fixed", threshold=0.2)
    run(client, job(output=tmp_path / "fresh.jsonl", promise=strict), ignore)
    with pytest.raises(Stopped):
        run(client, job(), stop_after(SHARD_IMAGES + 100))
    run(client, job(promise=strict), ignore)
    assert job().output.read_bytes() == (tmp_path / "fresh.jsonl").read_bytes()
    assert {row["accepted"] for row in read_rows(job().output)} == {True, False}


def test_two_at_once_on_one_job_are_one_too_many(make_job):
    client, job = make_job

    def another(images):
        with pytest.raises(ValueError, match="another process is at work on this job"):
            run(client, job(), ignore)
        raise Stopped

    with pytest.raises(Stopped):
        run(client, job(), another)


def test_a_full_disk_is_told_and_the_job_goes_on_once_there_is_room(toolbox, make_job, undisturbed):
    client, job = make_job
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
