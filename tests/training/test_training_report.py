"""The page of `pupil report`, read as a browser reads it."""

import base64
import io
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pupil_training.judge.cli import evaluate
from pupil_training.loop import train
from pupil_training.recipe import Recipe
from pupil_training.report.cli import report
from pupil_training.report.page import short_names
from pupil_training.runs import Run

VOID = {"meta", "img", "br", "hr", "link", "input"}
NASTY = "<b>&$x_"


class Page(HTMLParser):
    """Its headings, texts and pictures; every tag must be closed in its turn."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []  # (the tag around it, the text)
        self.attributes: list[tuple[str, str, str]] = []  # (tag, attribute, value)
        self.html = file.read_text(encoding="utf-8")
        self.feed(self.html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", " ".join(data.split())))

    def inside(self, *tags: str) -> list[str]:
        return [text for tag, text in self.texts if tag in tags]

    @property
    def text(self) -> str:
        return " ".join(text for _, text in self.texts)


@pytest.fixture(scope="module")
def student_run(recipe: Callable[..., Recipe], teacher_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("reported") / "student"
    return train(recipe(name="student", distill={"teacher": str(teacher_run.folder)}), folder)


def run_report(output: Path, *words: object) -> Result:
    return CliRunner().invoke(report, [*map(str, words), "--output", str(output)])


def page_of(output: Path, *words: object) -> Page:
    done = run_report(output, *words)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{output}\n"
    return Page(output)


@pytest.fixture(scope="module")
def page(teacher_run: Run, student_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Page:
    output = tmp_path_factory.mktemp("page") / "report.html"
    return page_of(output, teacher_run.folder, student_run.folder, "--shifts")


def test_every_section_is_there_for_a_student_with_its_teacher(page: Page) -> None:
    assert page.inside("h1") == ["teacher · student"]
    parts = ["Learning", "Weights", "Calibration", "Most confident mistakes", "Class by class", "Confusion"]
    parts.append("Where teacher and student look")
    assert page.inside("h2", "h3") == ["Side by side", "Under shift", "teacher", *parts, "student", *parts]
    assert page.inside("h4") == ["They agree", "They differ"]
    assert "The test split was read for this page" in page.text
    assert page.html.count("<svg") == 8 + 2 * (3 + 2)  # the shifts; curves and reliability of each model
    left_out = set(re.findall(r'class="left-out">(.*?)</p>', page.html))
    assert left_out - {"It makes no mistake on these 30 images."} == {"It learned from no teacher."}


def test_the_page_needs_nothing_but_itself_and_its_pictures_can_be_opened(page: Page) -> None:
    sources = [value for _, name, value in page.attributes if name in ("src", "href", "xlink:href")]
    pictures = [source for source in sources if not source.startswith("#")]
    assert len(pictures) > 40
    for source in pictures:
        head, _, content = source.partition(";base64,")
        assert head in ("data:image/png", "data:image/jpeg")
        with Image.open(io.BytesIO(base64.b64decode(content.replace("\n", "")))) as image:
            image.load()
    assert not re.search(r"url\((?!#)|@import|<script", page.html)


def test_its_numbers_are_those_of_evaluate(page: Page, teacher_run: Run, student_run: Run) -> None:
    told = CliRunner().invoke(evaluate, [str(teacher_run.folder), str(student_run.folder), "--json", "--shifts"])
    first, second = (json.loads(line) for line in told.stdout.splitlines())
    for facts in (first, second):
        low, high = facts["interval"]
        shown = [f"{facts['accuracy']['right'] / 30:.2%}", f"{low:.2%} to {high:.2%}", f"{facts['bytes']:,}"]
        shown += [f"{facts[key]:.4f}" for key in ("nll", "ece", "brier", "ece_equal_mass")]
        shown += [f"{facts['uncalibrated'][key]:.4f}" for key in ("nll", "ece", "brier")]
        shown += [f"{each['accuracy']['right'] / 30:.2%}" for each in facts["shifts"]]
        assert [number for number in shown if number not in page.text] == []
    against = second["against_first"]
    assert f"{against['p_value']:.2g} gains {against['only_this']}, loses {against['only_first']}" in page.text
    same = second["agreement"]["right"] / 30
    assert f"{same:.2%} teacher, KL {second['kl']:.4f}" in page.text


def test_what_cannot_be_had_is_left_out_with_a_sentence(student_run: Run, bars_folder: Path, tmp_path: Path) -> None:
    alone = shutil.copytree(student_run.folder, tmp_path / "far" / "away" / "alone")
    (alone / "metrics.jsonl").unlink()
    page = page_of(tmp_path / "report.html", alone)
    assert "The run of its teacher is not where it was." in page.text
    assert "metrics.jsonl is not there any more, so there is nothing to draw." in page.text
    untested = shutil.copytree(bars_folder, tmp_path / "untested", ignore=shutil.ignore_patterns("test"))
    page = page_of(tmp_path / "report.html", student_run.folder, "--data", f"root={untested}")
    assert "Nothing was measured on the test split." in page.text
    assert f"It was not judged: {untested}: no test split." in page.text
    assert page.inside("h3") == ["Learning", "Weights"]
    page = page_of(tmp_path / "report.html", student_run.folder, "--data", f"root={untested}", "--split", "validation")
    assert "12 validation images" in page.text
    assert "was read for this page" not in page.text


def test_neighbours_have_a_page_too_without_curves(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    run = train(recipe(model={"name": "knn"}), tmp_path / "neighbours")
    page = page_of(tmp_path / "report.html", run.folder)
    assert "It learned in no steps: it keeps its training images." in page.text
    assert "30 test images" in page.text


def test_class_names_may_contain_anything(recipe: Callable[..., Recipe], bars_folder: Path, tmp_path: Path) -> None:
    odd = shutil.copytree(bars_folder, tmp_path / "odd")
    for folder in odd.glob("*/cross"):
        folder.rename(folder.with_name(NASTY))
    run = train(recipe(steps=1, data={"root": str(odd)}), tmp_path / "<i>run")
    page = page_of(tmp_path / "report.html", run.folder)
    assert page.inside("h1") == ["<i>run"]
    assert NASTY in page.inside("th")
    assert "<b>&" not in page.html
    assert "<i>" not in page.html


def test_a_page_that_cannot_be_written_is_one_line_and_leaves_nothing(student_run: Run, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "report.html"
    assert run_report(nowhere, student_run.folder).stderr == f"Error: {nowhere}: its folder does not exist\n"
    assert run_report(tmp_path / "report.html", student_run.folder, "--split", "exam").exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_models_are_called_by_as_few_folders_as_tell_them_apart() -> None:
    assert short_names([Path("runs/a"), Path("runs/b")]) == ["a", "b"]
    assert short_names([Path("new/student"), Path("old/student")]) == ["new/student", "old/student"]
    assert short_names([Path("repository/student/1"), Path("runs/student")]) == ["student/1", "student"]
    assert short_names([Path("runs/a"), Path("runs/a")]) == ["runs/a", "runs/a"]
