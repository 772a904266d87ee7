import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pytest
import torch
from pyarrow import parquet
from torch import Tensor

from pupil_training.data.labels import read_pseudo_labels, read_rows
from pupil_training.data.pseudo import open_pseudo
from pupil_training.errors import DataError
from pupil_training.loop import train
from pupil_training.preprocess import Preprocess
from pupil_training.recipe import DataSettings, LabelsSettings, Recipe

CLASSES = ("cross", "level", "upright")
Row = dict[str, Any]


class Loaded(NamedTuple):
    images: Tensor
    targets: Tensor


@pytest.fixture
def rows(bars_folder: Path) -> list[Row]:
    """What the service says about the pool: every third image is abstained from, and one could not be read."""
    rows: list[Row] = []
    for i in range(12):
        path = bars_folder / "pool" / f"{i:02}.png"
        scores = [0.1, 0.1, 0.1]
        scores[i % 3] = 0.8
        row = {"image": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "label": CLASSES[i % 3]}
        rows.append({**row, "confidence": 0.8, "accepted": i % 3 != 2, "scores": scores})
    rows[0] |= {"classes": list(CLASSES), "certificate": {"precision": 0.99}}
    rows.append({"image": "gone.png", "accepted": False, "error": "broken or truncated"})
    return rows


def write(folder: Path, rows: list[Row], suffix: str = "jsonl") -> Path:
    file = folder / f"labels.{suffix}"
    if suffix == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return file
    if suffix == "parquet":
        names = {name for row in rows for name in row}
        parquet.write_table(pyarrow.Table.from_pylist([{name: row.get(name) for name in names} for row in rows]), file)
        return file
    with file.open("w", newline="") as table:
        writer = csv.DictWriter(table, [*rows[0], "error"])
        writer.writeheader()
        for row in rows:
            plain = {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}
            writer.writerow(plain)
    return file


def load(file: Path, kind: str = "hard") -> Loaded:
    """Found by their paths, in a folder whose own pool holds none of them."""
    found = read_pseudo_labels(LabelsSettings.model_validate({"file": file, "kind": kind}), CLASSES, {})
    reading = open_pseudo(found, Preprocess.of(DataSettings()), streamed=False)
    return Loaded(reading[:], found.targets)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_the_accepted_rows_become_images_with_hard_or_soft_labels(rows: list[Row], tmp_path: Path, suffix: str) -> None:
    file = write(tmp_path, rows, suffix)
    hard, soft = load(file), load(file, "soft")
    assert hard.images.shape == (8, 28, 28, 1)
    assert hard.targets.tolist() == [0, 1] * 4
    assert torch.allclose(soft.targets, torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]] * 4))


def test_both_forms_hold_the_same_rows(rows: list[Row], tmp_path: Path) -> None:
    lines, table = (list(read_rows(write(tmp_path, rows, suffix))) for suffix in ("jsonl", "csv"))
    for line, row in zip(lines, table, strict=True):
        assert {**line, "confidence": str(line.get("confidence"))} == {**row, "confidence": str(row.get("confidence"))}


def test_paths_may_be_relative_to_the_labels_file(rows: list[Row], bars_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pool").symlink_to(bars_folder / "pool")
    relative = [{**row, "image": "pool/" + Path(row["image"]).name} for row in rows]
    assert torch.equal(load(write(tmp_path, relative)).images, load(write(bars_folder, rows)).images)


def test_a_labels_file_may_come_from_a_spreadsheet(rows: list[Row], tmp_path: Path) -> None:
    file = write(tmp_path, rows, "csv")
    file.write_text(file.read_text() + "short.png\n", encoding="utf-8-sig")
    assert load(file).targets.tolist() == [0, 1] * 4


def spoilt(rows: list[Row], number: int, **values: Any) -> list[Row]:
    return [{**row, **values} if i == number else row for i, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("number", "values", "message"),
    [
        (0, {"classes": ["cat", "dog"]}, r"its classes are \['cat', 'dog'\], those of the data are \['cross'"),
        (0, {"classes": ["level", "cross", "upright"]}, "its classes are"),
        (0, {"classes": None}, "its first row names no classes"),
        (1, {"sha256": "00"}, "changed since it was labelled"),
        (1, {"image": "nowhere.png"}, r"its image nowhere\.png is neither beside the file nor"),
        (1, {"sha256": None}, "has no sha256, so nobody knows whether it is what was labelled"),
        (1, {"confidence": "high"}, "has the confidence 'high', which is no number"),
        (1, {"label": "slanted"}, "is labelled 'slanted', which is not one of its classes"),
        (1, {"label": ["level"]}, r"is labelled \['level'\], which is not one of its classes"),
    ],
)
def test_a_labels_file_that_does_not_fit_is_refused(
    rows: list[Row], tmp_path: Path, number: int, values: Row, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(write(tmp_path, spoilt(rows, number, **values)))


@pytest.mark.parametrize(
    "scores", [None, [0.5, 0.5], [1, 1, 1], [-1, 1, 1], [float("nan"), 0.5, 0.5], ["a", "b", "c"], [[1], [], []], 1]
)
def test_soft_labels_need_scores(rows: list[Row], tmp_path: Path, scores: Any) -> None:
    with pytest.raises(DataError, match="has no scores over the 3 classes"):
        load(write(tmp_path, spoilt(rows, 1, scores=scores)), "soft")


def test_a_file_with_nothing_accepted_teaches_nothing(rows: list[Row], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of its 13 rows is accepted"):
        load(write(tmp_path, [{**row, "accepted": False} for row in rows]))


def test_what_is_no_labels_file_is_refused(tmp_path: Path) -> None:
    for content in ("image,label\n", "3\n"):
        (tmp_path / "labels.jsonl").write_text(content)
        with pytest.raises(DataError, match="not a labels file"):
            load(tmp_path / "labels.jsonl")
    with pytest.raises(DataError, match="no such labels file"):
        load(tmp_path / "other.jsonl")


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_pseudo_labels_join_the_training_split(
    recipe: Callable[..., Recipe], rows: list[Row], tmp_path: Path, kind: str
) -> None:
    labels = {"file": write(tmp_path, rows), "kind": kind}
    run = train(recipe(labels=labels), tmp_path / "run")
    assert run.result["images"] == {"train": 36, "validation": 12, "pseudo-labelled": 8}
