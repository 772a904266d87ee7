"""All models side by side: what they cost and what they give."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pupil_training.evaluate import Counted, interval
from pupil_training.judge.candidate import Candidate
from pupil_training.judge.judgement import Judgement
from pupil_training.judge.table import between
from pupil_training.report.latency import latency, machine
from pupil_training.report.parts import Part

NOTHING = "–"


class Cell(NamedTuple):
    """A number, and what is to be said about it in small."""

    text: str
    note: str = ""


class Entry(NamedTuple):
    """One column of the table."""

    candidate: Candidate
    judgement: Judgement | None  # None where it could not be judged


def comparison_part(entries: Sequence[Entry]) -> Part:
    """The rows of the table, and where the latency was measured."""
    candidates = [candidate for candidate, _ in entries]
    rows: list[tuple[str, list[Cell]]] = [
        ("net", [Cell(each.net) for each in candidates]),
        ("parameters", _costs([each.parameters for each in candidates])),
        ("multiply-adds an image", _costs([each.multiply_adds for each in candidates])),
        ("bytes", _sized(candidates)),
        ("one image", _times(candidates)),
        ("accuracy", _judged(entries, lambda each: Cell(f"{each.accuracy.share:.2%}", between(each.accuracy)))),
        ("negative log-likelihood", _judged(entries, lambda each: Cell(f"{each.calibrated['nll']:.4f}"))),
        ("calibration error", _judged(entries, lambda each: Cell(f"{each.calibrated['ece']:.4f}"))),
        ("agrees with its teacher", _judged(entries, _agreement)),
    ]
    first = entries[0].judgement
    if len(entries) > 1 and first is not None:
        rows.append(("McNemar’s p", _judged(entries, lambda each: _against(each, first))))
    shown = [each.accuracy for _, each in entries if each is not None]
    return {"rows": rows, "ranges": _ranges(entries), "first": _floor(shown), "machine": machine()}


def _costs(numbers: Sequence[int | None]) -> list[Cell]:
    first = numbers[0] or 0
    return [Cell(NOTHING) if each is None else Cell(f"{each:,}", _times_less(each, first)) for each in numbers]


def _sized(candidates: Sequence[Candidate]) -> list[Cell]:
    what = {"run": "weights", "bundle": "model.onnx"}
    ratios = [_times_less(each.bytes, candidates[0].bytes) for each in candidates]
    return [
        Cell(f"{each.bytes:,}", _listed(ratio, what[each.kind])) for each, ratio in zip(candidates, ratios, strict=True)
    ]


def _times(candidates: Sequence[Candidate]) -> list[Cell]:
    measured = [latency(each) for each in candidates]
    return [
        Cell(f"{seconds * 1000:.3g} ms", _listed(_times_less(seconds, measured[0]), each.engine))
        for each, seconds in zip(candidates, measured, strict=True)
    ]


def _listed(*notes: str) -> str:
    return ", ".join(filter(None, notes))


def _times_less(number: float, first: float) -> str:
    """How many times less or more than the first one, where it is another number."""
    if 0 < number < first:
        return f"÷ {first / number:.2g}"
    return f"× {number / first:.2g}" if 0 < first < number else ""


def _judged(entries: Sequence[Entry], cell: Callable[[Judgement], Cell]) -> list[Cell]:
    return [Cell(NOTHING) if each is None else cell(each) for _, each in entries]


def _agreement(judgement: Judgement) -> Cell:
    if judgement.teacher is None:
        return Cell(NOTHING)
    same = Counted(**judgement.closeness["agreement"])
    return Cell(f"{same.share:.2%}", f"{judgement.teacher.name}, KL {judgement.closeness['kl']:.4f}")


def _against(judgement: Judgement, first: Judgement) -> Cell:
    if judgement is first:
        return Cell(NOTHING)
    discordant = judgement.against(first)
    if discordant is None:
        return Cell(NOTHING, "other images")
    return Cell(f"{discordant.p_value:.2g}", f"gains {discordant.only_second}, loses {discordant.only_first}")


def _ranges(entries: Sequence[Entry]) -> list[tuple[Counted, float, float] | None]:
    """Accuracies with their intervals, for the bars."""
    return [None if each is None else (each.accuracy, *interval(each.accuracy)) for _, each in entries]


def _floor(counted: Sequence[Counted]) -> float:
    """Where a scale may begin that ends at 1 and holds every interval."""
    lowest = min((interval(each)[0] for each in counted), default=0.0)
    return math.floor(lowest * 20) / 20
