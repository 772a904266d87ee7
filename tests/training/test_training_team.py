"""Several processes under torchrun against one."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pupil_training.loop import train
from pupil_training.recipe import Recipe
from pupil_training.runs import load_run

PROGRAM = (
    "import sys; from pathlib import Path; from pupil_training import Recipe, train;"
    "train(Recipe.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))"
)


def together(settings: Recipe, folder: Path, processes: int) -> None:
    """Trains under torchrun on the loopback address."""
    (folder.parent / "recipe.json").write_text(settings.model_dump_json())
    (folder.parent / "program.py").write_text(PROGRAM)
    program = [str(folder.parent / "program.py"), str(folder.parent / "recipe.json"), str(folder)]
    torchrun(f"--nproc-per-node={processes}", *program)


def torchrun(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """By name, this machine may not find itself."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", *words]
    done = subprocess.run(command, cwd=cwd, timeout=180, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def curve(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_two_processes_give_the_loss_curve_and_the_weights_of_one(
    recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    settings = recipe(
        log_every=1, steps=8, eval_every=4, augment={"shift": 2, "mixup": 0.5}, ema=0.9, optim={"clip": 1.0}
    )
    alone = train(settings, tmp_path / "alone")
    together(settings, tmp_path / "two", 2)
    assert curve(tmp_path / "two") == pytest.approx(curve(tmp_path / "alone"), rel=1e-4)
    two = load_run(tmp_path / "two")
    for name, value in alone.model.state_dict().items():
        assert torch.allclose(value, two.model.state_dict()[name], atol=1e-4), name


def test_the_command_speaks_once_for_all_of_its_processes(bars_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(f'steps = 4\nbatch_size = 8\n[data]\nroot = "{bars_folder}"')
    done = torchrun("--nproc-per-node=2", "-m", "pupil_client", "train", "tiny.toml", "--out", "run", cwd=tmp_path)
    assert done.stdout == "run\n"
    assert done.stderr.count("validation images right") == 1
    assert "Warning" not in done.stderr


def test_a_batch_in_parts_gives_what_the_whole_batch_gives(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    whole, parts = (train(recipe(accumulate=parts, augment={"cutmix": 1.0}), tmp_path / str(parts)) for parts in (1, 4))
    for name, value in whole.model.state_dict().items():
        assert torch.allclose(value, parts.model.state_dict()[name], atol=1e-4), name
    assert curve(tmp_path / "4") == pytest.approx(curve(tmp_path / "1"), rel=1e-4)
