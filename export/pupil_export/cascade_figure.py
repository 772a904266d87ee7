"""A cascade's accuracy against the share that it leaves to the teacher."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pupil_export.pair import Pair
from pupil_training.report.svg import series_colour, styled


@styled
def cascade_figure(pair: Pair, certified: Sequence[Mapping[str, Any]]) -> Figure:
    """The curve from the student alone to the teacher alone, with a mark at each certified threshold."""
    figure = Figure(figsize=(5.6, 3.2))
    axes = figure.subplots()
    curve = pair.curve()
    axes.plot([point.deferred for point in curve], [point.accuracy for point in curve], color=series_colour(0))
    for each in certified:
        axes.plot(each["deferred"], each["right"], color=series_colour(1), marker="o", markersize=5)
        told = f"at most {each['limit']:.2%} lost"
        axes.annotate(told, (each["deferred"], each["right"]), xytext=(6, -12), textcoords="offset points")
    axes.set(xlabel="left to the teacher", ylabel=_measure(pair), xlim=(-0.02, 1.02))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    return figure


def _measure(pair: Pair) -> str:
    return f"{'right' if pair.labelled else 'as the teacher'}, of {len(pair.confidence):,} images"
