"""`pupil train`, `pupil distill` and `pupil self-train`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pupil_training.commands import one_line_errors, say, wait_briefly

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


@click.command(
    short_help="Train a model on labelled images.",
    epilog="\b\nExample:\n  pupil train digits_teacher data.root=demo/data --out runs/teacher",
)
@_recipe_options
def train(recipe: str, overrides: tuple[str, ...], **where: Any) -> None:
    """Train a model on labels, and on a teacher's answers where the recipe names one.

    RECIPE is a TOML file or the name of a shipped recipe; key=value overrides its settings.
    """
    with one_line_errors():
        from pupil_training.recipe import load_recipe

        _train(load_recipe(recipe, overrides), **where)


@click.command(
    short_help="Train a student to follow a teacher.",
    epilog="\b\nExample:\n  pupil distill digits_student_distilled data.root=demo/data distill.teacher=runs/teacher",
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


@click.command("self-train", epilog="\b\nExample:\n  pupil self-train cifar_few_labels data.root=CIFAR")
@_recipe_options
def self_train(recipe: str, overrides: tuple[str, ...], out: Path | None, resume: bool, force: bool) -> None:
    """Rounds of teacher, labels and student on a pool without labels; prints the best run.

    RECIPE is a TOML file or the name of a shipped recipe; key=value overrides its settings. A killed command goes
    on with --resume, between rounds and inside one.
    """
    with one_line_errors():
        wait_briefly()
        from pupil_training.recipe import load_recipe
        from pupil_training.selftrain import self_train as run_rounds

        settings = load_recipe(recipe, overrides)
        folder = out or Path("runs") / settings.name
        best = run_rounds(settings, folder, resume=resume, force=force, say=lambda line: say(line, err=True))
        say(best.folder)


def _train(recipe: "Recipe", out: Path | None, resume: bool, force: bool) -> None:
    wait_briefly()
    from pupil_training.idle import idle
    from pupil_training.loop import train
    from pupil_training.objectives.formula import formula

    for line in idle(recipe):
        say(line, err=True)
    if recipe.distill.teacher:
        say(formula(recipe.distill, recipe.smoothing), err=True)
    folder = out or Path("runs") / recipe.name
    try:
        run = train(recipe, folder, resume=resume, force=force)
    except KeyboardInterrupt:
        if (folder / "checkpoint.pt").exists() and not (folder / "result.json").exists():
            say(f"{folder}: the same command with --resume goes on from its last evaluation", err=True)
        raise
    right = run.result["metrics"]["validation_accuracy"]
    seconds = run.result["seconds"]
    say(f"{right['right']} of {right['of']} validation images right after {seconds:.0f} s", err=True)
    say(run.folder)
