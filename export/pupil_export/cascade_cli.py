"""`pupil cascade`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

if TYPE_CHECKING:
    from pupil_export.pair import Pair
    from pupil_trust.cascade import Goal

SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)
HEADS = ["at most", "student answers from", "left to the teacher", "lost", "right", "cost"]


@click.command(epilog="\b\nExample:\n  pupil cascade repository/student/1 --limit 0.01 --picture cascade.svg")
@click.argument("student", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--teacher", type=click.Path(path_type=Path), help="A bundle.  [default: the one that STUDENT names]")
@click.option("--goal", type=click.Choice(["disagreement", "worse", "accuracy"]), default="disagreement",
              show_default=True, help="When an image is lost.")  # fmt: skip
@click.option("--limit", "limits", type=SHARE, multiple=True, default=(0.005, 0.01, 0.02, 0.05), show_default=True,
              help="The share of images that may be lost; repeatable.")  # fmt: skip
@click.option("--delta", type=SHARE, default=0.05, show_default=True, help="The chance that the promise is broken.")
@click.option("--precision", default="", metavar="NAME", help="Of the student.  [default: what stands at the top]")
@click.option("--picture", type=click.Path(path_type=Path), help="Draw accuracy against what is left to the teacher.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a limit.")
def cascade(
    student: Path,
    teacher: Path | None,
    goal: str,
    limits: tuple[float, ...],
    delta: float,
    precision: str,
    picture: Path | None,
    as_json: bool,
) -> None:
    """What the bundle STUDENT before its teacher would cost and give, by the calibration images of both.

    With probability 1 - delta over calibration sets, at most a share LIMIT of the images is lost: answered otherwise
    than the teacher would (disagreement), wrong where it would be right (worse), or wrong (accuracy). `right` is the
    share of these calibration images, and no promise; `cost` is in multiply-adds, of the teacher's alone.
    """
    from pupil_export.errors import ExportError
    from pupil_export.pair import Pair, teacher_beside
    from pupil_training.judge.table import aligned

    try:
        pair = Pair.read(student, teacher or teacher_beside(student), precision)
    except ExportError as error:
        raise click.ClickException(str(error)) from error
    found = [_row(pair, cast("Goal", goal), limit, delta) for limit in sorted(limits)]
    if as_json:
        for row in found:
            click.echo(json.dumps(row))
    else:
        agree = (pair.said == pair.told).mean()
        click.echo(f"{len(pair.confidence):,} calibration images: student {pair.student_right.mean():.2%} right, "
                   f"teacher {pair.teacher_right.mean():.2%}, they agree on {agree:.2%}")  # fmt: skip
        click.echo(aligned([HEADS, *map(_spelled, found)]))
        for row in found:
            if "missing" in row:
                click.echo(f"{row['limit']:.2%}: {row['missing']}", err=True)
    if picture:
        _draw(pair, found, picture)


def _row(pair: "Pair", goal: "Goal", limit: float, delta: float) -> dict[str, Any]:
    """The certificate with what it means here, or what is missing for one."""
    from pupil_trust.certificates import NotCertifiable

    try:
        certificate = pair.certificate(goal, limit, delta)
    except NotCertifiable as error:
        return {"limit": limit, "missing": str(error)}
    point = pair.at(certificate.threshold)
    return {**certificate.to_dict(), "right": point.accuracy, "cost": pair.relative_cost(point.deferred)}


def _spelled(row: dict[str, Any]) -> list[str]:
    limit = f"{row['limit']:.2%}"
    if "missing" in row:
        return [limit, *["-"] * 5]
    threshold = f"{row['threshold']:.4f}" if row["threshold"] <= 1 else "never"
    cost = "-" if row["cost"] is None else f"{row['cost']:.1%}"
    return [limit, threshold, f"{row['deferred']:.1%}", str(row["lost"]), f"{row['right']:.2%}", cost]


def _draw(pair: "Pair", found: list[dict[str, Any]], picture: Path) -> None:
    from pupil_training.commands import brought_by, one_line_errors
    from pupil_training.files import written_whole

    kind = picture.suffix.lower().removeprefix(".")
    if kind not in ("svg", "png", "pdf"):
        raise click.ClickException(f"{picture}: a name that ends in .svg, .png or .pdf is wanted")
    with one_line_errors():
        with brought_by("report", "--picture"):
            from pupil_export.cascade_figure import cascade_figure
        figure = cascade_figure(pair.curve(), [row for row in found if "missing" not in row])
        with written_whole(picture) as file:
            figure.savefig(file, format=kind)
    click.echo(picture, err=True)
