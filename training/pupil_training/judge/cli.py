"""`pupil evaluate`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pupil_training.commands import brought_by, check_place, one_line_errors, wait_briefly

if TYPE_CHECKING:
    from pupil_training.judge.judgement import Judgement
    from pupil_training.shifts import Shifted


@click.command(
    short_help="Measure accuracy, calibration, cost and agreement.",
    epilog="\b\nExample:\n  pupil evaluate runs/teacher runs/student repository/student/1 --shifts",
)
@click.argument("paths", nargs=-1, required=True, metavar="RUN|BUNDLE…", type=click.Path(path_type=Path))
@click.option("--split", default="test", show_default=True, help="train, validation, calibration or test.")
@click.option("--data", "overrides", multiple=True, metavar="KEY=VALUE", help="Another setting of the data, as root=….")
@click.option("--shifts", is_flag=True, help="Also on the same images darker, turned, cropped, ….")
@click.option("--picture", type=click.Path(path_type=Path), help="Draw the shifts and their accuracies into a PNG.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a model, with everything.")
def evaluate(
    paths: tuple[Path, ...], split: str, overrides: tuple[str, ...], shifts: bool, picture: Path | None, as_json: bool
) -> None:
    """Accuracy, calibration, cost, and agreement with the teacher; several models are compared with the first.

    The only place, beside `pupil report` and an export's metrics, where the test split is read.
    """
    if picture and not shifts:
        raise click.ClickException("--picture draws the shifts: add --shifts")
    if picture:
        check_place(picture)
    with one_line_errors():
        wait_briefly()
        from pupil_training.files import written_whole
        from pupil_training.judge.judgement import judge
        from pupil_training.judge.load import Exam, load_candidate

        if picture:
            with brought_by("report", "--picture"):
                from pupil_training.report.shift_figure import shift_sheet
        candidates = [load_candidate(path, overrides) for path in paths]  # all of them, before the first is judged
        exam = Exam(split)
        judgements = [judge(candidate, exam) for candidate in candidates]
        shifted = [_shifted(each) for each in judgements] if shifts else []
        if picture:
            with written_whole(picture) as file:
                shift_sheet(judgements, shifted).savefig(file, format="png", dpi=150)
    click.echo(_json(judgements, shifted) if as_json else _text(judgements, shifted))


def _shifted(judgement: "Judgement") -> "list[Shifted]":
    from tqdm import tqdm

    what = f"shifts of {judgement.candidate.path}"
    return list(tqdm(judgement.shifted(), what, unit="shift", leave=False, disable=None))


def _json(judgements: "list[Judgement]", shifted: "list[list[Shifted]]") -> str:
    from pupil_training.judge.judgement import facts

    firsts: dict[str, Judgement] = {}  # of each set of images
    lines = []
    for place, judgement in enumerate(judgements):
        found = facts(judgement, firsts.setdefault(judgement.images.sha256, judgement))
        if shifted:
            found["shifts"] = [each.facts() for each in shifted[place]]
        lines.append(json.dumps(found, ensure_ascii=False))
    return "\n".join(lines)


def _text(judgements: "list[Judgement]", shifted: "list[list[Shifted]]") -> str:
    from pupil_training.judge.table import comparison, shift_table

    same_images: dict[str, list[Judgement]] = {}  # which alone can be compared
    for judgement in judgements:
        same_images.setdefault(judgement.images.sha256, []).append(judgement)
    tables = [comparison(group) for group in same_images.values()]
    return "\n\n".join([*tables, shift_table(judgements, shifted)] if shifted else tables)
