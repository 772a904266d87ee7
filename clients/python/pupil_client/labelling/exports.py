"""Labels files in the forms that other tools read: class folders, Label Studio, FiftyOne."""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pupil_client.labelling.rows import COLUMNS, COMPARISON, Row
from pupil_client.labelling.whole import whole_file, whole_folder
from pupil_client.labelling.writers import labels_file

ROWS = 1024  # written at a time
NO_FILES = "are not files here: out of tars, tables and arrays pupil labels extract takes them"


@dataclass
class Exported:
    """How many rows went out, how many could not and why, and of how many nobody can open the image by its name."""

    rows: int = 0
    left_out: int = 0
    because: str = ""
    unseen: int = 0

    def sentence(self) -> str:
        """`583 rows, 2 left out: they have no label`."""
        told = f"{self.rows:,} rows" + (f", {self.left_out:,} left out: {self.because}" if self.left_out else "")
        return told + (f"; {self.unseen:,} of the images {NO_FILES}" if self.unseen else "")


def to_folders(rows: Iterable[Row], output: Path, *, copy: bool) -> Exported:
    """`<output>/<label>/<name>-<hash>.<suffix>`, as hard links, or as copies where links are not wanted or possible.

    Raises ValueError for a class that cannot be a folder, or where none of the images is a file; OSError.
    """
    done = Exported(because=f"they {NO_FILES}")
    with whole_folder(output) as folder:
        for row in rows:
            image = Path(row["image"])
            if row["label"] is None or not image.is_file():
                done.left_out += 1
                continue
            place = folder / _folder_name(row["label"])
            place.mkdir(exist_ok=True)
            _put(image, place / f"{image.stem}-{(row.get('sha256') or '')[:12]}{image.suffix}", copy=copy)
            done.rows += 1
        if done.left_out and not done.rows:
            raise ValueError(f"none of these {done.left_out:,} images can go into a folder: {done.because}")
    return done


def _folder_name(label: str) -> str:
    if Path(label).name != label or label.startswith("."):
        raise ValueError(f"class {label!r} cannot be the name of a folder; export to another form")
    return label


def _put(image: Path, place: Path, *, copy: bool) -> None:
    if place.exists():
        return  # the same bytes under the same name
    try:
        if copy:
            shutil.copyfile(image, place)
        else:
            os.link(image, place)
    except OSError:
        if copy:
            raise
        shutil.copyfile(image, place)  # another disk, or one that knows no links


def to_label_studio(rows: Iterable[Row], output: Path, *, prefix: str) -> Exported:
    """Tasks with a prediction each, for a project whose configuration has Choices `label` to an Image `image`."""
    done = Exported()
    with whole_file(output) as file:
        file.write(b"[")
        for row in rows:
            task = json.dumps(_task(row, prefix), ensure_ascii=False).encode()
            file.write((b",\n" if done.rows else b"\n") + task)
            done.rows += 1
            done.unseen += not Path(row["image"]).is_file()
        file.write(b"\n]\n")
    return done


def _task(row: Row, prefix: str) -> Row:
    data = {"image": prefix + row["image"], "path": row["image"], "sha256": row.get("sha256")}
    if row["label"] is None:
        return {"data": data}
    result = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [row["label"]]}}
    model = f"{row.get('model')}/{row.get('version')}"
    return {"data": data, "predictions": [{"model_version": model, "score": row.get("confidence"), "result": [result]}]}


def to_fiftyone(rows: Iterable[Row], output: Path) -> Exported:
    """A folder of FiftyOne's type FiftyOneImageClassificationDataset: `data.json` says where the images are."""
    done, classes = Exported(because="they have no label"), None
    files: dict[str, str] = {}
    labels: dict[str, Row] = {}
    for number, row in enumerate(rows):
        classes = row.get("classes") or classes
        if row["label"] is None:
            done.left_out += 1
            continue
        key = f"{number:08}"
        files[key] = os.path.abspath(row["image"])  # noqa: PTH100  # resolve() would follow links
        about = {name: row.get(name) for name in ("accepted", "sha256", "model", "version")}
        labels[key] = {"label": row["label"], "confidence": row.get("confidence"), "attributes": about}
        done.rows += 1
    classes = classes or sorted({each["label"] for each in labels.values()})
    with whole_folder(output) as folder:
        (folder / "data.json").write_text(json.dumps(files, ensure_ascii=False, indent=1), encoding="utf-8")
        about = {"classes": classes, "labels": labels}
        (folder / "labels.json").write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")
    return done


def to_table(rows: Iterable[Row], output: Path, form: str) -> Exported:
    """A labels file again, in the format `form`. Raises ValueError where the suffix says another, OSError."""
    if output.suffix != f".{form}":
        raise ValueError(f"{output}: a file of this form ends in .{form}")
    done = Exported()
    remaining = iter(rows)
    some = list(islice(remaining, ROWS))
    columns = (*COLUMNS, *(name for name in COMPARISON if some and name in some[0]))
    with labels_file(output, columns) as write:
        while some:
            write({name: [row.get(name) for row in some] for name in columns})
            done.rows += len(some)
            some = list(islice(remaining, ROWS))
    return done
