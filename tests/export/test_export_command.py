import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pupil_export.cli import export


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(export, [str(argument) for argument in arguments])


@pytest.fixture
def models(repository: Path, tmp_path: Path) -> Path:
    """A repository of one's own, with teacher/1."""
    shutil.copytree(repository / "teacher", tmp_path / "models/teacher")
    return tmp_path / "models"


def test_the_command_and_the_front_door_open_without_torch() -> None:
    check = "import sys, pupil_export.cli; sys.exit(any(heavy in sys.modules for heavy in ('torch', 'onnx', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", check], timeout=60, check=False).returncode == 0


def test_the_bundles_path_is_all_that_standard_output_gets(runs: Path, models: Path) -> None:
    result = run(runs / "student", "--repository", models, "--name", "pupil", "--version", "4", "--teacher", "teacher")
    assert (result.exit_code, result.stdout) == (0, f"{models}/pupil/4\n")
    said = json.loads((models / "pupil/4/bundle.json").read_bytes())
    teacher = json.loads((models / "teacher/1/bundle.json").read_bytes())
    assert said["teacher"] == {"name": "teacher", "version": 1, "fingerprint": teacher["fingerprint"]}

    again = run(runs / "student", "--repository", models, "--name", "pupil", "--version", "4")
    assert again.exit_code == 1
    assert again.stderr.endswith(f"Error: {models}/pupil/4: exists already; leave --version out for the next one\n")


def test_json_gives_the_facts_to_a_machine(runs: Path, models: Path) -> None:
    result = run(runs / "teacher", "--repository", models, "--json")
    shown, said = json.loads(result.stdout), json.loads((models / "teacher/2/bundle.json").read_bytes())
    assert shown.pop("path") == str(models / "teacher/2")
    assert shown == {key: said[key] for key in shown}
    assert shown["version"] == 2
    assert shown["metrics"]["test_accuracy"]["of"] == 400


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--repository", "{models}"], "nowhere: not a run"),
        (["{runs}/student", "--repository", "{models}", "--name", "a/b"], "'a/b': a model's name is made of"),
        (["{runs}/student", "--repository", "{models}", "--version", "0"], "version 0: a whole number from 1 on"),
        (
            ["{runs}/student", "--repository", "{models}", "--teacher", "teacher/3"],
            "{models}: holds no teacher 'teacher/3'; its bundles: teacher/1",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_1(
    runs: Path, models: Path, arguments: list[str], message: str
) -> None:
    result = run(*(argument.format(runs=runs, models=models) for argument in arguments))
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"Error: {message.format(models=models)}" in result.stderr.splitlines()[-1]


def test_an_image_that_the_disk_does_not_give_back_is_named_in_one_line(
    runs: Path, models: Path, digits: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(digits, tmp_path / "data")
    image = next((moved / "test").glob("*/*.png"))
    image.unlink()
    image.symlink_to("/proc/self/mem")  # whose first byte no process may read
    result = run(runs / "teacher", "--repository", models, "--data", f"root={moved}")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1:] == [f"Error: {image}: Input/output error"]


def test_an_unfinished_run_is_refused(runs: Path, models: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "student", tmp_path / "unfinished")
    (tmp_path / "unfinished/result.json").unlink()
    result = run(tmp_path / "unfinished", "--repository", models)
    assert result.exit_code == 1
    assert "the run is unfinished" in result.stderr.splitlines()[-1]


def test_data_that_was_moved_is_named_and_must_be_the_same(
    runs: Path, models: Path, digits: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(digits, tmp_path / "moved")
    away = shutil.copytree(runs / "teacher", tmp_path / "away")
    recipe = json.loads((away / "recipe.json").read_text())
    recipe["data"]["root"] = "data"  # as somebody else's working folder had it
    (away / "recipe.json").write_text(json.dumps(recipe))
    told = run(away, "--repository", models).stderr
    assert f"Error: data/train: no such folder, seen from {Path.cwd()}" in told
    assert run(away, "--repository", models, "--data", f"root={moved}").stdout == f"{models}/teacher/2\n"
    next((moved / "validation/3").iterdir()).unlink()
    assert "its validation images changed" in run(away, "--repository", models, "--data", f"root={moved}").stderr


def test_a_run_whose_data_has_other_classes_by_now_is_refused(
    runs: Path, models: Path, digits: Path, tmp_path: Path
) -> None:
    for part in ("train", "validation"):
        shutil.copytree(digits / part, tmp_path / "data" / part)
        (tmp_path / "data" / part / "9").rename(tmp_path / "data" / part / "nine")
    shutil.copytree(runs / "student", tmp_path / "run")
    recipe = json.loads((tmp_path / "run/recipe.json").read_bytes())
    recipe["data"]["root"] = str(tmp_path / "data")
    (tmp_path / "run/recipe.json").write_text(json.dumps(recipe))
    result = run(tmp_path / "run", "--repository", models)
    assert result.exit_code == 1
    assert "without ['9'], with ['nine'] instead" in result.stderr.splitlines()[-1]
    assert not (models / "student").exists()
