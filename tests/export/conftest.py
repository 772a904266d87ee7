import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pupil_export import export
from pupil_export.graph import Served, export_graph
from pupil_training.digits import write_digits
from pupil_training.loop import train
from pupil_training.recipe import DataSettings, ModelSettings, parse_recipe
from pupil_training.runs import new_classifier


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real handwritten digits as class folders."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    write_digits(folder)
    return folder


@pytest.fixture(scope="session")
def split(digits: Path) -> Callable[[str], tuple[np.ndarray, np.ndarray]]:
    """Images and labels of a split, read by Pillow alone: 8×8 grey files, made 28×28."""

    def read(name: str) -> tuple[np.ndarray, np.ndarray]:
        files = sorted((digits / name).glob("*/*.png"))
        resized = [np.array(Image.open(file).resize((28, 28), Image.Resampling.BILINEAR)) for file in files]
        return np.stack(resized)[..., None], np.array([int(file.parent.name) for file in files])

    return read


@pytest.fixture(scope="session")
def runs(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs `teacher` and, distilled from it, `student`: really trained, shortly."""
    folder = tmp_path_factory.mktemp("runs")
    common = {"log_every": 50, "eval_every": 1000, "data": {"root": str(digits)}, "model": {"name": "lenet5"}}
    train(parse_recipe({**common, "name": "teacher", "steps": 120}, ""), folder / "teacher")
    distill = {"teacher": str(folder / "teacher")}
    train(parse_recipe({**common, "name": "student", "steps": 40, "distill": distill}, ""), folder / "student")
    return folder


@pytest.fixture(scope="session")
def repository(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds teacher/1 and student/1; tests must not write here."""
    folder = tmp_path_factory.mktemp("models")
    export(runs / "teacher", folder)
    export(runs / "student", folder, licence="CC0-1.0")
    return folder


@pytest.fixture(scope="session")
def compressed(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the run `teacher` in every precision; tests must not write here."""
    return export(runs / "teacher", tmp_path_factory.mktemp("compressed"), precisions=("int8", " fp16", "int8"))


@pytest.fixture(scope="session")
def untrained() -> Callable[[str, int, int], Served]:
    """A net by name, side and channels, with random weights, a normalisation and a temperature of its own."""

    def build(name: str, side: int, channels: int) -> Served:
        torch.manual_seed(0)
        data = DataSettings(height=side, width=side, channels=channels)  # type: ignore[arg-type]  # 1 or 3, a Literal
        classifier = new_classifier(ModelSettings(name=name), data, tuple("abcdefg"))
        classifier.mean.uniform_(0.2, 0.6)
        classifier.std.uniform_(0.2, 0.4)
        classifier.temperature.fill_(0.25)
        return Served(classifier)

    return build


@pytest.fixture(scope="session")
def untrained_graph(untrained: Callable[[str, int, int], Served]) -> Callable[[str, int, int], bytes]:
    """The graphs of those nets, each exported once."""
    return functools.cache(lambda name, side, channels: export_graph(untrained(name, side, channels)))


@pytest.fixture
def noise() -> Callable[[int, int, int], np.ndarray]:
    """Some uint8 images of a side and channels."""
    random = np.random.default_rng(0)
    return lambda images, side, channels: random.integers(0, 256, (images, side, side, channels), dtype=np.uint8)
