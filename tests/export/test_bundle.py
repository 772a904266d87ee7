import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pupil_export import ExportError, export
from pupil_export.answers import OnnxModel
from pupil_export.bundle import fingerprint
from pupil_training.runs import load_run
from pupil_trust import Calibration, Certificate, NotCertifiable, pac_certificate

Facts = dict[str, Any]


@pytest.fixture(scope="session")
def facts(repository: Path) -> Callable[[str], Facts]:
    """bundle.json of teacher/1 or student/1."""
    return lambda name: json.loads((repository / name / "1/bundle.json").read_bytes())


def test_a_bundle_is_exactly_the_documented_files(repository: Path) -> None:
    files = {path.relative_to(repository).as_posix() for path in repository.rglob("*") if path.is_file()}
    golden = {f"golden/{n}.png" for n in range(8)} | {"golden/golden.json"}
    each = {"model.onnx", "bundle.json", "calibration.json", "trained_on.npy", "README.md"} | golden
    assert files == {f"{name}/1/{file}" for name in ("teacher", "student") for file in each}


def test_bundle_json_says_what_the_run_knows(runs: Path, facts: Callable[[str], Facts]) -> None:
    said, run = facts("student"), load_run(runs / "student")
    assert {key: said[key] for key in ("format", "model", "version", "precision", "licence")} == {
        "format": 1,
        "model": "student",
        "version": 1,
        "precision": "fp32",
        "licence": "CC0-1.0",
    }
    assert said["classes"] == list("0123456789")
    assert said["input"] == {"height": 28, "width": 28, "channels": 1}
    assert said["resize"] == {"shortest_side": 28, "crop": "center", "interpolation": "bilinear"}
    assert said["temperature"] == run.model.temperature.item()
    assert said["parameters"] == 61_706
    # C1 28·28·25·6, C3 10·10·150·16, then 400·120, 120·84, 84·10
    assert said["multiply_adds"] == 117_600 + 240_000 + 48_000 + 10_080 + 840
    assert said["recipe"] == json.loads((runs / "student/recipe.json").read_bytes())
    assert said["images"] == {"train": 150, "validation": 150, "test": 400, "calibration": 450, "pool": 647}
    assert said["data"].keys() == said["images"].keys()


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_the_metrics_are_those_of_the_exported_graph(
    repository: Path,
    facts: Callable[[str], Facts],
    split: Callable[[str], tuple[np.ndarray, np.ndarray]],
    name: str,
) -> None:
    model = OnnxModel((repository / name / "1/model.onnx").read_bytes())
    for part, images in (("validation", 150), ("test", 400)):
        pixels, labels = split(part)
        right = int((model(pixels).predicted == labels).sum())
        assert facts(name)["metrics"][f"{part}_accuracy"] == {"right": right, "of": images}
    assert right > 200  # it did learn


def test_every_file_is_hashed_and_the_fingerprint_is_as_documented(
    repository: Path, facts: Callable[[str], Facts]
) -> None:
    said, folder = facts("student"), repository / "student/1"
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert said["files"].keys() == present - {"bundle.json", "README.md"}
    for file, digest in said["files"].items():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest
    rest = {key: said[key] for key in said if key != "fingerprint"}
    spelled = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert said["fingerprint"] == hashlib.sha256(spelled.encode()).hexdigest()


def test_a_flipped_byte_anywhere_changes_the_recomputed_fingerprint(
    repository: Path, facts: Callable[[str], Facts]
) -> None:
    said, folder = facts("student"), repository / "student/1"
    for file in said["files"]:
        content = bytearray((folder / file).read_bytes())
        content[len(content) // 2] ^= 1
        files = {**said["files"], file: hashlib.sha256(content).hexdigest()}
        assert fingerprint({**said, "files": files}) != said["fingerprint"]
    assert fingerprint({**said, "temperature": said["temperature"] + 1e-6}) != said["fingerprint"]
    assert fingerprint(said) == said["fingerprint"]


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_the_goldens_are_original_files_of_eight_classes_and_their_scores_are_pytorchs(
    runs: Path, repository: Path, digits: Path, name: str
) -> None:
    golden, model = repository / name / "1/golden", load_run(runs / name).model
    said = json.loads((golden / "golden.json").read_bytes())
    originals = {path.read_bytes(): path.parent.name for path in (digits / "validation").glob("*/*.png")}
    classes = set()
    for image in said["images"]:
        file = (golden / image["file"]).read_bytes()
        classes.add(originals[file])
        with Image.open(io.BytesIO(file)) as picture:
            assert picture.size == (8, 8)  # before resizing
            pixels = np.array(picture.resize((28, 28), Image.Resampling.BILINEAR))
        with torch.no_grad():
            logits = model(torch.from_numpy(pixels).float()[None, None] / 255)
        scores = torch.softmax(logits / model.temperature, dim=1)[0].numpy()
        np.testing.assert_allclose(image["scores"], scores, atol=said["tolerance"] / 10)
    assert len(classes) == 8


def test_calibration_json_holds_the_graphs_answers_and_a_grid_from_the_pool(
    repository: Path, split: Callable[[str], tuple[np.ndarray, np.ndarray]]
) -> None:
    said = json.loads((repository / "student/1/calibration.json").read_bytes())
    pixels, labels = split("calibration")
    answers = OnnxModel((repository / "student/1/model.onnx").read_bytes())(pixels)
    assert said["label"] == labels.tolist()
    assert said["predicted"] == answers.predicted.tolist()
    np.testing.assert_allclose(said["confidence"], answers.confidence, atol=1e-6)
    np.testing.assert_allclose(np.exp(said["energy"]), np.exp(answers.logits).sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose(said["brightness"], pixels.mean(axis=(1, 2, 3)) / 255)
    np.testing.assert_allclose(said["contrast"], pixels.std(axis=(1, 2, 3)) / 255)
    assert said["grid_from"] == "pool"
    assert 1 < len(said["grid"]) <= 20
    assert said["grid"] == sorted(set(said["grid"]), reverse=True)


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_the_stored_certificates_are_those_that_calibration_json_gives(
    repository: Path, facts: Callable[[str], Facts], name: str
) -> None:
    said = json.loads((repository / name / "1/calibration.json").read_bytes())
    correct = np.array(said["predicted"]) == np.array(said["label"])
    calibration = Calibration(np.array(said["confidence"]), correct, np.array(said["grid"]))
    stored = {one["precision"]: Certificate.from_dict(one) for one in facts(name)["certificates"]}
    assert 0.9 in stored
    for precision in (0.90, 0.95, 0.98, 0.99, 0.995):
        try:
            certificate = pac_certificate(calibration, precision=precision, delta=0.05, fingerprint="")
        except NotCertifiable:
            assert precision not in stored
        else:
            assert stored[precision] == certificate


def test_a_student_names_the_bundle_of_the_very_teacher_it_learned_from(facts: Callable[[str], Facts]) -> None:
    teacher = facts("teacher")
    assert teacher["teacher"] is None
    assert facts("student")["teacher"] == {"name": "teacher", "version": 1, "fingerprint": teacher["fingerprint"]}


def test_the_card_tells_the_same_figures(repository: Path, facts: Callable[[str], Facts]) -> None:
    card, said = (repository / "student/1/README.md").read_text(), facts("student")
    right = said["metrics"]["test_accuracy"]["right"]
    assert "distilled from `teacher` version 1" in card
    assert f"| test | {right} | 400 | {right / 400:.2%} |" in card
    assert "Licence: CC0-1.0." in card
    assert said["fingerprint"] in card
    for certificate in said["certificates"]:
        assert f"| {certificate['precision']:g} | 0.05 | {certificate['threshold']:.6g} |" in card


def test_without_calibration_test_and_pool_there_are_no_certificates_and_the_next_version_is_taken(
    runs: Path, digits: Path, repository: Path, tmp_path: Path
) -> None:
    data, run, models = tmp_path / "data", tmp_path / "run", tmp_path / "models"
    for part in ("train", "validation"):
        shutil.copytree(digits / part, data / part)
    shutil.copytree(runs / "student", run)
    recipe = json.loads((run / "recipe.json").read_bytes())
    recipe["data"] |= {"root": str(data), "calibration": 0.0}
    (run / "recipe.json").write_text(json.dumps(recipe))
    shutil.copytree(repository / "student/1", models / "student/7")

    assert export(run, models) == models / "student/8"
    said = json.loads((models / "student/8/bundle.json").read_bytes())
    assert said["certificates"] == []
    assert said["metrics"].keys() == {"validation_accuracy"}
    assert "calibration.json" not in said["files"]
    assert said["teacher"] == {"name": "teacher", "version": None, "fingerprint": None}  # no such bundle here
    assert "Labels of this model carry no promise" in (models / "student/8/README.md").read_text()

    next((data / "validation/3").iterdir()).unlink()
    with pytest.raises(ExportError, match=r"its validation images changed since .* was trained"):
        export(run, models)
