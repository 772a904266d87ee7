"""A bucket in a file is the same bucket for every process that opens it."""

import multiprocessing
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


def take_all(file: Path, attempts: int) -> int:
    bucket = SharedBucket(1e-6, 1000, file)
    return sum(bucket.take(1) == 0.0 for _ in range(attempts))


def test_processes_that_draw_at_the_same_time_get_no_more_than_there_is(tmp_path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as processes:
        taken = processes.starmap_async(take_all, [(tmp_path / "bucket", 400)] * 4).get(timeout=30)
    assert sum(taken) == 1000


def test_a_token_has_one_bucket_and_another_token_or_rate_another_one(tmp_path) -> None:
    first, second = (Place(tmp_path, number, 2) for number in (1, 2))
    assert first.bucket("alice", 10, 20).take(20) == 0.0
    assert second.bucket("alice", 10, 20).take(20) > 0
    assert second.bucket("bob", 10, 20).take(20) == 0.0
    assert second.bucket("alice", 10, 30).take(20) == 0.0
