import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_digits

from pupil_training.data import load_split
from pupil_training.digits import main, write_digits
from pupil_training.errors import DataError
from pupil_training.settings import DataSettings


def test_every_scan_is_written_once_and_can_be_told_back_exactly(digits: Path) -> None:
    scans, labels = load_digits(return_X_y=True)
    paths = sorted(digits.rglob("*.png"), key=lambda path: path.stem)
    back = [np.rint(np.asarray(Image.open(path)) * (16 / 255)).ravel() for path in paths]
    assert np.array_equal(np.stack(back), scans)
    pool = dict(csv.reader((digits / "pool_labels.csv").read_text(encoding="utf-8").splitlines()))
    told = [pool.get(path.relative_to(digits).as_posix(), path.parent.name) for path in paths]
    assert told == [str(label) for label in labels]


def test_the_splits_are_stratified_and_of_the_promised_sizes(digits: Path) -> None:
    data = DataSettings(root=digits)
    sizes = {"train": 150, "validation": 150, "calibration": 450, "test": 400}
    for split, size in sizes.items():
        labels = load_split(data, split).labels
        assert labels is not None
        counts = labels.bincount()
        assert (int(counts.sum()), len(counts)) == (size, 10)
        assert int(counts.max()) - int(counts.min()) <= 4
    assert len(load_split(data, "pool")) == 647


def test_a_folder_that_exists_is_left_alone(digits: Path) -> None:
    before = sorted(digits.rglob("*"))
    with pytest.raises(DataError, match="exists already"):
        write_digits(digits)
    assert CliRunner().invoke(main, [str(digits)]).exit_code == 1
    assert sorted(digits.rglob("*")) == before


def test_another_seed_splits_otherwise(digits: Path, tmp_path: Path) -> None:
    assert CliRunner().invoke(main, [str(tmp_path / "digits"), "--seed", "1"]).exit_code == 0
    names = [{path.name for path in (folder / "train").rglob("*.png")} for folder in (digits, tmp_path / "digits")]
    assert names[0] != names[1]
