"""Images that are decoded while a run goes on, against the same images in memory."""

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pupil_training.data.feed_memory import MemoryFeed
from pupil_training.data.feed_stream import AHEAD, StreamFeed
from pupil_training.data.order import WHOLE, Cut, Drawn, Order
from pupil_training.data.splits import Splits
from pupil_training.data.streamed import Streamed
from pupil_training.errors import DataError
from pupil_training.loop import train
from pupil_training.recipe import Recipe
from pupil_training.runs import Run
from pupil_training.settings import DataSettings
from pupil_training.student import MOST, new_student, some_of

MakeRecipe = Callable[..., Recipe]
CPU = torch.device("cpu")
PROGRAM = """
import sys
from pathlib import Path
from pupil_training import Recipe, train

if __name__ == "__main__":
    train(Recipe.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
"""


@pytest.fixture
def own_folder(bars_folder: Path, tmp_path: Path) -> Path:
    """A copy of the bars that a test may spoil."""
    return Path(shutil.copytree(bars_folder, tmp_path / "bars"))


def workers_of(process: int) -> set[int]:
    """The processes that it started and that still run, but for the one that Python keeps until its end."""
    listed = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return {int(pid) for pid in listed if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()}


def settings(root: Path, **values: object) -> DataSettings:
    return DataSettings.model_validate({"root": root, "validation": 0.2, "calibration": 0.2, **values})


class Counted(Order):
    """An order that knows how often it was asked."""

    asked = 0

    def at(self, step: int, part: int) -> Drawn:
        self.asked += 1
        return super().at(step, part)


def feeds(root: Path, workers: int, cut: Cut = WHOLE) -> tuple[MemoryFeed, StreamFeed]:
    """Of the bars' training split, both ways, each with an order of its own."""
    splits = Splits(settings(root))
    kept, streamed = splits.load("train"), splits.stream("train")
    assert isinstance(streamed.images, Streamed)
    orders = [Counted(len(kept), 12, seed=3, cut=cut) for _ in range(2)]
    return (
        MemoryFeed(kept.images, kept.labels, orders[0]),
        StreamFeed(streamed.images, streamed.labels, orders[1], device=CPU, workers=workers),
    )


def assert_same(kept: MemoryFeed, streamed: StreamFeed, steps: range) -> None:
    for step in steps:
        for ours, theirs in zip(kept.parts(step), streamed.parts(step), strict=True):
            assert (ours.step, ours.part) == (theirs.step, theirs.part)
            for name in ("images", "targets", "chosen", "epochs"):
                assert torch.equal(getattr(ours, name), getattr(theirs, name)), name


def assert_same_run(one: Run, other: Run) -> None:
    """The same curve and the same bits."""
    curves = [(run.folder / "metrics.jsonl").read_text() for run in (one, other)]
    assert curves[0] == curves[1]
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name
    ours, theirs = ({**run.result, "seconds": 0} for run in (one, other))
    assert ours == theirs


@pytest.mark.parametrize("cut", [WHOLE, Cut(parts=3), Cut(parts=2, processes=2, process=1)])
def test_streamed_batches_are_those_of_memory_from_any_step_on(bars_folder: Path, cut: Cut) -> None:
    kept, streamed = feeds(bars_folder, workers=0, cut=cut)
    assert_same(kept, streamed, range(1, 9))
    assert_same(kept, streamed, range(40, 43))
    assert_same(kept, streamed, range(2, 3))


def test_workers_give_the_batches_of_memory_run_little_ahead_and_end_with_the_feed(bars_folder: Path) -> None:
    before = workers_of(os.getpid())
    kept, streamed = feeds(bars_folder, workers=1, cut=Cut(parts=2))
    assert_same(kept, streamed, range(5, 9))
    assert len(workers_of(os.getpid()) - before) == 1
    assert isinstance(streamed.order, Counted)
    assert streamed.order.asked <= 8 + 8 + AHEAD  # for the batches, for the worker, and ahead of it
    streamed.close()
    assert workers_of(os.getpid()) == before


def test_a_killed_run_leaves_no_worker_behind_and_resumed_gives_the_bits_of_one_in_memory(
    recipe: MakeRecipe, tmp_path: Path
) -> None:
    values: dict[str, Any] = {"steps": 40, "eval_every": 10, "log_every": 5, "accumulate": 2}
    values |= {"batch_size": 168, "model": {"dropout": 0.3}, "augment": {"shift": 1}}
    kept = train(recipe(**values), tmp_path / "kept")
    kill(recipe(**values, data={"memory": "stream", "workers": 1}), tmp_path / "streamed", at='"step": 15')
    assert not (tmp_path / "streamed" / "result.json").exists()
    in_this_process = recipe(**values, data={"memory": "stream", "workers": 0})
    assert_same_run(kept, train(in_this_process, tmp_path / "streamed", resume=True))


def kill(settings: Recipe, folder: Path, at: str) -> None:
    """Trains in a process of its own, which is killed once `at` stands in metrics.jsonl."""
    part = settings.batch_size // settings.accumulate * 28 * 28
    assert part > 2**16  # more than a pipe holds, so that the worker is amid sending when the run ends
    (folder.parent / "recipe.json").write_text(settings.model_dump_json())
    (folder.parent / "program.py").write_text(PROGRAM)
    metrics = folder / "metrics.jsonl"
    command = [sys.executable, folder.parent / "program.py", folder.parent / "recipe.json", folder]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: metrics.exists() and at in metrics.read_text())
        workers = workers_of(process.pid)
        process.kill()
    assert len(workers) == 1
    wait_for(lambda: not any(is_running(worker) for worker in workers))


def is_running(process: int) -> bool:
    """Not where it ended and only waits for somebody to hear of it."""
    status = Path(f"/proc/{process}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_an_interrupted_run_leaves_no_worker_behind(recipe: MakeRecipe, tmp_path: Path) -> None:
    before = workers_of(os.getpid())
    found = set()

    def interrupt() -> None:
        wait_for(lambda: (tmp_path / "metrics.jsonl").exists() and (tmp_path / "metrics.jsonl").read_text())
        found.update(workers_of(os.getpid()) - before)
        os.kill(os.getpid(), signal.SIGINT)

    long = recipe(steps=100_000, log_every=1, eval_every=100_000, data={"memory": "stream", "workers": 1})
    before_us = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            train(long, tmp_path)
    finally:
        signal.signal(signal.SIGINT, before_us)
    assert len(found) == 1
    assert workers_of(os.getpid()) == before


def wait_for(condition: Callable[[], object]) -> None:
    patience = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < patience
        time.sleep(0.01)


@pytest.fixture
def labels_file(bars_folder: Path, tmp_path: Path) -> Path:
    """Five accepted pictures of the pool."""
    rows = []
    for i in range(5):
        path = bars_folder / "pool" / f"{i:02}.png"
        label = ("cross", "level", "upright")[i % 3]
        rows.append({"image": str(path), "label": label, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["image", "label", "sha256", "accepted", "classes"])
        table.writeheader()
        for row in rows:
            table.writerow({**row, "accepted": "true", "classes": json.dumps(["cross", "level", "upright"])})
    return tmp_path / "labels.csv"


@pytest.mark.parametrize("kind", ["cached pool", "fixmatch", "labels", "prior"])
def test_every_way_of_learning_streams_to_the_same_bits(
    recipe: MakeRecipe, teacher_run: Run, labels_file: Path, tmp_path: Path, kind: str
) -> None:
    alone = {"teacher": teacher_run.folder, "hard_weight": 0, "soft_weight": 1}
    values = {
        "cached pool": {"distill": {**alone, "logits": "cached", "pool": True}},
        "fixmatch": {"pool": {"method": "fixmatch", "batch_size": 6, "threshold": 0.1, "rise": [0.0, 0.2]}},
        "labels": {"labels": {"file": labels_file, "ratio": 0.1}, "augment": {"mixup": 0.4}},
        "prior": {"distill": {**alone, "match_prior": True}, "data": {"leave_out": ["level"]}},
    }[kind]
    kept = train(recipe(**values), tmp_path / "kept")
    stream = {**values.get("data", {}), "memory": "stream", "workers": 0}
    assert_same_run(kept, train(recipe(**{**values, "data": stream}), tmp_path / "streamed"))


def test_a_set_is_streamed_where_it_would_take_more_than_it_may(bars_folder: Path) -> None:
    size = 36 * 28 * 28 / 1e9  # of the training split in memory
    little = Splits(settings(bars_folder, memory_limit_gb=size * 0.99))
    assert isinstance(little.open("train").images, Streamed)
    assert isinstance(little.open("validation").images, torch.Tensor)
    assert isinstance(Splits(settings(bars_folder, memory_limit_gb=size)).open("train").images, torch.Tensor)
    kept = Splits(settings(bars_folder, memory_limit_gb=size * 0.01, memory="keep"))
    assert isinstance(kept.open("train").images, torch.Tensor)


def test_a_student_is_normalised_by_the_same_images_either_way(recipe: MakeRecipe, bars_folder: Path) -> None:
    splits = Splits(settings(bars_folder))
    kept, streamed = (
        new_student(recipe(), images, splits.classes)
        for images in (splits.load("train").images, splits.stream("train").images)
    )
    assert torch.equal(kept.mean, streamed.mean)
    assert torch.equal(kept.std, streamed.std)


def test_a_student_is_normalised_by_some_images_from_every_part_where_all_are_too_many() -> None:
    large = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 2**13, 2**14, 1)
    assert large[0].numel() * 2 == MOST
    assert some_of(large)[:, 0, 0, 0].tolist() == [0, 3]


def test_an_image_that_a_worker_cannot_read_is_named_in_one_line_and_the_workers_end(
    recipe: MakeRecipe, own_folder: Path, tmp_path: Path
) -> None:
    before = workers_of(os.getpid())
    broken = own_folder / "train" / "level" / "0.png"
    broken.write_bytes(broken.read_bytes()[:100])
    data = {"root": own_folder, "memory": "stream", "workers": 1, "validation": 0.1, "calibration": 0}
    with pytest.raises(DataError, match=r"level/0\.png: not a readable image [^\n]*data\.unreadable=skip") as error:
        feed = train_feed(recipe(data=data))
        for step in range(1, 10):
            feed.part(step, 0)
    assert "\n" not in str(error.value)
    feed.close()
    assert workers_of(os.getpid()) == before


def train_feed(recipe: Recipe) -> StreamFeed:
    streamed = Splits(recipe.data).stream("train")
    assert isinstance(streamed.images, Streamed)
    order = Order(len(streamed), recipe.batch_size, seed=0)
    return StreamFeed(streamed.images, streamed.labels, order, device=CPU, workers=1)


def test_unreadable_images_are_skipped_alike_either_way(own_folder: Path) -> None:
    broken = own_folder / "train" / "level" / "0.png"
    broken.write_bytes(broken.read_bytes()[:100])
    skip = settings(own_folder, unreadable="skip", validation=0, calibration=0)
    kept, streamed = Splits(skip).load("train"), Splits(skip).stream("train")
    assert len(streamed) == 59
    assert (kept.sha256, kept.digests) == (streamed.sha256, streamed.digests)
    assert torch.equal(kept.images, streamed.images[:])
    assert [str(broken) in skipped for skipped in streamed.skipped] == [True]
