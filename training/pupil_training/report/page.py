"""The page: everything that is to be said about some models, in one HTML file without a network."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from tqdm import tqdm

from pupil_training.errors import DataError
from pupil_training.judge.candidate import Candidate
from pupil_training.judge.judgement import Judgement, judge
from pupil_training.judge.load import Exam
from pupil_training.judge.table import between
from pupil_training.report.chapter import chapter
from pupil_training.report.comparison import Entry, comparison_part
from pupil_training.report.parts import LeftOut, Part, part
from pupil_training.report.shift_part import shift_part
from pupil_training.report.svg import SERIES


def page(candidates: Sequence[Candidate], split: str, *, shifts: bool = False) -> str:
    """The HTML. Parts that cannot be had are left out with a sentence that says why."""
    exam = Exam(split)
    entries, reasons = [], {}
    for candidate in tqdm(candidates, "judging", unit="model", leave=False, disable=None):
        try:
            entries.append(Entry(candidate, judge(candidate, exam)))
        except DataError as error:  # its data moved, or has no such split
            entries.append(Entry(candidate, None))
            reasons[candidate.path] = f"It was not judged: {error}."
    judged = [judgement for _, judgement in entries if judgement]
    names = short_names([candidate.path for candidate in candidates])
    return _template().render(
        names=names,
        split=split,
        judged=judged,
        judged_names=[name for name, (_, judgement) in zip(names, entries, strict=True) if judgement],
        reasons=reasons,
        comparison=comparison_part(entries),
        shifts=part(lambda: _shifts(judged)) if shifts else None,
        chapters=[chapter(*entry) for entry in tqdm(entries, "drawing", unit="model", leave=False, disable=None)],
        made=datetime.now(UTC),
        version=version("pupil"),
    )


def short_names(paths: Sequence[Path]) -> list[str]:
    """As few of the last parts of each path as tell them all apart; a bundle's version never stands alone."""
    whole = [path.resolve().parts for path in paths]
    for count in range(1, max(map(len, whole)) + 1):
        names = ["/".join(parts[-count - parts[-1].isdigit() :]) for parts in whole]
        if max(Counter(names).values()) == 1:
            return names
    return [str(path) for path in paths]  # the same one twice


def _shifts(judged: Sequence[Judgement]) -> Part:
    if not judged:
        raise LeftOut("None of the models could be judged.")
    shifted = [list(each.shifted()) for each in tqdm(judged, "shifts", unit="model", leave=False, disable=None)]
    return shift_part(judged, shifted)


def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,  # not select_autoescape, which goes by the last suffix and would escape nothing in .html.j2
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": "{:.2%}".format, "between": between}
    environment.globals["colours"] = len(SERIES)
    return environment.get_template("page.html.j2")
