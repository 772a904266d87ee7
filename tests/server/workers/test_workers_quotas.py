"""A bucket in a file is the same bucket for every process that opens it."""

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pupil_server.quotas import Bucket
from pupil_server.workers.place import Place
from pupil_server.workers.shared_quotas import SharedBucket

STEPS = st.tuples(
    st.sampled_from([0, 1, 2]), st.sampled_from(["take", "promise", "give_back"]), st.integers(1, 20), st.floats(0, 3)
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(STEPS, max_size=40))
def test_three_who_share_a_bucket_get_what_one_would_get_alone(steps: list[tuple[int, str, int, float]]) -> None:
    clock = Clock()
    alone = Bucket(10, 20, clock)
    with tempfile.TemporaryDirectory() as folder:
        shared = [SharedBucket(10, 20, Path(folder) / "bucket", clock) for _ in range(3)]
        for who, act, units, pause in steps:
            clock.now += pause
            assert getattr(shared[who], act)(units) == pytest.approx(getattr(alone, act)(units))


DRAW = """
import sys, time
from pathlib import Path
from pupil_server.workers.shared_quotas import SharedBucket

def slow_clock():  # looked at between reading the numbers and writing them: time for another to come in between
    time.sleep(0.0002)
    return 1000.0

bucket = SharedBucket(1.0, 100, Path(sys.argv[1]), slow_clock)
sys.stdin.readline()
print(sum(bucket.take(1) == 0.0 for _ in range(50)))
"""


def test_processes_that_draw_at_the_same_time_get_no_more_than_there_is(tmp_path) -> None:
    command = [sys.executable, "-c", DRAW, str(tmp_path / "bucket")]
    pipe = subprocess.PIPE
    with contextlib.ExitStack() as running:
        drawing = [running.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe)) for _ in range(4)]
        for process in drawing:
            process.stdin.write(b"go\n")
            process.stdin.flush()
        taken = [int(process.communicate(timeout=30)[0]) for process in drawing]
    assert sum(taken) == 100


def test_a_token_has_one_bucket_and_another_token_or_rate_another_one(tmp_path) -> None:
    first, second = (Place(tmp_path, number, 2) for number in (1, 2))
    assert first.bucket("alice", 10, 20).take(20) == 0.0
    assert second.bucket("alice", 10, 20).take(20) > 0
    assert second.bucket("bob", 10, 20).take(20) == 0.0
    assert second.bucket("alice", 10, 30).take(20) == 0.0
