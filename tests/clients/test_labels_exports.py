"""What leaves a labels file, read back by something that is not ours."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from click.testing import CliRunner
from PIL import Image
from pyarrow import parquet

from pupil_client.command import main
from pupil_client.labelling.rows import COLUMNS, read_rows

CLASSES = ["cat", "dog", "fox"]
CERTIFICATE = {"guarantee": "pac", "precision": 0.9, "delta": 0.1, "threshold": 0.6, "calibration": 400,
               "accepted": 300, "wrong": 3, "p_value": 0.01, "coverage": 0.75, "fingerprint": "9f",
               "signature": "5e", "shift_p_value": 0.2, "shift_allowed": False}  # fmt: skip
SCORES = [[0.9, 0.05, 0.05], [0.25, 0.5, 0.25], [0.1, 0.2, 0.7], [0.45, 0.44, 0.11], None]


def pupil(*arguments):
    done = CliRunner().invoke(main, ["labels", *map(str, arguments)], prog_name="pupil")
    assert not isinstance(done.exception, Exception) or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture
def rows(tmp_path):
    """Two accepted, two abstained from, one that could not be read."""
    rows = []
    for number, scores in enumerate(SCORES):
        path = tmp_path / f"photos/{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(path)
        best = max(range(3), key=scores.__getitem__) if scores else None
        rows.append(
            {"image": str(path), "sha256": f"{number:064x}", "label": None if best is None else CLASSES[best],
             "confidence": scores and max(scores), "accepted": bool(scores) and max(scores) >= 0.6, "scores": scores,
             "classes": None if number else CLASSES, "served_by": "here", "model": "teacher", "version": 1,
             "fingerprint": "9f", "precision": "int8", "certificate": CERTIFICATE,
             "error": None if scores else "broken"}
        )  # fmt: skip
    return rows


@pytest.fixture
def labels(rows, tmp_path):
    file = tmp_path / "labels.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize("copy", [[], ["--copy"]])
def test_the_accepted_become_class_folders_of_links_or_copies(labels, rows, tmp_path, copy):
    done = pupil("export", labels, "--to", "folders", "--output", tmp_path / "out", *copy)
    assert (done.exit_code, done.stderr) == (0, "2 rows\n")
    found = {path.relative_to(tmp_path / "out"): path for path in (tmp_path / "out").rglob("*.png")}
    assert {str(path) for path in found} == {"cat/0-000000000000.png", "fox/2-000000000000.png"}
    for path in found.values():
        with Image.open(path) as image:
            assert np.asarray(image)[0, 0] == int(path.name[0])
        assert path.stat().st_nlink == (1 if copy else 2)


def test_images_that_are_no_files_are_left_out_and_counted(labels, rows, tmp_path):
    Path(rows[0]["image"]).unlink()
    done = pupil("export", labels, "--to", "folders", "--output", tmp_path / "out")
    said = "are not files here: out of tars, tables and arrays pupil labels extract takes them\n"
    assert done.stderr == f"1 rows, 1 left out: they {said}"
    queue = pupil("export", labels, "--to", "label-studio", "--only", "all", "--output", tmp_path / "review.json")
    assert queue.stderr == f"5 rows; 1 of the images {said}"


def test_where_no_image_is_a_file_folders_are_refused_with_what_to_do(labels, rows, tmp_path):
    for row in rows:
        Path(row["image"]).unlink()
    done = pupil("export", labels, "--to", "folders", "--output", tmp_path / "out")
    said = "they are not files here: out of tars, tables and arrays pupil labels extract takes them"
    assert (done.exit_code, done.stderr) == (1, f"Error: none of these 2 images can go into a folder: {said}\n")
    assert not (tmp_path / "out").exists()


def test_a_class_that_is_no_folder_is_refused_and_nothing_is_left(labels, rows, tmp_path):
    labels.write_text(json.dumps({**rows[0], "label": "../cat"}))
    done = pupil("export", labels, "--to", "folders", "--output", tmp_path / "out")
    assert (done.exit_code, done.stderr) == (
        1, "Error: class '../cat' cannot be the name of a folder; export to another form\n"
    )  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.jsonl", "photos"]


def test_a_folder_that_is_there_is_not_touched(labels, tmp_path):
    done = pupil("export", labels, "--to", "folders", "--output", tmp_path / "photos")
    assert done.exit_code == 1
    assert "photos is there already; name another folder, or remove it" in done.stderr


def test_label_studio_gets_the_abstentions_the_closest_first(labels, rows, tmp_path):
    output = tmp_path / "review.json"
    done = pupil("export", labels, "--to", "label-studio", "--output", output, "--prefix", "/data/local-files/?d=")
    assert done.stderr == "2 rows\n"
    prediction = {
        "model_version": "teacher/1",
        "score": 0.45,
        "result": [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["cat"]}}],
    }
    image = rows[3]["image"]
    data = {"image": f"/data/local-files/?d={image}", "path": image, "sha256": rows[3]["sha256"]}
    tasks = json.loads(output.read_text())
    assert tasks[0] == {"data": data, "predictions": [prediction]}
    assert [task["data"]["path"] for task in tasks] == [rows[3]["image"], rows[1]["image"]]


def test_where_both_models_were_asked_disagreement_comes_first(labels, rows, tmp_path):
    compared = [{**row, "agree": number != 1, "kl": 0.3 if number == 1 else 0.1} for number, row in enumerate(rows)]
    labels.write_text("".join(json.dumps(row) + "\n" for row in compared))
    output = tmp_path / "queue.parquet"
    assert pupil("export", labels, "--to", "parquet", "--output", output, "--only", "abstained").exit_code == 0
    table = parquet.read_table(output)
    assert table.column_names == [*COLUMNS, "agree", "kl"]
    assert table["image"].to_pylist() == [rows[1]["image"], rows[3]["image"]]
    assert table["agree"].to_pylist() == [False, True]
    assert table["classes"].to_pylist() == [CLASSES, None]


def test_columns_of_ones_own_in_parquet_stop_no_review_queue(rows, tmp_path):
    about = {"thumbnail": b"\xff\xd8", "seen": datetime.now(UTC)}
    parquet.write_table(pyarrow.Table.from_pylist([{**row, **about} for row in rows]), tmp_path / "labels.parquet")
    words = ["--to", "label-studio", "--output", tmp_path / "review.json"]
    assert pupil("export", tmp_path / "labels.parquet", *words).stderr == "2 rows\n"


def test_a_labels_file_may_come_from_a_spreadsheet(labels, rows, tmp_path):
    assert pupil("export", labels, "--to", "csv", "--output", tmp_path / "labels.csv").exit_code == 0
    saved = (tmp_path / "labels.csv").read_text()
    (tmp_path / "labels.csv").write_text(saved, encoding="utf-8-sig", newline="\r\n")
    assert [row["image"] for row in read_rows(tmp_path / "labels.csv")] == [row["image"] for row in rows]


def test_fiftyone_finds_every_image_and_its_label(labels, rows, tmp_path):
    done = pupil("export", labels, "--to", "fiftyone", "--output", tmp_path / "out")
    assert done.stderr == "4 rows, 1 left out: they have no label\n"
    files = json.loads((tmp_path / "out/data.json").read_text())
    about = json.loads((tmp_path / "out/labels.json").read_text())
    assert about["classes"] == CLASSES
    assert list(files.values()) == [row["image"] for row in rows[:4]]
    assert about["labels"]["00000001"] == {
        "label": "dog",
        "confidence": 0.5,
        "attributes": {"accepted": False, "sha256": rows[1]["sha256"], "model": "teacher", "version": 1},
    }
    assert files.keys() == about["labels"].keys()


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_table_holds_every_row_again(labels, rows, tmp_path, suffix):
    output = tmp_path / f"again.{suffix}"
    assert pupil("export", labels, "--to", suffix, "--output", output).stderr == "5 rows\n"
    if suffix == "parquet":
        found = parquet.read_table(output).to_pylist()
        rounded = [{**row, "scores": row["scores"] and np.float32(row["scores"]).tolist()} for row in rows]
        assert found == rounded
    elif suffix == "jsonl":
        assert output.read_bytes() == labels.read_bytes()
    else:
        with output.open(newline="") as file:
            cells = list(csv.DictReader(file))
        assert [cell["image"] for cell in cells] == [row["image"] for row in rows]
        assert [json.loads(cell["scores"] or "null") for cell in cells] == SCORES
        assert list(read_rows(output)) == rows


def annotated(path, choice, predicted="cat", **annotation):
    """A task as Label Studio exports it in the form JSON."""

    def result(label):
        return [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}]

    return {"id": 1, "data": {"image": f"/data/local-files/?d={path}", "path": str(path)},
            "annotations": [{"result": result(choice), "was_cancelled": False, **annotation}],
            "predictions": [{"result": result(predicted)}]}  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_corrected_labels_become_a_table_that_training_reads(tmp_path, suffix):
    from pupil_training.data.table import Table
    from pupil_training.settings import DataSettings

    paths = []
    for number in range(3):
        paths.append(tmp_path / f"photos/{number}.png")
        paths[-1].parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(paths[-1])
    tasks = [annotated(paths[0], "cat"), annotated(paths[1], "dog"), annotated(paths[2], "dog", was_cancelled=True)]
    tasks.append({"data": {"image": "x"}, "annotations": []})
    older = {**tasks[1]["annotations"][0], "updated_at": "2026-01-01", "result": tasks[0]["annotations"][0]["result"]}
    tasks[1]["annotations"] = [{**tasks[1]["annotations"][0], "updated_at": "2026-02-01"}, older]
    tasks[0]["data"]["sha256"] = "5e"
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    output = tmp_path / f"corrected.{suffix}"
    done = pupil("import", tmp_path / "export.json", "--output", output)
    assert done.stderr == "2 labels, 1 of them corrected, 2 tasks without one\n"
    if suffix == "csv":
        with output.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
    else:
        rows = parquet.read_table(output).to_pylist()
    assert [row["sha256"] for row in rows] == ["5e", ""]
    table = Table(DataSettings(root=tmp_path, source="table", table=output))
    listing = table.own("train")
    assert table.classes == ("cat", "dog")
    assert listing is not None
    assert [Path(picture.name) for picture in listing.pictures] == paths[:2]
    assert listing.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no json", "not JSON"),
        ('{"data": {}}', "not a list of tasks; export the project from Label Studio as JSON"),
        ('[{"data": {"image": "x"}}]', "none of its 1 tasks has a label"),
    ],
)
def test_what_is_no_label_studio_export_is_told(tmp_path, content, said):
    (tmp_path / "export.json").write_text(content)
    done = pupil("import", tmp_path / "export.json", "--output", tmp_path / "x.csv")
    assert done.exit_code == 1
    assert said in done.stderr
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.jsonl", b"nothing", "not a labels file"),
        ("x.jsonl", b"[1]", "line 1: has no image, label, accepted; is this a labels file?"),
        ("x.csv", b"a,b\n1,2\n", "row 1: has no image, label, accepted"),
        ("x.parquet", b"nothing", "not a Parquet table"),
        ("x.txt", b"", "a labels file ends in .jsonl, .csv, .parquet"),
    ],
)
def test_what_is_no_labels_file_is_told(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    done = pupil("export", tmp_path / name, "--to", "csv", "--output", tmp_path / "out.csv")
    assert done.exit_code == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_ten_thousand_classes_and_names_of_every_kind_come_back_from_each_format(rows, tmp_path, form):
    from pupil_training.data.labels import read_rows as read_to_train

    names = ["a,b.png", 'a "b".png', "two\nlines\r.png", " é.png", "=1+1.png"]
    scores = [float(np.float32(1 / (3 + place))) for place in range(10_000)]
    wanted = [{**row, "image": name, "scores": scores} for row, name in zip(rows, names, strict=True)]
    wanted[0]["classes"] = [f"class {place}" for place in range(10_000)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in wanted))
    output = tmp_path / f"out.{form}"
    assert pupil("export", tmp_path / "in.jsonl", "--to", form, "--output", output).exit_code == 0
    assert list(read_rows(output)) == wanted
    learnt = list(read_to_train(output))
    assert [(row["image"], row["scores"]) for row in learnt] == [(row["image"], row["scores"]) for row in wanted]


def test_parquet_without_pyarrow_is_answered_with_what_brings_it(labels, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    done = pupil("export", labels, "--to", "parquet", "--output", tmp_path / "x.parquet")
    assert done.stderr == f"Error: {tmp_path}/x.parquet: Parquet needs pyarrow: pip install 'pupil[parquet]'\n"
    assert pyarrow.__version__
