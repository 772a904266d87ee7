"""Tables of images."""

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import torch
from pyarrow import parquet

from pupil_training.data.splits import Splits, load_split
from pupil_training.errors import DataError, RecipeError
from pupil_training.loop import train
from pupil_training.recipe import Recipe, parse_recipe
from pupil_training.settings import DataSettings

Row = dict[str, Any]


@pytest.fixture
def rows(bars_folder: Path) -> list[Row]:
    """The bars' training and test pictures as rows, some with a split of their own, and the pool without labels."""
    labelled = [*sorted(bars_folder.glob("train/*/*.png")), *sorted(bars_folder.glob("test/*/*.png"))]
    rows = []
    for path in labelled:
        split = "test" if path.parts[-3] == "test" else "validation" if path.stem == "7" else ""
        name = path.relative_to(bars_folder).as_posix()
        rows.append({"path": name, "label": path.parent.name, "split": split, "photographer": "unknown"})
    pool = sorted(bars_folder.glob("pool/*.png"))
    rows += [{"path": path.relative_to(bars_folder).as_posix(), "label": None, "split": None} for path in pool]
    return rows


def write(folder: Path, rows: list[Row], suffix: str = "csv") -> Path:
    file = folder / f"images.{suffix}"
    if suffix == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), file)
        return file
    with file.open("w", newline="", encoding="utf-8-sig") as text:
        table = csv.DictWriter(text, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return file


def settings(root: Path, table: Path, **values: object) -> DataSettings:
    shares = {"validation": 0.2, "calibration": 0.2}
    return DataSettings.model_validate({"source": "table", "root": root, "table": table, **shares, **values})


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_gives_the_images_of_its_rows_by_split(
    rows: list[Row], bars_folder: Path, tmp_path: Path, suffix: str
) -> None:
    data = settings(bars_folder, write(tmp_path, rows, suffix))
    splits = Splits(data)
    loaded = {split: splits.load(split) for split in ("train", "validation", "calibration", "test", "pool")}
    assert {split: len(images) for split, images in loaded.items()} == {
        "train": 45, "validation": 3, "calibration": 12, "test": 30, "pool": 12,
    }  # fmt: skip
    assert loaded["pool"].labels is None
    folders = load_split(DataSettings(root=bars_folder), "test")
    assert loaded["test"].classes == folders.classes
    assert sorted(zip(loaded["test"].digests, loaded["test"].labels.tolist(), strict=True)) == sorted(
        zip(folders.digests, folders.labels.tolist(), strict=True)
    )
    assert {Path(picture.name).stem for picture in loaded["validation"].pictures} == {"7"}


def test_paths_may_be_relative_to_the_table(rows: list[Row], bars_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "train").symlink_to(bars_folder / "train")
    (tmp_path / "test").symlink_to(bars_folder / "test")
    table = write(tmp_path, [row for row in rows if row["label"]])
    elsewhere, beside = settings(bars_folder, table), settings(tmp_path / "nowhere", table)
    assert torch.equal(load_split(beside, "train").images, load_split(elsewhere, "train").images)


def test_a_table_trains(rows: list[Row], bars_folder: Path, tmp_path: Path, recipe: Callable[..., Recipe]) -> None:
    data = {"source": "table", "table": write(tmp_path, rows)}
    run = train(recipe(data=data), tmp_path / "run")
    assert run.classes == ("cross", "level", "upright")
    assert run.result["images"] == {"train": 45, "validation": 3}


def spoilt(rows: list[Row], number: int, **values: Any) -> list[Row]:
    return [{**row, **values} if i == number else row for i, row in enumerate(rows, start=1)]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("number", "values", "message"),
    [
        (3, {"path": "train/gone.png"}, r"row 3: no file 'train/gone\.png' in .* or beside the table"),
        (3, {"path": ""}, "row 3: no file ''"),
        (4, {"split": "exam"}, "row 4: 'exam' is not a split; the splits are train, validation, calibration"),
        (70, {"label": ""}, "row 70: is in test, but has no label"),
        (70, {"label": "slanted"}, "row 70: no train row is labelled 'slanted', which test has"),
    ],
)
def test_a_row_that_does_not_fit_is_named_by_its_number(
    rows: list[Row], bars_folder: Path, tmp_path: Path, suffix: str, number: int, values: Row, message: str
) -> None:
    data = settings(bars_folder, write(tmp_path, spoilt(rows, number, **values), suffix))
    with pytest.raises(DataError, match=message):
        [load_split(data, split) for split in ("train", "test")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("images.csv", b"image,label\na,b\n", "has no column 'path'; its columns are image, label"),
        ("images.csv", b"", "has no column 'path'; its columns are none"),
        ("images.csv", b"path,label\n\xff\xfe,b\n", "not a CSV table in UTF-8"),
        ("images.csv", b"path,label\na.png,\n", "its train rows have 0 classes, at least two are needed"),
        ("images.parquet", b"path,label\n", "not a Parquet table"),
        ("other.csv", None, "no such table"),
    ],
)
def test_what_is_no_table_of_images_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        load_split(settings(tmp_path, tmp_path / name), "train")
    assert "\n" not in str(error.value)


def test_parquet_without_pyarrow_is_answered_with_what_brings_it(
    rows: list[Row], bars_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write(tmp_path, rows, "parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as Python remembers a package that is not there
    with pytest.raises(DataError, match=r"reading Parquet needs pyarrow: pip install 'pupil\[parquet\]'"):
        load_split(settings(bars_folder, table), "train")


def test_the_source_and_its_table_go_together() -> None:
    for data in ({"source": "table"}, {"table": "images.csv"}):
        with pytest.raises(RecipeError, match=r"data\.source = 'table' and data\.table = FILE go together"):
            parse_recipe({"data": data}, "here")
