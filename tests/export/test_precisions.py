"""A bundle in three precisions: its figures against ONNX Runtime and Pillow alone, its files against the server."""

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pupil_client import Client
from pupil_export import ExportError, export
from pupil_export.cli import export as command
from pupil_export.gate import Gate
from pupil_export.precisions import file_of, in_order
from pupil_server.bundle import read_bundle
from pupil_server.errors import BundleError
from pupil_training.runs import load_run
from pupil_trust import Calibration, Certificate, NotCertifiable, pac_certificate

Split = Callable[[str], tuple[np.ndarray, np.ndarray]]
SMALLER = ("fp16", "int8")


@pytest.fixture(scope="module")
def facts(compressed: Path) -> dict[str, Any]:
    return json.loads((compressed / "bundle.json").read_bytes())


@pytest.fixture(scope="module")
def said(facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What bundle.json says of each precision."""
    return {"fp32": facts, **facts["precisions"]}


@pytest.fixture(scope="module")
def scores(compressed: Path, said: dict[str, dict[str, Any]]) -> Callable[[str, np.ndarray], np.ndarray]:
    """The scores of images in a precision, by ONNX Runtime alone."""
    sessions = {precision: onnxruntime.InferenceSession(compressed / one["file"]) for precision, one in said.items()}
    return lambda precision, images: sessions[precision].run(["scores"], {"images": images})[0]


@pytest.fixture(scope="module")
def judged(scores: Callable[[str, np.ndarray], np.ndarray], runs: Path) -> Callable[[str, np.ndarray], np.ndarray]:
    """The scores that the figures are about: in fp16 those of PyTorch's half precision, which rounds as a GPU does."""
    model = load_run(runs / "teacher").model
    net = copy.deepcopy(model.net).half()

    def in_half(images: np.ndarray) -> np.ndarray:
        pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - model.mean) / model.std
        with torch.no_grad():
            return torch.softmax((net(pixels.half()).float() + model.shift) / model.temperature, 1).numpy()

    return lambda precision, images: in_half(images) if precision == "fp16" else scores(precision, images)


def test_precisions_are_ordered_named_once_and_always_hold_fp32() -> None:
    assert in_order(["int8", " fp16", "int8"]) == ("fp32", "fp16", "int8")
    assert in_order([]) == in_order(["fp32"]) == ("fp32",)
    assert [file_of(one, "golden/golden.json") for one in ("fp32", "int8")] == [
        "golden/golden.json",
        "golden/golden.int8.json",
    ]
    for unknown in ("fp8", "", "INT8"):
        with pytest.raises(ExportError, match=f"^'{unknown}' is no precision; --precision takes fp32, fp16, int8"):
            in_order(["fp16", unknown])


def test_by_default_there_is_fp32_alone(repository: Path) -> None:
    facts = json.loads((repository / "student/1/bundle.json").read_bytes())
    assert (facts["precision"], facts["precisions"]) == ("fp32", {})


def test_each_precision_brings_its_files_and_says_which(
    compressed: Path, facts: dict[str, Any], said: dict[str, dict[str, Any]]
) -> None:
    own = {"model.onnx", "calibration.json", "golden/golden.json"}
    own |= {file_of(precision, file) for precision in SMALLER for file in tuple(own)}
    assert set(facts["files"]) == own | {"trained_on.npy"} | {f"golden/{n}.png" for n in range(8)}
    assert list(facts["precisions"]) == list(SMALLER)
    for precision, one in said.items():
        assert {one[key] for key in ("file", "calibration", "goldens")} == {
            file_of(precision, file) for file in ("model.onnx", "calibration.json", "golden/golden.json")
        }
        assert one["bytes"] == (compressed / one["file"]).stat().st_size
        assert one["milliseconds"].keys() == {"1", "32"}
        assert all(milliseconds > 0 for milliseconds in one["milliseconds"].values())
    assert said["int8"]["bytes"] < said["fp16"]["bytes"] < said["fp32"]["bytes"]


@pytest.mark.parametrize("precision", ["fp32", *SMALLER])
def test_accuracy_and_calibration_error_are_those_of_its_own_graph(
    said: dict[str, dict[str, Any]], judged: Callable[[str, np.ndarray], np.ndarray], split: Split, precision: str
) -> None:
    for part in ("validation", "test"):
        pixels, labels = split(part)
        given = judged(precision, pixels)
        right = int((given.argmax(axis=1) == labels).sum())
        assert said[precision]["metrics"][f"{part}_accuracy"] == {"right": right, "of": len(labels)}
    surprise = -np.log(given[np.arange(len(labels)), labels].astype(np.float64))
    assert said[precision]["calibration_error"]["nll"] == pytest.approx(surprise.mean(), rel=1e-3)


@pytest.mark.parametrize(("precision", "rounding"), [("fp16", 1e-3), ("int8", 1e-5)])
def test_agreement_is_with_fp32_on_the_validation_split(
    said: dict[str, dict[str, Any]],
    judged: Callable[[str, np.ndarray], np.ndarray],
    split: Split,
    precision: str,
    rounding: float,
) -> None:
    pixels, _ = split("validation")
    ours, fp32 = judged(precision, pixels), judged("fp32", pixels)
    same = int((ours.argmax(axis=1) == fp32.argmax(axis=1)).sum())
    assert said[precision]["agreement"] == {"right": same, "of": 150}
    assert said[precision]["largest_difference"] == pytest.approx(np.abs(ours - fp32).max(), abs=rounding)
    assert same >= 147


@pytest.mark.parametrize("precision", SMALLER)
def test_certificates_come_from_the_confidences_of_its_own_graph(
    compressed: Path,
    said: dict[str, dict[str, Any]],
    judged: Callable[[str, np.ndarray], np.ndarray],
    split: Split,
    precision: str,
) -> None:
    proof = json.loads((compressed / said[precision]["calibration"]).read_bytes())
    pixels, labels = split("calibration")
    given = judged(precision, pixels)
    apart = np.abs(given.max(axis=1) - proof["confidence"])
    assert apart.mean() < 1e-5
    assert proof["predicted"] == given.argmax(axis=1).tolist()
    assert proof["confidence"] != json.loads((compressed / "calibration.json").read_bytes())["confidence"]
    evidence = Calibration(
        np.array(proof["confidence"]), np.array(proof["predicted"]) == labels, np.array(proof["grid"])
    )
    stored = {one["precision"]: Certificate.from_dict(one) for one in said[precision]["certificates"]}
    assert 0.9 in stored
    for promise in (0.90, 0.95, 0.98, 0.99, 0.995):
        try:
            certificate = pac_certificate(evidence, precision=promise, delta=0.05, fingerprint="")
        except NotCertifiable:
            certificate = None
        assert stored.get(promise) == certificate


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("fp16", 2e-2), ("int8", 5e-2)])
def test_goldens_hold_the_same_pictures_with_the_scores_of_each_precision(
    compressed: Path,
    said: dict[str, dict[str, Any]],
    scores: Callable[[str, np.ndarray], np.ndarray],
    precision: str,
    tolerance: float,
) -> None:
    golden = json.loads((compressed / said[precision]["goldens"]).read_bytes())
    assert golden["tolerance"] == tolerance
    assert [image["file"] for image in golden["images"]] == [f"{n}.png" for n in range(8)]
    for image in golden["images"]:
        with Image.open(compressed / "golden" / image["file"]) as picture:
            pixels = np.array(picture.resize((28, 28), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(image["scores"], scores(precision, pixels[None, ..., None])[0], atol=1e-5)


def test_the_card_has_a_row_for_each_precision(
    compressed: Path, facts: dict[str, Any], said: dict[str, dict[str, Any]]
) -> None:
    card = (compressed / "README.md").read_text()
    assert facts["machine"]["processor"] in card
    for precision, one in said.items():
        right = one["metrics"]["test_accuracy"]["right"]
        assert f"| {precision} | {one['bytes']:,} | {right} | 400 | {right / 400:.2%} |" in card
        for certificate in one["certificates"]:
            start = f"| {precision} | {certificate['precision']:g} | 0.05 | {certificate['threshold']:.6g} |"
            assert start in card
    int8 = facts["precisions"]["int8"]
    assert f"| {int8['agreement']['right'] / 150:.2%} | {int8['largest_difference']:.2g} |" in card
    assert f"{int8['quantisation']['weights']} weights" in card


def test_the_real_server_answers_in_each_of_three_precisions_as_its_graph_does(
    toolbox, compressed: Path, tmp_path: Path, digits: Path, scores: Callable[[str, np.ndarray], np.ndarray]
) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(compressed, repository / "teacher/1")
    file = next((digits / "test/3").glob("*.png"))
    with Image.open(file) as picture:
        pixels = np.array(picture.resize((28, 28), Image.Resampling.BILINEAR))
    more = [word for precision in SMALLER for word in ("--more-precisions", precision)]
    with toolbox.run_server(repository, *more) as server, Client(server.address) as client:
        for model, precision in (("teacher", "fp32"), *((f"teacher:{each}", each) for each in SMALLER)):
            found = client.classify(file.read_bytes(), model=model, scores=True)
            assert found.answered_by.precision == precision
            np.testing.assert_allclose(found.scores, scores(precision, pixels[None, ..., None])[0], atol=1e-4)


@pytest.mark.parametrize("precision", SMALLER)
@pytest.mark.parametrize("file", ["model.onnx", "calibration.json", "golden/golden.json"])
def test_the_server_refuses_a_bundle_in_which_one_byte_of_any_precision_flipped(
    compressed: Path, tmp_path: Path, precision: str, file: str
) -> None:
    folder = shutil.copytree(compressed, tmp_path / "teacher/1")
    read_bundle(folder)
    broken = folder / file_of(precision, file)
    content = bytearray(broken.read_bytes())
    content[len(content) // 2] ^= 1
    broken.write_bytes(content)
    with pytest.raises(BundleError, match=rf"{broken}: changed since it was exported \(the SHA-256 differs\)"):
        read_bundle(folder)


@pytest.mark.parametrize("precision", SMALLER)
def test_where_a_precision_is_refused_nothing_is_written(runs: Path, tmp_path: Path, precision: str) -> None:
    told = rf"^{precision}: .* agrees with fp32 on \d+\.\d\d% of them \(at least 110\.00% are wanted\); not exported"
    with pytest.raises(ExportError, match=told):
        export(runs / "teacher", tmp_path / "models", precisions=[precision], gate=Gate(least_agreement=1.1))
    assert list(tmp_path.iterdir()) == []


def test_int8_is_refused_where_the_training_images_changed(runs: Path, digits: Path, tmp_path: Path) -> None:
    shutil.copytree(digits, tmp_path / "data")
    shutil.copytree(runs / "teacher", tmp_path / "run")
    recipe = json.loads((tmp_path / "run/recipe.json").read_bytes())
    recipe["data"]["root"] = str(tmp_path / "data")
    (tmp_path / "run/recipe.json").write_text(json.dumps(recipe))
    next((tmp_path / "data/train/3").iterdir()).unlink()
    with pytest.raises(ExportError, match="its train images changed since"):
        export(tmp_path / "run", tmp_path / "models", precisions=["int8"])


def test_the_command_makes_the_same_int8_bytes_in_another_process_and_tells_a_machine(
    runs: Path, compressed: Path, tmp_path: Path
) -> None:
    arguments = ["--repository", tmp_path, "--precision", "int8, fp32,int8", "--json"]
    process = subprocess.run(
        [sys.executable, "-m", "pupil_client", "export", runs / "teacher", *arguments],
        env={**os.environ, "PYTHONHASHSEED": "1"},  # sets of names come in another order
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    shown = json.loads(process.stdout)
    assert shown["path"] == f"{tmp_path}/teacher/1"
    assert shown["precisions"] == json.loads((tmp_path / "teacher/1/bundle.json").read_bytes())["precisions"]
    assert list(shown["precisions"]) == ["int8"]
    assert (tmp_path / "teacher/1/model.int8.onnx").read_bytes() == (compressed / "model.int8.onnx").read_bytes()


def test_an_unknown_precision_is_one_line(runs: Path, tmp_path: Path) -> None:
    arguments = [str(runs / "student"), "--repository", str(tmp_path), "--precision", "int8,fp64"]
    result = CliRunner().invoke(command, arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    told = "Error: 'fp64' is no precision; --precision takes fp32, fp16, int8, with commas between"
    assert result.stderr.splitlines()[-1] == told
