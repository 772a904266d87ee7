"""A cascade's accuracy against the share that it leaves to the teacher."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pupil_export.pair import Pair
from pupil_training.report.svg import series_colour, styled


@styled
def cascade_figure(pair: Pair, certified: Sequence[Mapping[str, Any]]) -> Figure:
    """The curve from the student alone to the teacher alone, with a mark at each certified threshold."""
    figure = Figure(figsize=(5.6, 3.4))
    axes = figure.subplots()
    curve = pair.curve()
    axes.plot([point.deferred for point in curve], [point.accuracy for point in curve], color=series_colour(0))
    axes.plot(
        [each["deferred"] for each in certified],
        [each["right"] for each in certified],
        color=series_colour(1),
        linestyle="none",
        marker="o",
        markersize=5,
        label="certified: at most so many lost",
    )
    for each in certified:
        where = (each["deferred"], each["right"])
        axes.annotate(f"{100 * each['limit']:g}%", where, xytext=(4, -11), textcoords="offset points")
    axes.set(xlabel="left to the teacher", ylabel=_measure(pair), xlim=(-0.02, 1.02))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    if certified:
        axes.legend(loc="lower right")
    _tell_cost(axes, pair)
    return figure


def _measure(pair: Pair) -> str:
    return f"{'right' if pair.labelled else 'as the teacher'}, of {len(pair.confidence):,} images"


def _tell_cost(axes: Axes, pair: Pair) -> None:
    """Along the top, where it is known: that of the student, which sees every image, and of what is left."""
    student = pair.cost(0)
    if student is None:
        return
    top = axes.secondary_xaxis("top", functions=(partial(np.add, student), partial(np.add, -student)))
    top.set_xlabel("multiply-adds, of the teacher's alone")
    top.xaxis.set_major_formatter(PercentFormatter(1))
