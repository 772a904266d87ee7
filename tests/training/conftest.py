"""A toy data set of bars that a tiny net learns in a second, and runs trained on it."""

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pupil_training.digits import write_digits
from pupil_training.loop import train
from pupil_training.recipe import Recipe, parse_recipe
from pupil_training.runs import Run

CLASSES = ("cross", "level", "upright")
TRAIN = (
    "import sys; from pathlib import Path; from pupil_training import Recipe, train;"
    "train(Recipe.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))"
)


def bars(name: str, random: np.random.Generator) -> NDArray[np.uint8]:
    """A grey picture, 28×28, of a bar that lies, stands, or does both, at a random place, in noise."""
    pixels = random.integers(0, 60, (28, 28), dtype=np.uint8)
    row, column = random.integers(4, 22, 2)
    if name in ("level", "cross"):
        pixels[row : row + 3, 3:25] = 220
    if name in ("upright", "cross"):
        pixels[3:25, column : column + 3] = 220
    return pixels


@pytest.fixture(scope="session")
def bars_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders: 20 training and 10 test pictures a class, and a pool of 12 in one flat folder."""
    root = tmp_path_factory.mktemp("bars")
    random = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 10)):
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(bars(name, random)).save(root / split / name / f"{i}.png")
    (root / "pool").mkdir()
    for i in range(12):
        Image.fromarray(bars(CLASSES[i % 3], random)).save(root / "pool" / f"{i:02}.png")
    return root


@pytest.fixture(scope="session")
def tiny_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four idx files with 100 and 20 pictures of noise."""
    root = tmp_path_factory.mktemp("mnist")
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, count in (("train", 100), ("t10k", 20)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, count, 28, 28) + pixels.tobytes())
        labels = bytes(i % 10 for i in range(count))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + labels)
    return root


@pytest.fixture(scope="session")
def tiny_cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of CIFAR-10's form: 20 training and 2 test JPEGs of noise a class."""
    root = tmp_path_factory.mktemp("cifar")
    random = np.random.default_rng(0)
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    for split, count in (("train", 20), ("test", 2)):
        for name in names:
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{i:04}.jpg")
    return root


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's digits on disk."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    write_digits(folder)
    return folder


@pytest.fixture(scope="session")
def recipe(bars_folder: Path) -> Callable[..., Recipe]:
    """A recipe that runs in a second; keyword arguments replace its settings, group by group."""

    def make(**settings: Any) -> Recipe:
        values: dict[str, Any] = {"name": "tiny", "steps": 12, "batch_size": 8, "log_every": 4, "eval_every": 6}
        values["data"] = {"root": bars_folder, "validation": 0.2, "calibration": 0.2}
        for name, value in settings.items():
            values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
        return parse_recipe(values, "tiny")

    return make


@pytest.fixture(scope="session")
def teacher_run(recipe: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small net with batch norm and dropout, trained until it knows bars."""
    model = {"name": "vgg", "widths": [8, 16], "convolutions": 1, "dropout": 0.2}
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    settings = recipe(name="teacher", steps=120, eval_every=120, batch_size=16, model=model, augment={"shift": 5})
    with one_core():
        return train(settings, folder)


@pytest.fixture
def train_and_kill(tmp_path: Path) -> Callable[..., None]:
    """Trains in a process of its own, which is killed once a line with `at` stands in metrics.jsonl."""

    def run(settings: Recipe, folder: Path, at: str) -> None:
        (tmp_path / "killed.json").write_text(settings.model_dump_json())
        with subprocess.Popen([sys.executable, "-c", TRAIN, tmp_path / "killed.json", folder]) as process:
            metrics, patience = folder / "metrics.jsonl", time.monotonic() + 60
            while not (metrics.exists() and at in metrics.read_text()) and time.monotonic() < patience:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL

    return run


@pytest.fixture(autouse=True, scope="module")
def _one_core() -> Iterator[None]:
    with one_core():
        yield


@contextmanager
def one_core() -> Iterator[None]:
    """Nets this small gain nothing from threads, and lose much where the cores are shared.

    Training takes as many threads as it has cores; other tests find both as they were.
    """
    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    os.sched_setaffinity(0, {sorted(cores)[os.getpid() % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        torch.set_num_threads(threads)
