"""The shifts as a part of the page: examples, curves and the numbers."""

from collections.abc import Sequence

from pupil_training.judge.judgement import Judgement
from pupil_training.report.figures import shift_curve
from pupil_training.report.parts import Part
from pupil_training.report.pictures import picture
from pupil_training.report.svg import inline
from pupil_training.report.under_shift import ShiftRow, shift_rows
from pupil_training.shifts import Shifted


def shift_part(judgements: Sequence[Judgement], shifted: Sequence[Sequence[Shifted]]) -> Part:
    """For each shift an example at every strength, and the accuracy of every model at each."""
    return {"shifts": [_shown(row) for row in shift_rows(judgements, shifted)]}


def _shown(row: ShiftRow) -> Part:
    name = row.shift.name
    return {
        "name": name,
        "examples": list(zip(row.written, map(picture, row.examples), strict=True)),
        "curve": inline(shift_curve(row.written, row.models), f"Accuracy, {name}"),
        "rows": list(zip(row.written, zip(*row.models, strict=True), strict=True)),
    }
