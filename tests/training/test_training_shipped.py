"""Every shipped recipe, run in seconds: the same code on the same data, with few steps."""

import csv
import hashlib
import json
from pathlib import Path

import pytest
import torch

from pupil_training.loop import train
from pupil_training.recipe import load_recipe
from pupil_training.runs import Run, load_run
from pupil_training.selftrain import self_train

FEW = ["steps=6", "eval_every=3", "log_every=2", "batch_size=8"]


def run_small(name: str, out: Path, *overrides: str) -> Run:
    return train(load_recipe(name, [*FEW, *overrides]), out / name)


@pytest.fixture(scope="module")
def accepted(digits: Path) -> Path:
    """A labels file that accepts every second picture of the pool."""
    rows = list(csv.DictReader((digits / "pool_labels.csv").read_text().splitlines()))
    file = digits / "labels.jsonl"
    with file.open("w") as lines:
        for i, row in enumerate(rows):
            sha256 = hashlib.sha256((digits / row["image"]).read_bytes()).hexdigest()
            first = {"classes": list("0123456789")} if i == 0 else {}
            lines.write(json.dumps({**row, **first, "sha256": sha256, "accepted": i % 2 == 0}) + "\n")
    return file


def test_the_digits_recipes_go_from_teacher_to_student_to_self_trained_student(
    digits: Path, accepted: Path, tmp_path: Path
) -> None:
    data = f"data.root={digits}"
    teacher = run_small("digits_teacher", tmp_path, data)
    alone = run_small("digits_student", tmp_path, data)
    taught = f"distill.teacher={teacher.folder}"
    distilled = run_small("digits_student_distilled", tmp_path, data, taught)
    selftrained = run_small("digits_student_selftrained", tmp_path, data, taught, f"labels.file={accepted}")
    assert distilled.result["images"] == {"train": 150, "validation": 150, "pool": 647}
    assert selftrained.result["images"] == {"train": 150, "validation": 150, "pseudo-labelled": 324}
    assert alone.result["parameters"] == distilled.result["parameters"] == 61_706 < teacher.result["parameters"]
    assert alone.result["teachers"] == []
    assert distilled.result["teachers"] == selftrained.result["teachers"]


def test_the_mnist_recipes_go_from_teacher_to_student(tiny_mnist: Path, tmp_path: Path) -> None:
    data = (f"data.root={tiny_mnist}", "data.validation=0.2", "data.calibration=0.2")
    teacher = run_small("mnist_teacher", tmp_path, *data)
    alone = run_small("mnist_student", tmp_path, *data)
    distilled = run_small("mnist_student_distilled", tmp_path, *data, f"distill.teacher={teacher.folder}")
    assert alone.result["data"] == distilled.result["data"] == teacher.result["data"]
    assert distilled.result["teachers"][0]["name"] == "mnist_teacher"


def test_hintons_recipes_teach_one_net_in_five_ways(tiny_mnist: Path, tmp_path: Path) -> None:
    data = (f"data.root={tiny_mnist}", "data.validation=0.2")
    alone = run_small("hinton_student", tmp_path, *data)
    runs = []
    for teacher, students in (
        ("mnist_teacher", ("student_distilled", "student_matched")),
        ("hinton_teacher", ("without_3", "only_7_8")),
    ):
        taught = f"distill.teacher={run_small(teacher, tmp_path, *data).folder}"
        runs += [run_small(f"hinton_{student}", tmp_path, *data, taught) for student in students]
    assert {run.result["parameters"] for run in [alone, *runs]} == {1_276_810}
    assert [run.result["images"]["train"] for run in runs] == [80, 80, 63, 14]  # of 100, less validation and pool
    assert [bool(run.model.shift.any()) for run in runs] == [False, False, True, True]


def test_few_labels_of_mnist_and_a_pool_of_the_rest(tiny_mnist: Path, tmp_path: Path) -> None:
    data = (f"data.root={tiny_mnist}", "data.labels=20", "data.validation=0.5", "pool.batch_size=16")
    run = run_small("mnist_few_labels", tmp_path, *data)
    assert run.result["images"] == {"train": 10, "validation": 10, "pool": 80}
    alone = run_small("mnist_few_labels", tmp_path / "alone", *data, "pool.method=none")
    assert alone.result["images"] == {"train": 10, "validation": 10}


def test_the_cifar_recipes_go_from_a_teacher_to_a_student_of_a_tenth(tiny_cifar: Path, tmp_path: Path) -> None:
    data = (f"data.root={tiny_cifar}", "data.validation=0.2", "data.calibration=0.2")
    teacher = run_small("cifar_teacher", tmp_path, *data)
    alone = run_small("cifar_student", tmp_path, *data)
    distilled = run_small("cifar_student_distilled", tmp_path, *data, f"distill.teacher={teacher.folder}")
    quarter = run_small("cifar_student_quarter", tmp_path, *data, f"distill.teacher={teacher.folder}")
    assert (
        3 * teacher.result["multiply_adds"] < 16 * quarter.result["multiply_adds"] < 4 * teacher.result["multiply_adds"]
    )
    assert alone.result["multiply_adds"] == distilled.result["multiply_adds"]
    assert alone.result["multiply_adds"] * 10 < teacher.result["multiply_adds"]
    assert distilled.result["teachers"][0]["name"] == "cifar_teacher"


def test_few_labels_of_cifar_and_rounds_over_the_rest(tiny_cifar: Path, tmp_path: Path) -> None:
    few = ("data.labels=100", "data.calibration=0.3", "selftrain.teacher_steps=3", "selftrain.rounds=1")
    anything = ("selftrain.guarantee=none", "selftrain.keep_going=true")
    recipe = load_recipe("cifar_few_labels", [*FEW, f"data.root={tiny_cifar}", *few, *anything])
    self_train(recipe, tmp_path / "rounds")
    student = load_run(tmp_path / "rounds" / "round-1" / "student")
    assert student.result["images"] == {"train": 60, "validation": 10, "pseudo-labelled": 100}


def test_two_classes_of_cifar_are_learned_on_top_of_the_others(tiny_cifar: Path, tmp_path: Path) -> None:
    data = (f"data.root={tiny_cifar}", "data.validation=0.2")
    others = 'data.only=["airplane", "automobile", "bird", "deer", "frog", "horse", "ship", "truck"]'
    eight = run_small("cifar_student", tmp_path, *data, others)
    few = (*data, "data.labels=20", f"transfer.run={eight.folder}")
    head = run_small("cifar_transfer", tmp_path / "head", *few, "transfer.mode=head")
    whole = run_small("cifar_transfer", tmp_path / "whole", *few, "transfer.mode=whole")
    before, frozen, moved = (next(run.model.net[2].parameters()) for run in (eight, head, whole))
    assert head.classes == whole.classes == ("cat", "dog")
    assert torch.equal(frozen, before)
    assert not torch.equal(moved, before)
