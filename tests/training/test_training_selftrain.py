"""Rounds of self-training: what is accepted, what is refused, and what a kill leaves."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from pupil_training.cli import self_train as command
from pupil_training.data import Splits, load_split
from pupil_training.errors import RecipeError, RunError
from pupil_training.loop import train
from pupil_training.recipe import Recipe, parse_recipe
from pupil_training.runs import load_run
from pupil_training.selftrain import self_train
from pupil_training.selftrain.acceptance import Refused, asked_precision, certify
from pupil_training.selftrain.rounds import sentence
from pupil_training.settings import SelfTrainSettings
from pupil_trust import Calibration, pool_grid

MakeRecipe = Callable[..., Recipe]
ROUNDS = {
    "steps": 60, "eval_every": 20, "log_every": 10, "batch_size": 12,
    "data": {"labels": 24, "validation": 0.25, "calibration": 0.25},
    "augment": {"shift": 5},
}  # fmt: skip


@pytest.fixture
def pool_of_train(recipe: MakeRecipe, bars_folder: Path, tmp_path: Path) -> MakeRecipe:
    """Recipes on the bars without their own pool: 24 images keep their label, 36 are the pool."""
    for split in ("train", "test"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / split).symlink_to(bars_folder / split)

    def make(**settings: object) -> Recipe:
        data = {**ROUNDS["data"], "root": tmp_path / "data"}
        return recipe(**{**ROUNDS, **settings, "data": data})

    return make


def told(folder: Path) -> list[dict]:
    return json.loads((folder / "rounds.json").read_text())


def test_rounds_label_the_pool_and_train_on_what_is_accepted(pool_of_train: MakeRecipe, tmp_path: Path) -> None:
    settings = pool_of_train(selftrain={"rounds": 2, "guarantee": "fixed", "threshold": 0.5, "keep_going": True})
    lines: list[str] = []
    best = self_train(settings, tmp_path / "out", say=lines.append)
    first, *rounds = told(tmp_path / "out")
    assert first["run"] == "round-0"
    truth = Splits(settings.data).hidden_labels()
    assert truth is not None
    for number, outcome in enumerate(rounds, start=1):
        rows = [json.loads(line) for line in (tmp_path / f"out/round-{number}/labels.jsonl").read_text().splitlines()]
        assert [row["accepted"] for row in rows] == [row["confidence"] >= 0.5 for row in rows]
        accepted = [
            row["label"] == ("cross", "level", "upright")[truth[i]] for i, row in enumerate(rows) if row["accepted"]
        ]
        assert outcome["truly"] == {"right": sum(accepted), "of": len(accepted)}
        assert sum(outcome["accepted_of_each_class"].values()) == outcome["accepted"] == len(accepted)
        student = load_run(tmp_path / "out" / outcome["run"])
        assert student.result["images"]["pseudo-labelled"] == len(accepted)
    assert best.folder in {tmp_path / "out" / each["run"] for each in [first, *rounds]}
    assert "labels accepted from confidence 0.5 on" in lines[0]


def test_rounds_begin_with_a_run_that_was_trained_before(pool_of_train: MakeRecipe, tmp_path: Path) -> None:
    teacher = train(pool_of_train(), tmp_path / "teacher")
    how = {"rounds": 1, "guarantee": "none", "teacher": teacher.folder}
    self_train(pool_of_train(selftrain=how), tmp_path / "rounds", say=len)
    first, student = told(tmp_path / "rounds")
    assert tmp_path / "rounds" / first["run"] == teacher.folder
    assert first["validation_accuracy"] == teacher.result["metrics"]["validation_accuracy"]
    assert student["run"] == "round-1/student"


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ({"only": ("upright", "cross", "level")}, "the same classes as .*, in another order"),
        (
            {"height": 32, "width": 32},
            r"trained with data\.height = 32, data\.width = 32, data\.shortest_side = 32;",
        ),
        ({"split_seed": 7}, "was validated on other images, so no student can be compared with it"),
    ],
)
def test_a_first_teacher_that_does_not_fit_is_refused(
    pool_of_train: MakeRecipe, tmp_path: Path, theirs: dict[str, Any], message: str
) -> None:
    settings = pool_of_train(steps=1, selftrain={"guarantee": "none", "teacher": tmp_path / "teacher"})
    data = settings.data.model_copy(update=theirs)
    train(settings.model_copy(update={"data": data}), tmp_path / "teacher")
    with pytest.raises(RunError, match=message):
        self_train(settings, tmp_path / "rounds", say=len)


def test_rounds_go_on_with_the_settings_that_they_began_with(pool_of_train: MakeRecipe, tmp_path: Path) -> None:
    how = {"rounds": 1, "guarantee": "none"}
    self_train(pool_of_train(steps=2, selftrain=how), tmp_path, say=len)
    with pytest.raises(RunError, match=r"round-0: cannot resume with other settings: selftrain\.rounds=2 \(it was 1\)"):
        self_train(pool_of_train(steps=2, selftrain={**how, "rounds": 2}), tmp_path, resume=True, say=len)


def test_rounds_are_the_work_of_one_process(
    pool_of_train: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(RecipeError, match="start the command without torchrun"):
        self_train(pool_of_train(), tmp_path, say=len)


def test_a_round_whose_promise_cannot_be_certified_is_refused_with_what_it_would_take(
    pool_of_train: MakeRecipe, tmp_path: Path
) -> None:
    lines: list[str] = []
    best = self_train(pool_of_train(selftrain={"precision": 0.99}), tmp_path / "out", say=lines.append)
    assert best.folder == tmp_path / "out" / "round-0"
    (reason,) = [outcome["refused"] for outcome in told(tmp_path / "out") if "refused" in outcome]
    assert "at least" in reason
    assert reason.endswith("; ask for less with selftrain.precision, or calibrate with more images")
    assert lines == [f"round 1 refused: {reason}"]


def test_rounds_that_were_killed_inside_a_student_go_on_to_the_same_weights(
    pool_of_train: MakeRecipe, tmp_path: Path
) -> None:
    settings = pool_of_train(
        steps=200, model={"dropout": 0.2}, selftrain={"rounds": 2, "guarantee": "none", "keep_going": True}
    )
    whole = self_train(settings, tmp_path / "whole", say=len)
    (tmp_path / "recipe.json").write_text(settings.model_dump_json())
    program = (
        "import sys; from pathlib import Path; from pupil_training import Recipe;"
        "from pupil_training.selftrain import self_train;"
        "self_train(Recipe.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))"
    )
    killed = tmp_path / "killed"
    with subprocess.Popen([sys.executable, "-c", program, tmp_path / "recipe.json", killed], stdout=-3) as process:
        metrics, patience = killed / "round-1/student/metrics.jsonl", time.monotonic() + 120
        while not (metrics.exists() and '"step": 60' in metrics.read_text()) and time.monotonic() < patience:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (killed / "round-1/student/result.json").exists()
    with pytest.raises(RunError, match="--resume, or --force"):
        self_train(settings, killed, say=len)
    before = (killed / "round-0/checkpoint.pt").stat().st_mtime_ns
    resumed = self_train(settings, killed, resume=True, say=len)
    assert (killed / "round-0/checkpoint.pt").stat().st_mtime_ns == before
    assert resumed.folder.relative_to(killed) == whole.folder.relative_to(tmp_path / "whole")
    ours, theirs = (
        load_run(folder / told(folder)[-1]["run"]).model.state_dict() for folder in (killed, tmp_path / "whole")
    )
    assert all((ours[name] == value).all() for name, value in theirs.items())


def evidence(right: int, wrong: int, confidence: np.ndarray) -> Calibration:
    """Calibration images, the wrong ones the least confident."""
    correct = np.arange(right + wrong) >= wrong
    return Calibration(np.linspace(0.4, 1, right + wrong), correct, pool_grid(confidence))


POOL = np.linspace(0.3, 1, 200)


def test_without_a_wish_a_quarter_of_the_teachers_error_is_promised_and_shared_among_the_rounds() -> None:
    calibration = evidence(960, 40, POOL)
    assert asked_precision(calibration, SelfTrainSettings()) == pytest.approx(0.99)
    certificate = certify(calibration, POOL, SelfTrainSettings(rounds=5, delta=0.1), "f")
    assert (certificate.guarantee, certificate.precision, certificate.delta) == ("pac", 0.99, 0.02)
    assert 0 < certificate.coverage < 1


def test_a_floor_ends_the_test_early_and_is_certified_all_the_same() -> None:
    calibration = evidence(9600, 400, POOL)
    floored = certify(calibration, POOL, SelfTrainSettings(threshold=0.8), "f")
    assert floored.threshold >= 0.8
    assert floored.p_value <= floored.delta
    assert certify(calibration, POOL, SelfTrainSettings(), "f").threshold < 0.8
    with pytest.raises(Refused, match="no image of the pool reaches"):
        certify(evidence(9600, 400, POOL * 0.5), POOL * 0.5, SelfTrainSettings(threshold=0.9), "f")


def test_a_promise_looser_than_the_teacher_is_refused() -> None:
    with pytest.raises(Refused, match=r"0\.9 accepts the whole pool, .* ask for 0\.975"):
        certify(evidence(960, 40, POOL), POOL, SelfTrainSettings(precision=0.9), "f")
    unsure = np.linspace(0.5, 0.9, 10)
    with pytest.raises(Refused, match=r"0\.99999 accepts the whole pool, .* ask for 0\.9999975$"):
        certify(evidence(600_000, 0, unsure), unsure, SelfTrainSettings(precision=0.99999), "f")
    with pytest.raises(Refused, match=r"precision 0\.99999 at delta 0\.0166667 needs at least"):
        certify(evidence(100, 0, unsure), unsure, SelfTrainSettings(precision=0.99999), "f")


def test_what_is_told_of_a_promise_is_no_more_than_is_promised() -> None:
    for precision, told in ((0.999975, "99.99%"), (0.99, "99.00%"), (0.57, "57.00%")):
        certificate = {"guarantee": "pac", "precision": precision, "threshold": 0.5}
        said = sentence({"certificate": certificate, "accepted": 9, "pool": 10})
        assert said == f"9 of 10 labels accepted from confidence 0.5 on, promised {told} right (pac)"


def test_fdr_accepts_what_conformal_labelling_accepts() -> None:
    certificate = certify(evidence(960, 40, POOL), POOL, SelfTrainSettings(guarantee="fdr", precision=0.97), "f")
    assert certificate.guarantee == "fdr"
    assert 0 < (certificate.threshold <= POOL).sum() < len(POOL)


def test_a_noised_teacher_carries_no_promise(pool_of_train: MakeRecipe, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no certificate covers"):
        parse_recipe({"selftrain": {"noised_teacher": True}}, "here")
    how = {"rounds": 1, "guarantee": "none", "noised_teacher": True}
    self_train(pool_of_train(selftrain=how), tmp_path / "noised", say=len)
    self_train(pool_of_train(selftrain={**how, "noised_teacher": False}), tmp_path / "plain", say=len)
    noised, plain = (
        [json.loads(line)["scores"] for line in (tmp_path / name / "round-1/labels.jsonl").read_text().splitlines()]
        for name in ("noised", "plain")
    )
    assert not np.allclose(noised, plain, atol=0.01)


def test_a_pool_of_its_own_is_judged_by_the_table_beside_it(digits: Path) -> None:
    settings = parse_recipe({"data": {"root": digits}}, "here").data
    truth, pool = Splits(settings).hidden_labels(), load_split(settings, "pool")
    assert truth is not None
    assert len(truth) == len(pool) == 647
    assert pool.labels is None


def test_the_command_prints_the_best_run(pool_of_train: MakeRecipe, tmp_path: Path) -> None:
    settings = pool_of_train()
    (tmp_path / "tiny.toml").write_text(f'steps = 20\n[data]\nroot = "{settings.data.root}"\nlabels = 24')
    words = ["data.validation=0.25", "data.calibration=0.25", "selftrain.guarantee=none", "selftrain.rounds=1"]
    result = CliRunner().invoke(command, [str(tmp_path / "tiny.toml"), *words, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.stderr
    assert Path(result.stdout.strip()).is_relative_to(tmp_path / "out")
    assert "round 1: 36 of 36 labels accepted" in result.stderr
