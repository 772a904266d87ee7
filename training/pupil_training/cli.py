"""`pupil train`, `pupil distill`, `pupil self-train` and `pupil evaluate`."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pupil_training.one_line_errors import one_line_errors

if TYPE_CHECKING:
    from pupil_training.recipe import Recipe

Command = TypeVar("Command", bound=Callable[..., Any])


def _recipe_options(command: Command) -> Command:
    """What `train` and `distill` take alike."""
    for option in (
        click.option("--force", is_flag=True, help="Train again over a finished run."),
        click.option("--resume", is_flag=True, help="Go on where an interrupted run stopped."),
        click.option("--out", type=click.Path(path_type=Path), help="The run.  [default: runs/<recipe's name>]"),
        click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]…"),
        click.argument("recipe"),
    ):
        command = option(command)
    return command


@click.command(epilog="\b\nExample:\n  pupil train digits_teacher data.root=demo/data --out runs/teacher")
@_recipe_options
def train(recipe: str, overrides: tuple[str, ...], **where: Any) -> None:
    """Train a model on labels, and on a teacher's answers where the recipe names one.

    RECIPE is a TOML file or the name of a shipped recipe; key=value overrides its settings.
    """
    with one_line_errors():
        from pupil_training.recipe import load_recipe

        _train(load_recipe(recipe, overrides), **where)


@click.command(
    epilog="\b\nExample:\n  pupil distill digits_student_distilled data.root=demo/data distill.teacher=runs/teacher"
)
@_recipe_options
def distill(recipe: str, overrides: tuple[str, ...], **where: Any) -> None:
    """Train a student to follow the teacher named by distill.teacher: a run, a bundle or grpc://host:port/model.

    RECIPE is a TOML file or the name of a shipped recipe; key=value overrides its settings.
    """
    with one_line_errors():
        from pupil_training.recipe import load_recipe

        settings = load_recipe(recipe, overrides)
        if not settings.distill.teacher:
            raise click.ClickException(f"{recipe} names no teacher: add distill.teacher=RUN, or use pupil train")
        _train(settings, **where)


@click.command("self-train", epilog="\b\nExample:\n  pupil self-train mnist_1000_labels data.root=../data")
@_recipe_options
def self_train(recipe: str, overrides: tuple[str, ...], out: Path | None, resume: bool, force: bool) -> None:
    """Rounds of teacher, labels and student on a pool without labels; prints the best run.

    RECIPE is a TOML file or the name of a shipped recipe; key=value overrides its settings. A killed command goes
    on with --resume, between rounds and inside one.
    """
    with one_line_errors():
        _wait_briefly()
        from pupil_training.recipe import load_recipe
        from pupil_training.selftrain import self_train as run_rounds

        settings = load_recipe(recipe, overrides)
        folder = out or Path("runs") / settings.name
        best = run_rounds(settings, folder, resume=resume, force=force, say=lambda line: click.echo(line, err=True))
        click.echo(best.folder)


@click.command(epilog="\b\nExample:\n  pupil evaluate runs/teacher runs/student --json")
@click.argument("runs", nargs=-1, required=True, metavar="RUN…", type=click.Path(path_type=Path))
@click.option("--split", default="test", show_default=True, help="train, validation, calibration or test.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a run.")
def evaluate(runs: tuple[Path, ...], split: str, as_json: bool) -> None:
    """Accuracy with its 95 % interval, calibration, and agreement with the teacher.

    The only place where training reads the test split.
    """
    with one_line_errors():
        _wait_briefly()
        from pupil_training.judge import evaluate_run

        for folder in runs:
            report = evaluate_run(folder, split)
            click.echo(json.dumps(report) if as_json else _sentence(report))


def _train(recipe: "Recipe", out: Path | None, resume: bool, force: bool) -> None:
    _wait_briefly()
    from pupil_training.loop import train
    from pupil_training.objectives.formula import formula

    if recipe.distill.teacher:
        click.echo(formula(recipe.distill, recipe.smoothing), err=True)
    run = train(recipe, out or Path("runs") / recipe.name, resume=resume, force=force)
    right = run.result["metrics"]["validation_accuracy"]
    seconds = run.result["seconds"]
    click.echo(f"{right['right']} of {right['of']} validation images right after {seconds:.0f} s", err=True)
    click.echo(run.folder)


def _wait_briefly() -> None:
    """Lets torch's threads spin only shortly while they wait for each other.

    With libgomp's 300,000 turns a step took thirty times as long beside other work on the same cores; without
    any, Linux wakes the threads on one core. It is read once, when torch is loaded.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _sentence(report: dict[str, Any]) -> str:
    counted, (low, high) = report["accuracy"], report["interval"]
    share = counted["right"] / counted["of"]
    line = f"{report['run']}: {share:.2%} ({low:.2%} to {high:.2%}) of {counted['of']} {report['split']} images, "
    line += f"NLL {report['nll']:.4f}, ECE {report['ece']:.4f}"
    if "agreement" in report:
        same = report["agreement"]["right"] / report["agreement"]["of"]
        line += f", agrees with {report['teacher']} on {same:.2%}, KL {report['kl']:.4f}"
    return line
