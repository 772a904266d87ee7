"""A cascade's accuracy against the share that it leaves to the teacher."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pupil_training.report.svg import series_colour, styled
from pupil_trust.cascade import CascadePoint


@styled
def cascade_figure(curve: Sequence[CascadePoint], certified: Sequence[Mapping[str, Any]]) -> Figure:
    """The curve from the student alone to the teacher alone, with a mark at each certified threshold."""
    figure = Figure(figsize=(5.6, 3.2))
    axes = figure.subplots()
    axes.plot([point.deferred for point in curve], [point.accuracy for point in curve], color=series_colour(0))
    for each in certified:
        axes.plot(each["deferred"], each["right"], color=series_colour(1), marker="o", markersize=5)
        told = f"at most {each['limit']:.2%} lost"
        axes.annotate(told, (each["deferred"], each["right"]), xytext=(6, -12), textcoords="offset points")
    axes.set(xlabel="left to the teacher", ylabel="accuracy on the calibration images", xlim=(-0.02, 1.02))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    return figure
