"""CIFAR-10 and CIFAR-100 in the official forms, pickled and plain."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pupil_training.data.splits import load_split
from pupil_training.errors import DataError
from pupil_training.settings import DataSettings


def settings(root: Path, **values: object) -> DataSettings:
    return DataSettings.model_validate({"root": root, "source": "cifar", "validation": 0, "calibration": 0, **values})


PICTURES = np.random.default_rng(20).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
ROWS = PICTURES.transpose(0, 3, 1, 2).reshape(20, 3072)


def pickled_10(root: Path) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    names = [f"data_batch_{i}" for i in range(1, 6)]
    for i, name in enumerate([*names, "test_batch"]):
        batch = {b"data": ROWS[i * 3 : i * 3 + 3], b"labels": [0, 1, i % 2]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["cat", "dog"]}))


def pickled_100(root: Path) -> None:
    folder = root / "cifar-100-python"
    folder.mkdir()
    fine = [0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 1]
    for name, some in (("train", slice(0, 15)), ("test", slice(15, 18))):
        batch = {"data": ROWS[some], "fine_labels": fine[some], "coarse_labels": [0] * len(fine[some])}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": ["cat", "dog"], "coarse_label_names": ["pet"]}))


def plain_10(root: Path) -> None:
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    names = [f"data_batch_{i}.bin" for i in range(1, 6)]
    for i, name in enumerate([*names, "test_batch.bin"]):
        labels = np.uint8([[0], [1], [i % 2]])
        (folder / name).write_bytes(np.hstack([labels, ROWS[i * 3 : i * 3 + 3]]).tobytes())
    (folder / "batches.meta.txt").write_text("cat\ndog\n\n")


def plain_100(root: Path) -> None:
    folder = root / "cifar-100-binary"
    folder.mkdir()
    fine = np.uint8([0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 1])[:, None]
    rows = np.hstack([np.full((18, 1), 19, np.uint8), fine, ROWS[:18]])
    (folder / "train.bin").write_bytes(rows[:15].tobytes())
    (folder / "test.bin").write_bytes(rows[15:].tobytes())
    (folder / "fine_label_names.txt").write_text("cat\ndog\n")


CIFAR = {"height": 32, "width": 32, "channels": 3}


@pytest.mark.parametrize("write", [pickled_10, pickled_100, plain_10, plain_100])
@pytest.mark.parametrize("inside", [False, True])
def test_each_official_form_of_cifar_gives_the_same_pictures(
    write: Callable[[Path], None], inside: bool, tmp_path: Path
) -> None:
    write(tmp_path)
    root = next(tmp_path.iterdir()) if inside else tmp_path
    train_split, test = (load_split(settings(root, **CIFAR), split) for split in ("train", "test"))
    assert train_split.images.tolist() == PICTURES[:15].tolist()
    assert test.images.tolist() == PICTURES[15:18].tolist()
    assert train_split.labels is not None
    assert train_split.labels.tolist() == [0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0]
    assert train_split.classes == ("cat", "dog")


class Bomb:
    """What a pickle that means harm holds: a function to call when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def test_a_pickle_that_would_run_code_runs_nothing(tmp_path: Path) -> None:
    pickled_10(tmp_path)
    bad = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    bad.write_bytes(pickle.dumps({b"data": Bomb(tmp_path / "exploded"), b"labels": [0]}))
    with pytest.raises(DataError, match=r"data_batch_3: asks for posix\.mkdir, .* nothing of it was run"):
        load_split(settings(tmp_path), "train")
    assert not (tmp_path / "exploded").exists()
    pickle.loads(bad.read_bytes())
    assert (tmp_path / "exploded").exists()  # the bomb was a real one


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04no pickle", "truncated, or not a pickle"),
        (pickle.dumps([1]), "a list, not the dictionary"),
        (pickle.dumps({"data": ROWS.astype(int), "labels": [0]}), "not rows of 3,072 bytes"),
        (pickle.dumps({"data": ROWS[:3], "labels": [0]}), "its labels are not 3 whole numbers"),
        (pickle.dumps({"data": ROWS[:3], "labels": [0, 1, 2]}), "image 2 has label 2, but the classes are 0 to 1"),
        (None, "missing, the data set is incomplete"),
    ],
)
def test_a_damaged_cifar_file_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    pickled_10(tmp_path)
    file = tmp_path / "cifar-10-batches-py" / "test_batch"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_split(settings(tmp_path), "test")


def test_two_forms_of_cifar_in_one_folder_are_not_guessed_between(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of cifar-10-batches-py, .* is here"):
        load_split(settings(tmp_path), "train")
    pickled_10(tmp_path)
    plain_100(tmp_path)
    with pytest.raises(DataError, match=r"holds cifar-10-batches-py and cifar-100-binary; set data\.root to one"):
        load_split(settings(tmp_path), "train")
