"""`pupil self-train`: rounds on this machine, which training brings, or one turn of the flywheel with a server."""

from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pupil_client.server_options import MODEL_HELP, Server, connected, reaches_a_server

if TYPE_CHECKING:
    from pupil_client.flywheel.turn import Turn

ROUNDS = "pupil.commands.self-train"  # the entry-point group of what training brings
GUARANTEES = ("pac", "fdr", "fixed", "none")
PATH = click.Path(exists=True, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    "self-train",
    short_help="Let a teacher label a pool, and train a student on it.",
    epilog="\b\nExamples:\n  pupil self-train cifar_few_labels data.root=CIFAR\n"
    "  pupil self-train digits_student --server localhost:50051 --model teacher --student student --repository models",
)
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]…")
@click.option("--out", type=click.Path(path_type=Path), help="The folder of it all.  [default: runs/<recipe's name>]")
@click.option("--resume", is_flag=True, help="Go on with rounds that were interrupted; with --server always so.")
@click.option("--force", is_flag=True, help="Train again over finished rounds.")
@click.option("--server", help="Turn the flywheel through this server instead: all that follows is about it.")
@click.option("--model", help=f"Who labels the pool: {MODEL_HELP}")
@click.option("--student", help="The model that gets a new version.  [default: the one that labels]")
@click.option("--repository", type=PATH, help="The folder that the server serves; both see it.")
@click.option("--alias", default="stable", show_default=True, help="Moved to the new version where it is no worse.")
@click.option("--guarantee", default="pac", show_default=True, type=click.Choice(GUARANTEES), help="Kind of promise.")
@click.option("--precision", default=0.99, show_default=True, help="Share of accepted labels that are right.")
@click.option("--label-delta", default=0.05, show_default=True, help="Chance that a pac promise is broken.")
@click.option("--threshold", type=float, help="Least confidence, for --guarantee fixed.")
@click.option("--certificate", type=FILE, help="What pupil certify wrote; its promise takes the place of these.")
@click.option("--allow-shift", is_flag=True, help="Accept although the pool is unlike the calibration images.")
@click.option("--pool", multiple=True, type=PATH, help="What to label.  [default: the recipe's pool]")
@click.option("--validation", type=FILE, help="Labelled images to compare both on: a table.  [default: the recipe's]")
@click.option(
    "--fresh",
    multiple=True,
    type=PATH,
    help="Unlabelled images beyond the pool: how often both versions agree with MODEL there is told too.",
)
@click.option("--margin", default=0.02, show_default=True, help="Share of all images by which worse is still no worse.")
@click.option("--delta", default=0.05, show_default=True, help="Chance that a version that is worse passes.")
@click.option("--patience", default=300.0, show_default=True, help="Longest time that the server may be away, seconds.")
@reaches_a_server
@click.pass_context
def self_train(
    context: click.Context,
    /,
    recipe: str,
    overrides: tuple[str, ...],
    out: Path | None,
    resume: bool,
    force: bool,
    server: Server | None,
    **asked: Any,
) -> None:
    """Label a pool, learn from it, and so on: on this machine in rounds, or with --server in one safe turn.

    Rounds print the best run. A turn labels the pool through the server under a promise, trains RECIPE's model on what
    is accepted, exports it as the next version, loads that beside the old one, and moves the alias only where both, on
    the same labelled images, show that the new one is no worse. Stopped or killed, the same command goes on; in
    story.json stands what came of each step.

    RECIPE is a TOML file or the name of a shipped recipe; key=value overrides its settings.
    """
    if server is None:
        _invoke_rounds(context, recipe=recipe, overrides=overrides, out=out, resume=resume, force=force)
        return
    from pupil_client.flywheel.turn import take_turn

    turn = _turn(recipe, overrides, out, **asked)
    with connected(server) as client:
        decision = take_turn(client, turn, lambda line: click.echo(line, err=True))
    click.echo(decision["reason"], err=True)
    click.echo(turn.folder / "story.json")


def _invoke_rounds(context: click.Context, **settings: Any) -> None:
    command: click.Command = next(iter(entry_points(group=ROUNDS))).load()
    context.invoke(command, **settings)


def _turn(recipe: str, overrides: tuple[str, ...], out: Path | None, **asked: Any) -> "Turn":
    from pupil_client.flywheel.turn import Turn
    from pupil_client.labelling.promise import Promise

    model, student, repository = asked["model"], asked["student"], asked["repository"]
    if not (model and repository):
        raise click.UsageError("with --server give --model, who labels, and --repository, the folder that it serves")
    promise = Promise(asked["guarantee"], asked["precision"], asked["label_delta"], asked["threshold"])
    same = (
        "repository",
        "alias",
        "certificate",
        "allow_shift",
        "pool",
        "validation",
        "fresh",
        "margin",
        "delta",
        "patience",
    )
    return Turn(
        recipe=recipe,
        overrides=overrides,
        folder=out or Path("runs") / Path(recipe).stem,
        labeller=model,
        student=student or model.partition("/")[0].partition("@")[0].partition(":")[0],
        promise=Promise("none") if asked["certificate"] else promise,
        **{name: asked[name] for name in same},
    )
