"""The command line as its users meet it; in a process of its own where that makes a difference."""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pupil_client import cli
from pupil_client.command import main
from pupil_client.labelling.cli import labels

PICTURES = {"a.png": b"dog 1", "b/c.jpg": b"cat 2", "b/d.GIF": b"fox 3", "b/e.tiff": b"bad", "notes.txt": b"no"}
COLUMNS = [
    "image", "sha256", "label", "confidence", "accepted", "scores", "classes", "served_by", "model", "version",
    "fingerprint", "precision", "certificate", "error",
]  # fmt: skip


def pupil(*arguments):
    done = CliRunner().invoke(main, [str(each) for each in arguments], prog_name="pupil")
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def pupil_process(*arguments, path):
    """The real thing, with `path` before everything else that it can import."""
    command = [sys.executable, "-m", "pupil_client", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


@pytest.fixture
def folder(tmp_path):
    for name, data in PICTURES.items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "photos"


def commands(group, path=()):
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


OURS = [
    ("classify",),
    ("compare",),
    ("label",),
    ("labels",),
    *commands(labels, ("labels",)),
    ("models",),
    *commands(cli.models, ("models",)),
    ("demo",),
    (),
]


@pytest.mark.parametrize("verb", OURS, ids=" ".join)
def test_every_help_ends_with_an_example(verb):
    done = pupil(*verb, "--help")
    assert done.returncode == 0, done.stderr
    *_, head, example = done.stdout.splitlines()
    assert head.strip() == "Example:"
    assert example.split()[: len(verb) + 1] == ["pupil", *(verb or ["demo"])][: len(verb) + 1]


@pytest.mark.parametrize("group", [(), ("models",), ("labels",)], ids=" ".join)
def test_what_a_command_is_for_is_told_to_its_end(group):
    told = pupil(*group, "--help").stdout
    assert "..." not in told.partition("Commands:")[2]


def test_the_verbs_stand_in_the_order_of_the_work():
    lines = pupil("--help").stdout.partition("Commands:")[2].splitlines()
    verbs = [line.split()[0] for line in lines if line.startswith("  ") and not line.startswith("   ")]
    work = "augment train distill self-train evaluate report export import cascade tune serve token"
    assert verbs[:19] == [*work.split(), "classify", "compare", "certify", "label", "labels", "models", "demo"]


@pytest.mark.parametrize("verb", ["train", "report", "export", "serve", "models describe"])
def test_a_part_whose_dependencies_are_missing_says_what_brings_them(verb, tmp_path):
    """The module that runs when a heavy import is missing stands first on the path."""
    for name in ("torch", "onnx", "onnxruntime", "numpy", "pydantic", "grpc_health", "tomllib"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('none', name='{name}')")
    (tmp_path / "run").mkdir()
    arguments = {"train": ["digits_teacher"], "report": [tmp_path / "run", "--output", tmp_path / "report.html"],
                 "export": [tmp_path / "run", "--repository", tmp_path],
                 "serve": ["--repository", tmp_path], "models describe": ["lenet5"]}[verb]  # fmt: skip
    done = pupil_process(*verb.split(), *arguments, path=tmp_path)
    extra = {"export": "export", "serve": "server", "report": "report"}.get(verb, "training")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: pupil {verb} needs ")
    assert done.stderr.endswith(f": pip install 'pupil[{extra}]'\n")


def test_a_part_adds_its_commands_to_those_of_models():
    listed = pupil("models", "--help").stdout.partition("Commands:")[2].splitlines()
    found = [line.split()[0] for line in listed if line.startswith("  ") and not line.startswith("   ")]
    assert {"list", "describe"} < set(found)
    described = pupil("models", "describe", "lenet5", "--size", "28x28x1", "--classes", 10)
    assert described.stdout.splitlines()[-1].split() == ["total", "61,706", "416,520"]
    assert pupil("models", "describ").returncode == 2


def test_the_base_install_is_enough_to_import_the_client():
    heavy = ["numpy", "torch", "onnx", "onnxruntime", "PIL", "pydantic"]
    script = "import sys, pupil_client, pupil_client.cli, pupil_client.command, pupil_client.labelling.job\n" \
             f"print([name for name in {heavy} if name in sys.modules])"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_classify_answers_each_image_and_names_the_one_that_fails(server, folder):
    good, bad = folder / "a.png", folder / "b/e.tiff"
    done = pupil("classify", good, bad, good, "--model", "student", "--top-k", 2, "--server", server.address)
    assert done.stdout == f"{good}: dog 0.750, cat 0.125\n" * 2
    assert f"{bad}: not a picture\n" in done.stderr
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "Error: 1 of 3 images failed")


def test_classify_speaks_json(server, folder):
    done = pupil("classify", folder / "a.png", "--model", "student", "--json", "--server", server.address)
    row = json.loads(done.stdout)
    assert (row["image"], row["label"], row["confidence"]) == (str(folder / "a.png"), "dog", 0.75)
    assert row["answered_by"]["version"] == 2


def test_compare_says_who_thinks_what(server, folder):
    images = [folder / "a.png", folder / "b/c.jpg"]
    done = pupil("compare", *images, "--student", "student", "--server", server.address)
    assert done.stdout.splitlines() == [
        f"{images[0]}: student dog 0.750; teacher cat 0.750; differ, KL 0.5000",
        f"{images[1]}: student cat 0.750; teacher cat 0.750; agree, KL 0.5000",
    ]
    assert done.stderr == "they agree on 1 of 2 images\n"


def test_models_are_listed_loaded_unloaded_and_aliased(server):
    at = ("--server", server.address)
    listed = pupil("models", "list", *at).stdout.splitlines()
    assert listed[0].split()[:3] == ["model", "version", "state"]
    rows = [line.partition("stable")[0].split() for line in listed[2:]]
    assert rows == [["student", "1", "ready", "by", "version"], ["student", "2", "ready"]]
    assert pupil("models", "load", "student/2", *at).stdout == "student/2 is ready\n"
    assert pupil("models", "unload", "student/1", *at).stdout == "student/1 is unloaded\n"
    assert pupil("models", "alias", "student", "stable", 2, *at).stdout == "student@stable means student/2\n"
    assert pupil("models", "alias", "student", "stable", "--remove", *at).stdout == "student@stable is removed\n"
    assert pupil("models", "alias", "student", "stable", *at).returncode == 2
    assert server.rules.calls == ["List", "Load", "Unload", "SetAlias", "SetAlias"]


def test_a_folder_becomes_a_row_for_each_picture_in_order(server, folder, tmp_path):
    output = tmp_path / "labels.jsonl"
    done = pupil("label", folder, "--model", "student", "--precision", 0.98, "--delta", 0.1,
                 "--output", output, "--server", server.address)  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [list(row) for row in rows] == [COLUMNS] * 4
    assert [row["image"] for row in rows] == [str(folder / name) for name in list(PICTURES)[:4]]
    assert [row["label"] for row in rows] == ["dog", "cat", "fox", None]
    assert [row["accepted"] for row in rows] == [True, True, False, False]
    assert [row["error"] for row in rows] == [None, None, None, "not a picture"]
    assert [row["classes"] for row in rows] == [["cat", "dog", "fox"], None, None, None]
    assert rows[0]["sha256"] == hashlib.sha256(b"dog 1").hexdigest()
    assert rows[0]["scores"] == [0.125, 0.75, 0.125]
    assert (rows[0]["served_by"], rows[0]["model"], rows[0]["version"]) == (server.address, "student", 2)
    assert (rows[0]["certificate"]["precision"], rows[0]["certificate"]["guarantee"]) == (0.98, "pac")
    rest = "1 abstained, 1 skipped (the column error says why)"
    assert done.stderr.splitlines()[-2:] == [
        f"4 images: 2 accepted at precision ≥ 0.98 with confidence 0.9, {rest}",
        f"the abstentions as a review queue: pupil labels export {output} --to label-studio --output review.json",
    ]
    assert "4/4" in done.stderr  # the bar
    assert (server.rules.plans[-1].model.version, server.rules.plans[-1].scores) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.jsonl", "photos"]
    again = pupil("label", folder, "--model", "student", "--output", output, "--server", server.address)
    said = f"Error: {output} is there already; remove it to label anew, or name another file\n"
    assert (again.returncode, again.stderr) == (1, said)


def test_csv_and_standard_output_hold_the_same_rows(server, folder, tmp_path):
    output = tmp_path / "labels.csv"
    common = ("label", folder, "--model", "student", "--server", server.address)
    assert pupil(*common, "--output", output).returncode == 0
    with output.open(newline="") as file:
        cells = list(csv.DictReader(file))
    rows = [json.loads(line) for line in pupil(*common, "--output", "-").stdout.splitlines()]
    plain = ("image", "sha256", "label", "served_by", "model", "fingerprint", "precision", "error")
    for cell, row in zip(cells, rows, strict=True):
        assert list(cell) == COLUMNS
        assert [cell[name] for name in plain] == [row[name] or "" for name in plain]
        read_back = {name: json.loads(cell[name]) if cell[name] else None for name in COLUMNS if name not in plain}
        assert read_back == {name: row[name] for name in read_back}


def test_a_file_that_cannot_be_read_keeps_its_place(server, folder, tmp_path):
    (folder / "b/c0.png").touch()
    os.truncate(folder / "b/c0.png", 1 << 30)
    output = tmp_path / "labels.jsonl"
    assert pupil("label", folder, "--model", "student", "--output", output, "--server", server.address).returncode == 0
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [Path(row["image"]).name for row in rows] == ["a.png", "c.jpg", "c0.png", "d.GIF", "e.tiff"]
    assert rows[2]["error"].startswith("1,073,741,824 bytes are too many")
    assert [row["label"] for row in rows] == ["dog", "cat", None, "fox", None]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--output", "labels.txt"], "labels.txt: a labels file ends in .parquet, .jsonl, .csv"),
        (["--output", "nowhere/labels.csv"], "nowhere"),
        (["--output", "labels.csv", "--model", "large"], "no model 'large'; there is student"),
        (["--output", "labels.csv", "--guarantee", "fixed"], "guarantee 'fixed' accepts from a threshold on"),
        (
            ["--output", "labels.csv", "--threshold", "0.9"],
            "goes with guarantee 'fixed', and guarantee 'pac' finds its",
        ),
    ],
)
def test_what_label_cannot_do_is_told_in_one_line_and_leaves_nothing(
    server, folder, tmp_path, monkeypatch, change, said
):
    monkeypatch.chdir(tmp_path)
    done = pupil("label", folder, "--model", "student", "--server", server.address, *change)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("Error: ")
    assert said in last
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_folder_without_pictures_is_told(server, tmp_path):
    (tmp_path / "notes.txt").touch()
    done = pupil("label", tmp_path, "--model", "student", "--output", "-", "--server", server.address)
    assert done.returncode == 1
    assert "no images (.jpg, .jpeg, .png" in done.stderr
    assert done.stderr.endswith("here or below\n")


@pytest.mark.parametrize("verb", ["classify", "compare", "label", "models"])
def test_a_server_that_is_not_there_is_told_in_one_line(verb, folder, unused_address):
    arguments = {
        "classify": [folder / "a.png", "--model", "student"],
        "compare": [folder / "a.png", "--student", "student"],
        "label": [folder, "--model", "student", "--output", "-"],
        "models": ["list"],
    }
    done = pupil(verb, *arguments[verb], "--server", unused_address, "--timeout", 2)
    assert (done.returncode, done.stderr) == (1, f"Error: no server at {unused_address}\n")


def test_a_server_that_does_not_answer_is_given_up(server, folder):
    server.rules.silent.set()
    done = pupil("label", folder, "--model", "student", "--output", "-", "--server", server.address, "--timeout", 0.5)
    assert (done.returncode, done.stderr) == (1, f"Error: no answer from {server.address} within 0.5 s\n")


def test_an_interrupt_leaves_quietly_with_130(server):
    server.rules.silent.set()
    command = [sys.executable, "-m", "pupil_client", "models", "list", "--server", server.address, "--timeout", "60"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.rules.asked.wait(30)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", "interrupted\n")
    assert process.returncode == 130


def test_a_reader_who_has_enough_is_no_error(server, folder):
    image = next(folder.rglob("*.png"))
    words = [sys.executable, "-m", "pupil_client", "classify", *[image] * 3000]
    words += ["--model", "student", "--server", server.address]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(str(image))
        process.stdout.close()
        assert process.stderr.read() == ""
        process.wait(timeout=60)
