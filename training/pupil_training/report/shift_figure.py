"""Every shift on one sheet: an image at growing strength, and what that does to the accuracy of each model."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from pupil_training.judge.judgement import Judgement
from pupil_training.report.figures import draw_shift
from pupil_training.report.svg import LINE, MUTED, series_colour, styled
from pupil_training.report.under_shift import shift_rows
from pupil_training.shifts import SHIFTS, Shifted

MOST = 1 + max(len(shift.strengths) for shift in SHIFTS)  # pictures in a row
CURVE = 4  # pictures that a curve is wide


@styled
def shift_sheet(judgements: Sequence[Judgement], shifted: Sequence[Sequence[Shifted]]) -> Figure:
    """A row for each shift, on white paper."""
    figure = Figure(figsize=(9.5, 1.5 * len(SHIFTS)), facecolor="white")
    grid = figure.add_gridspec(len(SHIFTS), MOST + CURVE)
    for place, row in enumerate(shift_rows(judgements, shifted)):
        for column, (written, pixels) in enumerate(zip(row.written, row.examples, strict=True)):
            _show(figure.add_subplot(grid[place, column]), pixels, written)
        figure.axes[-len(row.written)].set_ylabel(row.shift.name)
        draw_shift(figure.add_subplot(grid[place, MOST:]), row.written, row.models)
    lines = [Line2D([], [], color=series_colour(place), marker="o", markersize=3) for place in range(len(judgements))]
    figure.legend(lines, [str(each.candidate.path) for each in judgements], loc="outside upper right", ncols=4)
    return figure


def _show(axes: Axes, pixels: NDArray[np.uint8], written: str) -> None:
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    axes.set_title(written, color=MUTED, fontsize=8)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, color=LINE)
