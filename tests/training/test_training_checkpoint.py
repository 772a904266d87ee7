import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pupil_training import checkpoint
from pupil_training.checkpoint import Checkpoint
from pupil_training.errors import RunError
from pupil_training.loop import train
from pupil_training.recipe import Recipe
from pupil_training.runs import load_run


def state(step: int, weight: float = 1.0, size: int = 4) -> Checkpoint:
    return Checkpoint(step, 1.5, {"weight": torch.full((size,), weight)}, {}, {}, {"state": {}}, {})


def test_what_was_saved_is_read_back(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c.pt", state(7))
    back = checkpoint.load(tmp_path / "c.pt")
    assert (back.step, back.seconds, back.optimizer) == (7, 1.5, {"state": {}})
    assert torch.equal(back.model["weight"], torch.ones(4))
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


def test_when_the_disk_is_full_the_last_good_checkpoint_stays(toolbox, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c.pt", state(1))
    with toolbox.files_no_larger_than(100_000), pytest.raises(OSError, match=r"too large|not saved"):
        checkpoint.save(tmp_path / "c.pt", state(2, size=1_000_000))
    assert checkpoint.load(tmp_path / "c.pt").step == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c.pt", state(1, weight=float("nan")))
    with pytest.raises(RunError, match="'weight' holds NaN"):
        checkpoint.load(tmp_path / "c.pt")


@pytest.mark.parametrize("keep", [0, 10, 500])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, keep: int) -> None:
    checkpoint.save(tmp_path / "c.pt", state(1))
    (tmp_path / "c.pt").write_bytes((tmp_path / "c.pt").read_bytes()[:keep])
    with pytest.raises(RunError, match="damaged, or not a checkpoint"):
        checkpoint.load(tmp_path / "c.pt")


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    torch.save({"format": 2, "step": Harmful(tmp_path / "harm")}, tmp_path / "c.pt")
    assert b"touch" in pickle.dumps(Harmful(tmp_path))
    with pytest.raises(RunError, match="not a checkpoint"):
        checkpoint.load(tmp_path / "c.pt")
    assert not (tmp_path / "harm").exists()


def test_a_run_with_the_weights_of_another_net_is_refused(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    train(recipe(steps=1), tmp_path)
    checkpoint.save(tmp_path / "checkpoint.pt", state(1))
    with pytest.raises(RunError, match="not the weights of lenet5"):
        load_run(tmp_path)
