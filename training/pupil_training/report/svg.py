"""Matplotlib figures as part of a page: in its font, and in colours that follow it into the dark.

Figures are made without pyplot, so nothing global is touched and nothing has to be closed.
"""

import io
import re
from collections.abc import Callable
from typing import ParamSpec

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure

INK, MUTED, LINE = "#1f2328", "#66707c", "#dcd8cf"
SERIES = ("#2f6d9e", "#c25e24", "#4b8a55", "#8257a6", "#b0375a", "#7d6b28")
VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", **{colour: f"series-{i}" for i, colour in enumerate(SERIES)}}
STYLE = {
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a name may hold dollar signs
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 9,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.labelcolor": MUTED,
    "figure.constrained_layout.use": True,
    "image.interpolation": "none",
    "svg.fonttype": "none",  # text stays text, in the page's font
    "svg.hashsalt": "pupil",  # the same figure is written the same every time
}
NOTHING = dict.fromkeys(("Creator", "Date", "Format", "Type"))
Arguments = ParamSpec("Arguments")


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Draws in `STYLE`."""

    def drawn(*args: Arguments.args, **settings: Arguments.kwargs) -> Figure:
        with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # its keys are literals there
            return draw(*args, **settings)

    return drawn


def series_colour(place: int) -> str:
    """The colour of the model, or the line, at this place."""
    return SERIES[place % len(SERIES)]


def inline(figure: Figure, says: str) -> Markup:
    """The figure as an <svg> element as wide as its place; `says` is read out to those who cannot see it."""
    file = io.StringIO()
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure.savefig(file, format="svg", transparent=True, metadata=NOTHING)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    size = re.search(r'viewBox="[^"]*"', svg)
    assert size  # matplotlib always writes one
    drawn = svg[svg.index(">") + 1 :]
    drawn = re.sub(r'font: ([\d.]+px) [^;"]*', r"font-size: \1", drawn)
    drawn = re.sub("#[0-9a-f]{6}", lambda found: _variable(found.group()), drawn)
    used = set(re.findall(r"#([\w-]+)", drawn))
    drawn = re.sub(r' id="([^"]*)"', lambda found: found.group() if found.group(1) in used else "", drawn)
    return Markup(f'<svg {size.group()} role="img" aria-label="{escape(says)}">{drawn}')


def _variable(colour: str) -> str:
    name = VARIABLES.get(colour)
    return f"var(--{name})" if name else colour
