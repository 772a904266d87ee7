"""What a run wrote about its training, thinned to what a figure can show."""

import json
from pathlib import Path
from typing import NamedTuple

from pupil_training.report.parts import LeftOut

POINTS = 400  # of a line


class Series(NamedTuple):
    """One number over the steps."""

    steps: list[int]
    values: list[float]


def read_log(run: Path) -> dict[str, Series]:
    """The series of a run's metrics.jsonl by name. Raises LeftOut where there is none."""
    file = run / "metrics.jsonl"
    if not file.is_file():
        raise LeftOut(f"{file} is not there any more, so there is nothing to draw.")
    series: dict[str, Series] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        step = row.pop("step")
        for name, value in row.items():
            steps, values = series.setdefault(name, Series([], []))
            steps.append(step)
            values.append(value)
    return {name: thinned(each) for name, each in series.items()}


def thinned(series: Series) -> Series:
    """At most about `POINTS` of its points, the last one among them."""
    every = -(-len(series.steps) // POINTS)
    return Series(series.steps[::-every][::-1], series.values[::-every][::-1])
