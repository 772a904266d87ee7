"""The report's charts, one function a figure."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pupil_training.evaluate import Counted, interval
from pupil_training.report.learning import Series
from pupil_training.report.svg import LINE, MUTED, series_colour, styled
from pupil_trust import ReliabilityBin

WIDTH, HEIGHT = 3.6, 2.3  # inches
LEFT = 0.12  # the share of a shift's curve that its scale takes; page.css puts the pictures above the rest


@styled
def loss_curve(series: Mapping[str, Series]) -> Figure:
    """The loss that was minimised; where it has several terms, each of them too."""
    figure, axes = _chart("loss")
    terms = [name for name in series if name not in ("loss", "learning_rate") and not name.startswith("validation")]
    axes.plot(*series["loss"], color=series_colour(0), label="sum")
    if len(terms) > 1:
        for place, name in enumerate(terms, start=1):
            axes.plot(*series[name], color=series_colour(place), linewidth=1, label=name)
        axes.legend()
    axes.set_ylim(bottom=min(0, *axes.get_ylim()))
    return figure


@styled
def rate_curve(series: Series) -> Figure:
    figure, axes = _chart("learning rate")
    axes.plot(*series, color=series_colour(0))
    axes.set_ylim(bottom=0)
    return figure


@styled
def accuracy_curve(series: Series) -> Figure:
    """Validation accuracy, each measurement a dot."""
    figure, axes = _chart("validation accuracy")
    axes.plot(*series, color=series_colour(0), marker="o", markersize=3)
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.4g}%")
    return figure


@styled
def reliability_diagram(bins: Sequence[ReliabilityBin]) -> Figure:
    """Accuracy with its interval against confidence, dots the larger the more images; below it, where those are."""
    figure = Figure(figsize=(WIDTH, WIDTH))
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1))
    top.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    confidence = [each.confidence for each in bins]
    share = [each.count / sum(one.count for one in bins) for each in bins]
    top.vlines(confidence, *zip(*(each.interval for each in bins), strict=True), color=series_colour(0), alpha=0.5)
    top.scatter(
        confidence,
        [each.accuracy for each in bins],
        [10 + 60 * each for each in share],
        color=series_colour(0),
        zorder=3,
    )
    top.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), ylabel="accuracy")
    below.bar(confidence, share, width=0.03, color=series_colour(0), alpha=0.5)
    below.set(ylim=(0, 1), xlabel="confidence", ylabel="images")
    for axis in (top.yaxis, below.yaxis, below.xaxis):
        axis.set_major_formatter(PercentFormatter(1))
    below.yaxis.set_major_locator(MaxNLocator(1))
    return figure


@styled
def shift_curve(written: Sequence[str], models: Sequence[Sequence[Counted]]) -> Figure:
    """Accuracy over growing strength, a line with its band a model; the first strength is none."""
    figure = Figure(figsize=(WIDTH, 1.9))
    figure.set_layout_engine("none")
    draw_shift(figure.add_axes((LEFT, 0.13, 1 - LEFT, 0.85)), written, models)
    return figure


def draw_shift(axes: Axes, written: Sequence[str], models: Sequence[Sequence[Counted]]) -> None:
    """What `shift_curve` shows, on axes that are there already; each strength has as much room as the others."""
    places = range(len(written))
    for number, counted in enumerate(models):
        low, high = zip(*map(interval, counted), strict=True)
        axes.fill_between(places, low, high, color=series_colour(number), alpha=0.12, linewidth=0)
        axes.plot(places, [each.share for each in counted], color=series_colour(number), marker="o", markersize=3)
    axes.set_xticks(places, written)
    axes.set(xlim=(-0.5, len(written) - 0.5), ylim=(0, 1.03))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(visible=False, axis="x")


def _chart(what: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, HEIGHT))
    axes = figure.subplots()
    axes.set(xlabel="step", ylabel=what)
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(color=LINE)
    return figure, axes
