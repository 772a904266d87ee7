"""Judgements as plain text: a row a measure, a column a model."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pupil_training.evaluate import Counted, interval
from pupil_training.judge.judgement import Judgement

if TYPE_CHECKING:
    from pupil_training.shifts import Shifted

Row = list[str]
HONESTY: Mapping[str, str] = {  # by its key in `evaluate.calibration`
    "nll": "NLL",
    "brier": "Brier score",
    "ece": "ECE",
    "ece_equal_mass": "ECE, bins of equal mass",
}


def comparison(judgements: Sequence[Judgement]) -> str:
    """Judgements of the same images."""
    first = judgements[0]
    rows: list[tuple[str, Callable[[Judgement], str]]] = [
        ("right", lambda each: f"{each.accuracy.right:,}"),
        ("accuracy", lambda each: f"{each.accuracy.share:.2%}"),
        ("95 % interval", lambda each: between(each.accuracy)),
        *[(f"{name}, plain → calibrated", _before_and_after(key)) for key, name in HONESTY.items()],
        ("temperature", lambda each: f"{each.candidate.temperature:.3g}"),
        ("agrees with its teacher", _agreement),
        ("KL(teacher ‖ model)", lambda each: f"{each.closeness['kl']:.4f}" if each.teacher else "-"),
        ("parameters", lambda each: _counted(each.candidate.parameters)),
        ("multiply-adds", lambda each: _counted(each.candidate.multiply_adds)),
        ("bytes", lambda each: f"{each.candidate.bytes:,}"),
    ]
    if len(judgements) > 1:
        rows.append((f"McNemar's exact p against {first.candidate.path}", lambda each: p_value(each, first)))
    head = f"{len(first.images):,} {first.split} images"
    cells = [[name, *(cell(each) for each in judgements)] for name, cell in rows]
    return aligned([[head, *(str(each.candidate.path) for each in judgements)], *cells])


def shift_table(judgements: Sequence[Judgement], shifted: "Sequence[Sequence[Shifted]]") -> str:
    """Accuracy with its interval under each shift: a row a strength, a column a model."""
    rows = [["as they are", *(_with_interval(each.accuracy) for each in judgements)]]
    for same in zip(*shifted, strict=True):
        rows.append([f"{same[0].shift} {same[0].written}", *(_with_interval(each.accuracy) for each in same)])
    return aligned([["shift", *(str(each.candidate.path) for each in judgements)], *rows])


def between(counted: Counted) -> str:
    """Wilson's 95 % interval in words."""
    low, high = interval(counted)
    return f"{low:.2%} to {high:.2%}"


def p_value(judgement: Judgement, first: Judgement) -> str:
    """McNemar's, with the images that only one of the two gets right."""
    discordant = None if judgement is first else judgement.against(first)
    if discordant is None:
        return "-"
    return f"{discordant.p_value:.3g} (right alone: {discordant.only_second} to {discordant.only_first})"


def aligned(rows: Sequence[Row]) -> str:
    """Columns as wide as their widest cell, the first to the left, with a line below the heads."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells))
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _counted(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _with_interval(counted: Counted) -> str:
    low, high = interval(counted)
    return f"{counted.share:.2%} ({low:.1%} to {high:.1%})"


def _before_and_after(key: str) -> Callable[[Judgement], str]:
    return lambda each: f"{each.uncalibrated[key]:.4f} → {each.calibrated[key]:.4f}"


def _agreement(judgement: Judgement) -> str:
    if judgement.teacher is None:
        return "-"
    same = judgement.closeness["agreement"]
    return f"{same['right'] / same['of']:.2%} ({judgement.teacher.name})"
