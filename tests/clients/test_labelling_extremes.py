"""The labelling job at its limits: killed again and again, a pool of one class, an output that cannot be written."""

import os
import random
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from pupil_client import Client
from pupil_client.labelling.job import SHARD_IMAGES, Job, run
from pupil_client.labelling.promise import Promise
from pupil_client.labelling.rows import read_rows
from pupil_client.labelling.shift import Withheld
from pupil_client.labelling.sources import open_source

KILLS = int(os.environ.get("PUPIL_TEST_KILLS", "5"))
IMAGES = int(os.environ.get("PUPIL_TEST_IMAGES", 2 * SHARD_IMAGES + 300))
PROMISE = Promise("pac", 0.9, 0.1)

DIES = """
import os, signal, sys
left = int(sys.argv.pop(1))

def count(event, arguments):
    global left
    if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir") and "labels." in str(arguments[0]):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

from pupil_client.command import main
sys.addaudithook(count)
main(prog_name="pupil")
"""  # it counts how often the process touches its files, and is killed there without a warning


ENDS = """
import os, signal, sys

def ask(event, arguments):
    if event == "os.rename" and "/shards/" in str(arguments[0]):
        os.kill(os.getpid(), signal.SIGTERM)

from pupil_client.command import main
sys.addaudithook(ask)
main(prog_name="pupil")
"""  # as it writes a shard


class Restarted:
    """A server that can be killed and comes back at the same address."""

    def __init__(self, toolbox, repository):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self._start = lambda: toolbox.run_server(repository, "--port", str(port))
        self.address = f"127.0.0.1:{port}"

    def __enter__(self):
        self._running = self._start()
        self._running.__enter__()
        return self

    def __exit__(self, *error):
        self._running.__exit__(*error)

    def again(self):
        self.__exit__(None, None, None)
        self.__enter__()


@pytest.fixture(scope="module")
def real(toolbox, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "repository"
    toolbox.write_bundle(folder, "teacher", seed=1)
    with Restarted(toolbox, folder) as running:
        yield running


def label(real, source, output, promise=PROMISE, *, allow_shift=False):
    with Client(real.address) as client:
        model = client.model("teacher")
        job = Job(open_source(source), output, model, promise, real.address, allow_shift=allow_shift)
        return run(client, job, lambda images: None)


def test_killed_at_random_moments_with_a_server_that_restarts_it_ends_in_the_same_bytes(toolbox, real, tmp_path):
    pool = tmp_path / "pool.npy"
    np.save(pool, toolbox.random_pixels(IMAGES, seed=5))
    for folder in ("calm", "wild"):
        (tmp_path / folder).mkdir()
    label(real, pool, tmp_path / "calm/labels.parquet")
    words = ["label", pool, "--model", "teacher", "--precision", 0.9, "--delta", 0.1,
             "--server", real.address, "--output", tmp_path / "wild/labels.parquet"]  # fmt: skip

    def killed_at(moment):
        command = [sys.executable, "-c", DIES, *map(str, [moment, *words])]
        return subprocess.run(command, capture_output=True, timeout=120, check=False).returncode

    moments = random.Random(6)
    most = 7 * -(-IMAGES // SHARD_IMAGES)  # what a shard takes of them
    ends = [killed_at(moments.randint(1, most)) for _ in range(KILLS // 2)]
    real.again()
    ends += [killed_at(moments.randint(1, most)) for _ in range(KILLS - KILLS // 2)]
    assert ends.count(-signal.SIGKILL) >= 2
    assert set(ends) <= {-signal.SIGKILL, 0}
    assert killed_at(0) == 0  # which is never
    assert (tmp_path / "wild/labels.parquet").read_bytes() == (tmp_path / "calm/labels.parquet").read_bytes()
    for folder in ("calm", "wild"):
        assert [path.name for path in (tmp_path / folder).iterdir()] == ["labels.parquet"]


def test_who_is_asked_to_end_says_how_to_go_on_and_leaves_no_server_behind(toolbox, tmp_path):
    bundle = toolbox.write_bundle(tmp_path / "repository", "teacher", seed=1)
    np.save(tmp_path / "pool.npy", toolbox.random_pixels(SHARD_IMAGES, seed=5))
    (tmp_path / "temporary").mkdir()
    words = [
        "label",
        tmp_path / "pool.npy",
        "--local",
        bundle,
        "--guarantee",
        "none",
        "--output",
        tmp_path / "labels.csv",
    ]
    command = [sys.executable, "-c", ENDS, *map(str, words)]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 143
    assert f"what is done lies in {tmp_path / 'labels.csv.job'}: the same command goes on from there" in done.stderr
    assert not list((tmp_path / "temporary").iterdir())


def test_a_pool_of_one_class_is_labelled_like_any_other_once_that_is_allowed(toolbox, real, tmp_path):
    pixels = toolbox.random_pixels(200, seed=4)
    scores = toolbox.linear_scores(pixels, seed=1)
    of_one = scores.argmax(axis=1) == 3
    assert of_one.sum() >= 5
    np.save(tmp_path / "pool.npy", pixels[of_one])
    for promise in (PROMISE, Promise("fdr", 0.9)):
        with pytest.raises(Withheld, match="by the predicted classes"):  # which is a choice, and no fair sample
            label(real, tmp_path / "pool.npy", tmp_path / "labels.csv", promise)
        tally = label(real, tmp_path / "pool.npy", tmp_path / "labels.csv", promise, allow_shift=True)
        rows = list(read_rows(tmp_path / "labels.csv"))
        assert {row["label"] for row in rows} == {toolbox.classes[3]}
        expected = (scores[of_one].max(axis=1) >= tally.certificate.threshold).tolist()
        assert [row["accepted"] for row in rows] == expected


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("none/labels.csv", "there is no folder .*none"),
        ("pool.npy/labels.csv", "there is no folder .*pool.npy"),
        ("/proc/labels.csv", "/proc/labels.csv.job"),  # where not even root may write
    ],
)
def test_an_output_that_cannot_be_written_is_told_before_any_work(toolbox, real, tmp_path, place, said):
    np.save(tmp_path / "pool.npy", toolbox.random_pixels(3, seed=5))
    with pytest.raises((ValueError, OSError), match=said):
        label(real, tmp_path / "pool.npy", tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["pool.npy"]
