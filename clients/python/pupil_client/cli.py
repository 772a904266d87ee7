"""`pupil classify`, `pupil compare` and `pupil models`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pupil_client.server_options import MODEL_HELP, Server, asks_a_server, connected
from pupil_client.verbs import Verbs
from pupil_client.watch_view import show_watch

if TYPE_CHECKING:
    from pupil_client import Client, ModelInfo, Prediction

ROUTES = {  # of a cascade in words, where they say more
    "student_overloaded": "student, no promise: its teacher is overloaded",
    "student_late": "student, no promise: its teacher would be late",
    "student_unavailable": "student, no promise: its teacher is not loaded",
}
IMAGE = click.Path(exists=True, dir_okay=False, path_type=Path)
EVERY = click.option("--every", type=click.FloatRange(0.1), metavar="SECONDS", help="Look again, until interrupted.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.command(
    short_help="Classify images, by one model or in a cascade.",
    epilog="\b\nExample:\n  pupil classify cat.jpg --model student --top-k 3 --cascade 0.01",
)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…", type=IMAGE)
@click.option("--model", required=True, help=MODEL_HELP)
@click.option("--top-k", default=3, show_default=True, type=click.IntRange(min=1), help="Classes an image.")
@click.option(
    "--cascade",
    "limit",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Leave to MODEL's teacher what it is not sure of, so that at most SHARE of the images is lost.",
)
@click.option("--goal", default="disagreement", show_default=True, help="Lost means: disagreement, worse, accuracy.")
@click.option("--teacher", help=f"{MODEL_HELP}  [default: the one that MODEL's bundle names]")
@click.option("--student-alone", is_flag=True, help="Where the teacher is not loaded MODEL answers, without a promise.")
@AS_JSON
@asks_a_server
def classify(
    images: tuple[Path, ...],
    model: str,
    top_k: int,
    limit: float | None,
    goal: str,
    teacher: str | None,
    student_alone: bool,
    as_json: bool,
    server: Server,
) -> None:
    """The best classes of each IMAGE, in a cascade with who answered.

    An image that fails is named on standard error, the others are answered; then the exit code is 1.
    """
    from pupil_client import Cascade, NotFound, NotPossible, PupilError

    if student_alone and not limit:
        raise click.UsageError("--student-alone is about a cascade; give --cascade SHARE too")
    failed = unpromised = 0
    how = Cascade(limit=limit, goal=goal, teacher=teacher, student_alone=student_alone) if limit else None
    with connected(server) as client:
        answers = client.classify_stream(images, model=model, top_k=top_k, cascade=how)
        for path, found in zip(images, answers, strict=True):
            if isinstance(found, (NotFound, NotPossible)):
                raise found  # not about this image: every other one would hear the same
            if isinstance(found, PupilError):
                failed += 1
                click.echo(f"{path}: {found}", err=True)
            else:
                unpromised += found.route not in ("", "student", "teacher")
                by = f" ({ROUTES.get(found.route, found.route)})" if found.route else ""
                click.echo(_json_line(path, found) if as_json else f"{path}: {_ranking(found)}{by}")
    if unpromised:
        click.echo(f"{unpromised} of {len(images)} images carry no promise: the student answered alone", err=True)
    if failed:
        raise click.ClickException(f"{failed} of {len(images)} images failed")


@click.command(
    short_help="Compare student and teacher, on images or on traffic.",
    epilog="\b\nExample:\n  pupil compare cat.jpg dog.jpg --student student --teacher teacher/1",
)
@click.argument("images", nargs=-1, metavar="IMAGE…", type=IMAGE)
@click.option("--student", required=True, help=MODEL_HELP)
@click.option("--teacher", help=f"{MODEL_HELP}  [default: the one that the student's bundle names]")
@click.option("--watch", is_flag=True, help="Instead of IMAGEs: what was seen of the student's traffic so far.")
@EVERY
@AS_JSON
@asks_a_server
def compare(
    images: tuple[Path, ...],
    student: str,
    teacher: str | None,
    watch: bool,
    every: float | None,
    as_json: bool,
    server: Server,
) -> None:
    """Student and teacher on each IMAGE, or with --watch on the student's traffic, and how far apart they are."""
    if watch == bool(images):
        raise click.UsageError("give IMAGEs, or --watch")
    if watch and teacher:
        raise click.UsageError("--watch knows the teacher that the student's bundle names; leave out --teacher")
    if every and not watch:
        raise click.UsageError("--every looks again at what --watch shows; give both")
    with connected(server) as client:
        if watch:
            show_watch(client, student, every, as_json)
        else:
            _compare(client, images, student, teacher, as_json)


def _compare(client: "Client", images: tuple[Path, ...], student: str, teacher: str | None, as_json: bool) -> None:
    agreed = 0
    for path in images:
        with _naming(path):
            found = client.compare(path, student=student, teacher=teacher, top_k=1)
        agreed += found.agree
        sides = f"student {_ranking(found.student)}; teacher {_ranking(found.teacher)}"
        verdict = "agree" if found.agree else "differ"
        click.echo(_json_line(path, found) if as_json else f"{path}: {sides}; {verdict}, KL {found.kl:.4f}")
    click.echo(f"they agree on {agreed} of {len(images)} images", err=True)


@click.group(
    cls=Verbs,
    entries="pupil.commands.models",
    short_help="List, load, unload and alias what a server serves.",
    epilog="\b\nExample:\n  pupil models list",
)
def models() -> None:
    """What a server serves: list, load, unload, alias; and what a net is made of: describe."""


@models.command("list", epilog="\b\nExample:\n  pupil models list --json")
@AS_JSON
@asks_a_server
def list_models(as_json: bool, server: Server) -> None:
    """List every version in the server's repository, loaded or not."""
    from dataclasses import asdict

    from pupil_client.table import table

    with connected(server) as client:
        found = client.models()
    if as_json:
        for info in found:
            click.echo(json.dumps(asdict(info), ensure_ascii=False))
        return
    heads = ("model", "version", "state", "aliases", "precision", "device", "teacher", "reason")
    click.echo(table(heads, [
        (each.name, str(each.version), _state(each), ", ".join(each.aliases), each.precision, each.device, each.teacher,
         each.reason)
        for each in found
    ]))  # fmt: skip


def _state(info: "ModelInfo") -> str:
    """Of a ready version also that the name alone means another one."""
    return info.state if info.by_name or info.state != "ready" else "ready by version"


@models.command(
    short_help="Load a version, and point its model's name at it.", epilog="\b\nExample:\n  pupil models load student/2"
)
@click.argument("model")
@click.option("--keep-others", is_flag=True, help="Leave the other versions loaded; the name goes only to a newer one.")
@asks_a_server
def load(model: str, keep_others: bool, server: Server) -> None:
    """Load MODEL (name/version, or the newest of a name), then point the name at it; nothing is dropped.

    An older version than the one that answers is a roll back.
    """
    with connected(server) as client:
        info = client.load(model, keep_others=keep_others)
    click.echo(f"{info.name}/{info.version} is {info.state}")


@models.command(
    short_help="Finish what is in flight on a model, then free it.",
    epilog="\b\nExample:\n  pupil models unload student/1",
)
@click.argument("model")
@asks_a_server
def unload(model: str, server: Server) -> None:
    """Finish what is in flight on MODEL (name/version, or every version of a name), then free it."""
    with connected(server) as client:
        client.unload(model)
    click.echo(f"{model} is unloaded")


@models.command(
    short_help="Point an alias at a loaded version, for good.",
    epilog="\b\nExample:\n  pupil models alias student stable 2",
)
@click.argument("name")
@click.argument("alias")
@click.argument("version", type=click.IntRange(min=1), required=False)
@click.option("--remove", is_flag=True, help="Remove the alias instead.")
@asks_a_server
def alias(name: str, alias: str, version: int | None, remove: bool, server: Server) -> None:
    """Point NAME@ALIAS at a loaded VERSION, also after a restart; versions with an alias stay loaded."""
    if remove == (version is not None):
        raise click.UsageError("give a VERSION, or --remove")
    with connected(server) as client:
        client.set_alias(name, alias, version)
    click.echo(f"{name}@{alias} " + (f"means {name}/{version}" if version else "is removed"))


@models.command(
    short_help="Show what was seen of a student's traffic.",
    epilog="\b\nExample:\n  pupil models watch student --every 5",
)
@click.argument("model")
@EVERY
@click.option("--reset", is_flag=True, help="Forget what was seen, and the alarms, first.")
@AS_JSON
@asks_a_server
def watch(model: str, every: float | None, reset: bool, as_json: bool, server: Server) -> None:
    """What was seen of the traffic of MODEL, a student: how its teacher would differ, and what has changed."""
    with connected(server) as client:
        if reset:
            client.reset_watch(model)
        show_watch(client, model, every, as_json)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    from pupil_client import BadRequest

    try:
        yield
    except BadRequest as error:
        raise click.ClickException(f"{path}: {error}") from None


def _ranking(prediction: "Prediction") -> str:
    return ", ".join(f"{each.label} {each.score:.3f}" for each in prediction.top)


def _json_line(path: Path, found: Any) -> str:
    from dataclasses import asdict

    return json.dumps({"image": str(path), **asdict(found)}, ensure_ascii=False)
