"""`pupil evaluate` on bundles, beside the runs that they were exported from."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from pupil_training.errors import BundleError
from pupil_training.judge.cli import evaluate
from pupil_training.judge.load import load_candidate


def reports(*words: object) -> list[dict]:
    done = CliRunner().invoke(evaluate, [*map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_bundle_is_judged_as_its_run_is_and_as_its_own_facts_say(runs: Path, repository: Path) -> None:
    bundle, run = reports(repository / "student/1", runs / "student")
    assert (bundle["kind"], run["kind"]) == ("bundle", "run")
    for key in ("accuracy", "interval", "sha256", "parameters", "multiply_adds", "agreement"):
        assert bundle[key] == run[key]
    for key in ("nll", "brier", "ece", "temperature", "kl"):
        assert bundle[key] == pytest.approx(run[key], abs=1e-5)
    assert run["against_first"] == {
        "path": str(repository / "student/1"), "only_first": 0, "only_this": 0, "p_value": 1.0,
    }  # fmt: skip
    facts = json.loads((repository / "student/1/bundle.json").read_bytes())
    assert bundle["accuracy"] == facts["metrics"]["test_accuracy"]
    assert bundle["nll"] == pytest.approx(facts["calibration_error"]["nll"])
    assert bundle["uncalibrated"]["ece"] == pytest.approx(facts["calibration_error"]["ece_uncalibrated"])
    assert bundle["bytes"] == (repository / "student/1/model.onnx").stat().st_size


def test_the_teacher_is_the_bundle_beside_it_if_it_is_still_the_same(repository: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(repository, tmp_path / "repository")
    assert reports(copied / "student/1")[0]["teacher"] == "teacher"
    facts = json.loads((copied / "teacher/1/bundle.json").read_bytes())
    (copied / "teacher/1/bundle.json").write_text(json.dumps(facts | {"fingerprint": "another"}))
    assert "teacher" not in reports(copied / "student/1")[0]
    shutil.rmtree(copied / "teacher")
    assert "teacher" not in reports(copied / "student/1")[0]


def test_a_bundle_that_is_not_whole_is_refused_in_one_line(repository: Path, toolbox, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"bundle\.json: says nothing of 'recipe'; export it again"):
        load_candidate(toolbox.write_bundle(tmp_path / "other", "student"))
    changed = shutil.copytree(repository / "student/1", tmp_path / "changed")
    (changed / "model.onnx").write_bytes(b"not what was exported")
    done = CliRunner().invoke(evaluate, [str(changed)])
    assert done.stderr == (
        f"Error: {changed}/model.onnx: not the file that bundle.json was written for; export the bundle again\n"
    )
    (changed / "bundle.json").write_text('{"format": 99}')
    with pytest.raises(BundleError, match="not of format 1"):
        load_candidate(changed)
