"""Noisy Student (Xie et al. 2020): rounds of teacher, labels, student, each of which can be killed and resumed."""

import hashlib
from collections.abc import Callable
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

from pupil_training.data import Splits
from pupil_training.errors import RunError
from pupil_training.files import write_json
from pupil_training.loop import train
from pupil_training.preprocess import Preprocess
from pupil_training.recipe import Recipe
from pupil_training.run_folder import require_same_settings
from pupil_training.runs import Run, differing_classes, load_run
from pupil_training.selftrain.acceptance import Refused
from pupil_training.selftrain.labelling import label_pool, true_labels, write_labels
from pupil_training.team import require_one_process

Say = Callable[[str], None]


def self_train(recipe: Recipe, folder: Path, *, resume: bool = False, force: bool = False, say: Say = print) -> Run:
    """The best run in `folder` after up to `selftrain.rounds` rounds; `rounds.json` tells each.

    The teacher, without noise, labels the pool; what its certificate accepts joins the labelled images; a student
    learns from both, with noise, and labels the pool in the next round if it is no worse on the validation split.
    A round that would not help is refused, and ends them. Raises TrainingError as `train` does.
    """
    require_one_process("rounds of self-training")
    if (folder / "rounds.json").exists() and not (resume or force):
        raise RunError(f"{folder}: holds rounds of self-training; choose another --out, --resume, or --force")
    folder.mkdir(parents=True, exist_ok=True)
    teacher = _first_teacher(recipe, folder, resume=resume, force=force)
    rounds = [_outcome(teacher, folder)]
    write_json(folder / "rounds.json", rounds)
    for number in range(1, recipe.selftrain.rounds + 1):
        here = folder / f"round-{number}"
        try:
            facts = _label(teacher, recipe, here)
        except Refused as reason:
            rounds.append({"refused": str(reason)})
            say(f"round {number} refused: {reason}")
            write_json(folder / "rounds.json", rounds)
            break
        say(f"round {number}: {sentence(facts)}")
        student = _trained(_student_recipe(recipe, number, here), here / "student", resume=resume, force=force)
        better = _right(student) >= _right(teacher)
        rounds.append({**facts, **_outcome(student, folder), "adopted": better})
        write_json(folder / "rounds.json", rounds)
        say(f"round {number}: {_right(student)} of {_of(student)} validation images right, {_right(teacher)} before")
        if not better and not recipe.selftrain.keep_going:
            say(f"round {number} made it worse: the run before it stays")
            break
        teacher = student
    return teacher


def _first_teacher(recipe: Recipe, folder: Path, *, resume: bool, force: bool) -> Run:
    how = recipe.selftrain
    if how.teacher is not None:
        return _fitting(load_run(how.teacher), recipe)
    alone = recipe.model_copy(update={"name": f"{recipe.name}_round_0", "steps": how.teacher_steps or recipe.steps})
    return _trained(alone, folder / "round-0", resume=resume, force=force)


def _fitting(teacher: Run, recipe: Recipe) -> Run:
    """The teacher, or RunError where its labels or its validation accuracy would be about something else."""
    splits = Splits(recipe.data)
    if teacher.classes != splits.classes:
        raise RunError(f"the data have {differing_classes(splits.classes, teacher.classes, teacher.folder)}")
    ours, theirs = (vars(Preprocess.of(each.data)) for each in (recipe, teacher.recipe))
    if differ := [f"data.{name} = {theirs[name]}" for name, value in ours.items() if value != theirs[name]]:
        raise RunError(f"{teacher.folder}: was trained with {', '.join(differ)}; give the recipe the same")
    if teacher.result["data"]["validation"] != splits.open("validation").sha256:
        raise RunError(
            f"{teacher.folder}: was validated on other images, so no student can be compared with it; give both the "
            f"same by data.splits = '{teacher.folder / 'splits.json'}'"
        )
    return teacher


def _trained(recipe: Recipe, folder: Path, *, resume: bool, force: bool) -> Run:
    """The run in the folder: read if it is finished, gone on with if it was interrupted."""
    if resume and (folder / "result.json").exists():
        run = load_run(folder)
        require_same_settings(recipe, run.recipe, folder)
        return run
    return train(recipe, folder, resume=resume, force=force)


def _label(teacher: Run, recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Labels the pool into `labels.jsonl`; a second time, the same teacher gives the same labels."""
    checkpoint = hashlib.sha256((teacher.folder / "checkpoint.pt").read_bytes()).hexdigest()
    labelled, pool = label_pool(teacher, recipe, fingerprint=checkpoint)
    if not labelled.accepted.any():
        raise Refused(f"none of the pool's {len(pool)} labels reaches {labelled.certificate.threshold:g}")
    folder.mkdir(parents=True, exist_ok=True)
    write_labels(folder / "labels.jsonl", labelled, pool)
    return labelled.facts(pool.classes, true_labels(recipe))


def _student_recipe(recipe: Recipe, number: int, folder: Path) -> Recipe:
    labels = recipe.labels.model_copy(update={"file": folder / "labels.jsonl"})
    model = recipe.selftrain.student or recipe.model
    return recipe.model_copy(update={"name": f"{recipe.name}_round_{number}", "labels": labels, "model": model})


def _outcome(run: Run, folder: Path) -> dict[str, Any]:
    path = run.folder.relative_to(folder) if run.folder.is_relative_to(folder) else run.folder
    return {"run": str(path), "validation_accuracy": run.result["metrics"]["validation_accuracy"]}


def sentence(facts: dict[str, Any]) -> str:
    """What a round accepted, from what confidence on, and under what promise."""
    certificate = facts["certificate"]
    told = f"{facts['accepted']} of {facts['pool']} labels accepted from confidence {certificate['threshold']:.4g} on"
    if certificate["guarantee"] in ("pac", "fdr"):
        told += f", promised {_rounded_down(certificate['precision']):.2%} right ({certificate['guarantee']})"
    if truly := facts.get("truly"):
        told += f", truly {truly['right'] / truly['of']:.2%}"
    return told


def _rounded_down(precision: float) -> Decimal:
    """To hundredths of a percent: what is told must not be more than what is promised."""
    return Decimal(str(precision)).quantize(Decimal("0.0001"), ROUND_FLOOR)


def _right(run: Run) -> int:
    return int(run.result["metrics"]["validation_accuracy"]["right"])


def _of(run: Run) -> int:
    return int(run.result["metrics"]["validation_accuracy"]["of"])
