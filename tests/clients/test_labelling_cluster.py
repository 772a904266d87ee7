"""The labelling job on a real Ray cluster of two nodes: whatever happens to them, the bytes of the plain engine."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_digits

from pupil_client import Client
from pupil_client.command import main
from pupil_client.labelling.job import Job, run
from pupil_client.labelling.ledger import work_folder
from pupil_client.labelling.node import own_server
from pupil_client.labelling.promise import Promise
from pupil_client.labelling.rows import read_rows
from pupil_client.labelling.sources import open_source

DIGITS = 400
PROMISE = Promise("pac", 0.9, 0.1)

NODES = """
import sys
from ray.cluster_utils import Cluster
import psutil  # Ray brings it

small = {"num_cpus": 1, "object_store_memory": 80_000_000}
quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
head = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True, "_system_config": quick}
cluster = Cluster(initialize_head=True, head_node_args={**small, **head})
second = None
print(cluster.address, flush=True)
for line in sys.stdin:
    if line == "kill\\n":
        raylet = cluster.head_node.all_processes["raylet"][0].process.pid
        for worker in psutil.Process(raylet).children():
            if "Labeller" in " ".join(worker.cmdline()):
                worker.kill()
                worker.wait(10)
    elif line == "two\\n":
        second = second or cluster.add_node(**small, env_vars={"PUPIL_MAX_BATCH": "none"})
    elif second:
        cluster.remove_node(second, allow_graceful=False)
        second = None
    print("done", flush=True)
cluster.shutdown()
"""  # in a process of its own: Ray forks, and gRPC's threads live here

DIES = """
import os, signal, sys
from pupil_client.command import main
from pupil_client.labelling import job

job.SHARD_IMAGES = 32
left = 3

def count(event, arguments):
    global left
    if event == "os.rename" and "/shards/" in str(arguments[0]):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
main(prog_name="pupil")
"""  # killed in the middle of its third shard


class TwoNodes:
    """The first is always there; the second can come and go, and its environment does not let it serve."""

    def __init__(self, process):
        self._process = process
        self.address = process.stdout.readline().strip()

    def do(self, what):
        """Be `two` nodes, or `one`, or `kill` what labels on the first."""
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"


@pytest.fixture(scope="module")
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # loopback, as on those
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        command = [sys.executable, "-c", NODES]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            yield TwoNodes(process)
            process.stdin.close()
            process.wait(timeout=60)


@pytest.fixture
def two_nodes(cluster):
    cluster.do("two")
    return cluster


@pytest.fixture(scope="module")
def bundle(toolbox, tmp_path_factory):
    return toolbox.write_bundle(tmp_path_factory.mktemp("served") / "repository", "teacher", seed=1)


@pytest.fixture(scope="module")
def real(toolbox, bundle):
    with toolbox.run_server(bundle.parent.parent) as running:
        yield running


@pytest.fixture(scope="module")
def digits(toolbox, tmp_path_factory):
    """Handwritten digits, and two files that are no pictures."""
    folder = tmp_path_factory.mktemp("digits")
    for number, digit in enumerate(load_digits().images[:DIGITS]):
        (folder / f"{number:03}.png").write_bytes(toolbox.png((digit * 15).astype(np.uint8)))
    (folder / "007.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (folder / "008.png").write_bytes(b"")
    return folder


@pytest.fixture
def listed(digits, tmp_path, monkeypatch):
    """A list of them, half of which is seen from this process only, and a file that nobody has."""
    monkeypatch.chdir(digits)
    names = sorted(file.name for file in digits.iterdir())
    paths = [f"/proc/self/cwd/{name}" if number % 64 < 32 else digits / name for number, name in enumerate(names)]
    (tmp_path / "list.txt").write_text("\n".join(map(str, [*paths, digits / "none.png"])))
    return open_source(tmp_path / "list.txt")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr("pupil_client.labelling.job.SHARD_IMAGES", 32)


@pytest.fixture
def on_nodes(cluster):
    """Runs a job on the nodes, which tell `say` when they come and go."""

    def on(client, job, *, say=lambda words: None, progress=lambda images: None, reach=None):
        from pupil_client.labelling.cluster import Terms, connected
        from pupil_client.labelling.cluster_crew import ClusterCrew

        terms = Terms(reach or partial(Client, client.address), reach is not None, say)
        with connected(cluster.address):
            return run(client, job, progress, partial(ClusterCrew, terms))

    return on


def a_job(client, source, output, served_by=None):
    return Job(source, output, client.model("teacher"), PROMISE, served_by or client.address, allow_shift=True)


def plainly(client, source, folder, served_by=None):
    """The bytes of the plain engine."""
    folder.mkdir()
    run(client, a_job(client, source, folder / "labels.jsonl", served_by), lambda images: None)
    return (folder / "labels.jsonl").read_bytes()


def test_each_node_serves_a_bundle_and_one_that_cannot_is_passed_over(real, bundle, two_nodes, digits, tmp_path):
    output = tmp_path / "labels.jsonl"
    words = ["label", digits, "--local", bundle, "--precision", 0.9, "--delta", 0.1, "--allow-shift",
             "--output", output, "--engine", "ray", "--address", two_nodes.address]  # fmt: skip
    done = CliRunner().invoke(main, list(map(str, words)))
    assert done.exit_code == 0, done.stderr
    assert "not labelling: node 127.0.0.1 (" in done.stderr
    assert "Invalid value for '--max-batch'" in done.stderr
    with Client(real.address) as client:
        assert output.read_bytes() == plainly(client, open_source(digits), tmp_path / "plain", served_by=str(bundle))


def test_a_node_that_is_killed_midway_changes_nothing(real, two_nodes, on_nodes, listed, tmp_path):
    said, shards, came, address = [], 0, tmp_path / "came", real.address
    came.mkdir()

    def together():
        """Neither node labels before both have come, or the first might be done by then."""
        (came / str(os.getpid())).touch()
        deadline = time.monotonic() + 60
        while len(list(came.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        client = Client(address)
        if "PUPIL_MAX_BATCH" in os.environ:  # the second, which is killed with shards in its hands
            client.pseudo_label_messages = lambda requests: time.sleep(60) or iter(())
        return client

    def shard_came(images):
        nonlocal shards
        shards += sum("labelling: " in line for line in said) == 2
        if shards == 2:
            two_nodes.do("one")

    with Client(real.address) as client:
        job = a_job(client, listed, tmp_path / "labels.jsonl")
        on_nodes(client, job, say=said.append, progress=shard_came, reach=together)
        assert (tmp_path / "labels.jsonl").read_bytes() == plainly(client, listed, tmp_path / "plain")
    assert [line.partition(":")[0] for line in said] == ["labelling", "labelling", "lost"]
    errors = {Path(row["image"]).name: row["error"] for row in read_rows(tmp_path / "labels.jsonl") if row["error"]}
    assert sorted(errors) == ["007.png", "008.png", "none.png"]
    assert errors["none.png"] == "No such file or directory"


def test_a_head_that_is_killed_goes_on_where_it_was(real, cluster, on_nodes, digits, tmp_path):
    output = tmp_path / "labels.jsonl"
    words = ["label", digits, "--model", "teacher", "--precision", 0.9, "--delta", 0.1, "--allow-shift",
             "--server", real.address,
             "--output", output, "--engine", "ray", "--address", cluster.address]  # fmt: skip
    killed = subprocess.run(
        [sys.executable, "-c", DIES, *map(str, words)], capture_output=True, timeout=60, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = {file: file.stat().st_mtime_ns for file in work_folder(output).glob("shards/*.json")}
    assert len(done) == 2

    def still_there(images):
        assert {file: file.stat().st_mtime_ns for file in done} == done

    source = open_source(digits)
    with Client(real.address) as client:
        on_nodes(client, a_job(client, source, output), progress=still_there)
        assert output.read_bytes() == plainly(client, source, tmp_path / "plain")
    assert not work_folder(output).exists()


def test_a_shard_that_is_lost_again_and_again_ends_the_job(real, cluster, on_nodes, digits, tmp_path, monkeypatch):
    from pupil_client.labelling.cluster import ClusterError

    monkeypatch.setattr("pupil_client.labelling.cluster_crew.MOST_LOSSES", 2)
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    (tmp_path / "list.txt").write_text(f"{digits / '000.png'}\n{pipe}\n")

    def kill_its_reader():
        with pipe.open("wb"):  # which waits until there is one
            cluster.do("kill")

    killer = threading.Thread(target=lambda: [kill_its_reader() for _ in range(2)], daemon=True)
    killer.start()
    with (
        Client(real.address) as client,
        pytest.raises(ClusterError, match=r"000.png to .*pipe.png: lost 2 times, last"),
    ):
        on_nodes(client, a_job(client, open_source(tmp_path / "list.txt"), tmp_path / "labels.jsonl"))
    killer.join(timeout=10)
    assert not killer.is_alive()


def test_what_ray_says_of_a_worker_that_died_stays_out_of_the_labels(real, cluster, digits, tmp_path):
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    (tmp_path / "list.txt").write_text(f"{digits / '000.png'}\n{pipe}\n")
    words = ["label", tmp_path / "list.txt", "--model", "teacher", "--guarantee", "none", "--server", real.address,
             "--output", "-", "--engine", "ray", "--address", cluster.address]  # fmt: skip
    command = [sys.executable, "-m", "pupil_client", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        with pipe.open("wb"):  # which waits until the worker reads it
            cluster.do("kill")
        with pipe.open("wb") as content:
            content.write((digits / "001.png").read_bytes())
        said, told = job.communicate(timeout=60)
    assert [Path(json.loads(line)["image"]).name for line in said.splitlines()] == ["000.png", "pipe.png"]
    assert "lost: node 127.0.0.1 (" in told
    assert "raylet" not in told


def test_a_bundle_that_the_nodes_do_not_have_is_told(real, cluster, on_nodes, digits, tmp_path):
    from pupil_client.labelling.cluster import ClusterError

    missing = partial(own_server, tmp_path / "teacher/1", 10.0)
    with (
        Client(real.address) as client,
        pytest.raises(ClusterError, match="no node of the cluster can label; ") as told,
    ):
        on_nodes(client, a_job(client, open_source(digits), tmp_path / "labels.jsonl"), reach=missing)
    assert f"{tmp_path}/teacher/1: no bundle.json in it; --local takes" in str(told.value)


def test_without_ray_the_line_that_installs_it(digits, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("cluster", "cluster_crew"):
        monkeypatch.delitem(sys.modules, f"pupil_client.labelling.{name}", raising=False)
    done = CliRunner().invoke(main, ["label", str(digits), "--model", "a", "--output", "-", "--engine", "ray"])
    assert (done.exit_code, done.stderr) == (1, "Error: --engine ray needs ray: pip install 'pupil[ray]'\n")
