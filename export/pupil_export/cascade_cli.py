"""`pupil cascade`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from pupil_training.commands import brought_by, check_place, one_line_errors

if TYPE_CHECKING:
    from pupil_export.bundle_graph import BundleGraph
    from pupil_export.pair import Pair
    from pupil_trust.cascade import Goal

SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)
PATH = click.Path(path_type=Path)
HEADS = ["at most", "student answers from", "left to the teacher", "lost", "right", "cost", "time"]


@click.command(
    short_help="Tell what a student before its teacher costs and loses.",
    epilog="\b\nExamples:\n  pupil cascade repository/student/1 --limit 0.01 --picture cascade.svg\n"
    "  pupil cascade repository/small/1 repository/large/1 --images photos --goal worse",
)
@click.argument("student", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("teacher", required=False, type=PATH)
@click.option("--images", type=click.Path(exists=True, path_type=Path), metavar="FOLDER|TABLE",
              help="Ask both about these, that trained neither, and write that down for the server.")  # fmt: skip
@click.option("--goal", type=click.Choice(["disagreement", "worse", "accuracy"]), default="disagreement",
              show_default=True, help="When an image is lost.")  # fmt: skip
@click.option("--limit", "limits", type=SHARE, multiple=True, default=(0.005, 0.01, 0.02, 0.05), show_default=True,
              help="The share of images that may be lost; repeatable.")  # fmt: skip
@click.option("--delta", type=SHARE, default=0.05, show_default=True, help="The chance that the promise is broken.")
@click.option("--precision", default="", metavar="NAME", help="Of the student.  [default: what stands at the top]")
@click.option("--teacher-precision", default="", metavar="NAME", help="Likewise.")
@click.option("--picture", type=PATH, help="Draw accuracy against what is left to the teacher.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a limit.")
def cascade(
    student: Path,
    teacher: Path | None,
    images: Path | None,
    goal: str,
    limits: tuple[float, ...],
    delta: float,
    precision: str,
    teacher_precision: str,
    picture: Path | None,
    as_json: bool,
) -> None:
    """What the bundle STUDENT before the bundle TEACHER, by default its own, would cost and give.

    With probability 1 - delta over calibration sets, at most a share LIMIT of the images is lost: answered otherwise
    than the teacher would (disagreement), wrong where it would be right (worse), or wrong (accuracy). `right` is the
    share of the images at hand, and no promise; `cost` is in multiply-adds, of the teacher's alone, and `time` in
    milliseconds where both were measured on one machine.

    The images are those that both bundles were calibrated on, or --images: a folder, labelled by its class folders if
    it has such, or a table with the columns path and label. Without labels, only disagreement can be promised.
    The folder of a model means its newest bundle.
    """
    if picture:
        _check_picture(picture)
    with one_line_errors():
        from pupil_export.bundle_graph import BundleGraph
        from pupil_export.pair import teacher_beside
        from pupil_training.bundles import find_bundle

        ours = BundleGraph.read(find_bundle(student) or student, precision)
        named = teacher or teacher_beside(ours)
        theirs = BundleGraph.read(find_bundle(named) or named, teacher_precision)
        pair = _asked(ours, theirs, images, goal) if images else _known(ours, theirs)
    found = [_row(pair, cast("Goal", goal), limit, delta) for limit in sorted(limits)]
    if as_json:
        for row in found:
            click.echo(json.dumps(row))
    else:
        _print(pair, found)
    if picture:
        _draw(pair, found, picture)


def _known(student: "BundleGraph", teacher: "BundleGraph") -> "Pair":
    """What a server knows: of images that both were asked about before, or else of their calibration sets."""
    from pupil_export.cascade_evidence import read_evidence
    from pupil_export.pair import Pair

    return read_evidence(student, teacher) or Pair.of_calibration(student, teacher)


def _asked(student: "BundleGraph", teacher: "BundleGraph", place: Path, goal: str) -> "Pair":
    """Both asked about a user's images, and what they said written down."""
    from pupil_export.cascade_evidence import ask_both, write_evidence
    from pupil_export.cascade_images import read_images
    from pupil_export.pair import require_same_classes

    require_same_classes(student, teacher)
    images = read_images(place, student.facts["classes"])
    if goal != "disagreement":
        images.require_labels()
    unchecked = images.require_new_to(student) + images.require_new_to(teacher)
    pair = ask_both(images, student, teacher)
    for what in unchecked:
        click.echo(what, err=True)
    click.echo(write_evidence(pair, unchecked), err=True)
    return pair


def _row(pair: "Pair", goal: "Goal", limit: float, delta: float) -> dict[str, Any]:
    """The certificate with what it means here, or what is missing for one."""
    from pupil_trust.certificates import NotCertifiable

    try:
        certificate = pair.certificate(goal, limit, delta)
    except NotCertifiable as error:
        return {"limit": limit, "missing": str(error)}
    point = pair.at(certificate.threshold)
    return {
        **certificate.to_dict(),
        "right": point.accuracy,
        "cost": pair.cost(point.deferred),
        "time": pair.time(point.deferred),
    }


def _print(pair: "Pair", found: list[dict[str, Any]]) -> None:
    from pupil_training.judge.table import aligned

    agree = f"they agree on {(pair.said == pair.told).mean():.2%}"
    right = f"student {pair.student_right.mean():.2%} right, teacher {pair.teacher_right.mean():.2%}, "
    click.echo(f"{len(pair.confidence):,} images: {right if pair.labelled else 'no labels, '}{agree}")
    click.echo(aligned([HEADS, *map(_spelled, found)]))
    for row in found:
        if "missing" in row:
            click.echo(f"{row['limit']:.2%}: {row['missing']}", err=True)


def _spelled(row: dict[str, Any]) -> list[str]:
    limit = f"{row['limit']:.2%}"
    if "missing" in row:
        return [limit, *["-"] * 6]
    threshold = f"{row['threshold']:.6g}" if row["threshold"] <= 1 else "never"
    cost, time = ("-" if share is None else f"{share:.1%}" for share in (row["cost"], row["time"]))
    return [limit, threshold, f"{row['deferred']:.1%}", str(row["lost"]), f"{row['right']:.2%}", cost, time]


def _check_picture(picture: Path) -> None:
    if picture.suffix.lower() not in (".svg", ".png", ".pdf"):
        raise click.ClickException(f"{picture}: a name that ends in .svg, .png or .pdf is wanted")
    check_place(picture)


def _draw(pair: "Pair", found: list[dict[str, Any]], picture: Path) -> None:
    from pupil_training.files import written_whole

    with one_line_errors():
        with brought_by("report", "--picture"):
            from pupil_export.cascade_figure import cascade_figure
        figure = cascade_figure(pair, [row for row in found if "missing" not in row])
        with written_whole(picture) as file:
            figure.savefig(file, format=picture.suffix[1:].lower())
    click.echo(picture, err=True)
