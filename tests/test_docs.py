"""What the pages say to type exists, their links lead somewhere, and no command and no setting is left out."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pupil_client.command import main

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EVERYTHING = "".join(page.read_text() for page in PAGES)


def every_command(group: click.Group, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """`labels export`, say, and what it does."""
    context = click.Context(group)
    for each in group.list_commands(context):
        command = group.get_command(context, each)
        assert command is not None
        yield f"{name}{each}", command
        if isinstance(command, click.Group):
            yield from every_command(command, f"{name}{each} ")


COMMANDS = dict(every_command(main))


def typed(page: Path) -> list[list[str]]:
    """The words of each `pupil …`, in console blocks and between backticks."""
    text = page.read_text()
    blocks = "".join(re.findall(r"```(?:console|sh)\n(.*?)```", text, flags=re.DOTALL)).replace("\\\n", " ")
    lines = re.findall(r"^\$ (pupil .*?)(?: +#.*| &)?$", blocks, flags=re.MULTILINE)
    spans = re.findall(r"`(pupil [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [shlex.split(each) for each in [*lines, *spans]]


def options(command: click.Command) -> set[str]:
    return {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_says_to_type_is_a_command_with_these_options(page: Path) -> None:
    for words in typed(page):
        name = words[1] if len(words) > 1 else ""
        if f"{name} {words[2] if len(words) > 2 else ''}" in COMMANDS:
            name = f"{name} {words[2]}"
        assert name in COMMANDS, shlex.join(words)
        unknown = {word.partition("=")[0] for word in words if word.startswith("--")} - options(COMMANDS[name])
        assert not unknown, f"{shlex.join(words)}: no {', '.join(sorted(unknown))}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_says_to_make_is_a_target(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for words in re.findall(r"^make ([^\n]+)|`make ([^`]+)`", page.read_text(), flags=re.MULTILINE):
        asked = [word for word in "".join(words).partition("=")[0].split() if not word.isupper()]
        assert set(asked) <= targets, asked


def test_every_command_stands_on_some_page() -> None:
    assert [name for name in COMMANDS if not re.search(rf"\b(pupil|make) {name}\b", EVERYTHING)] == []


def test_every_setting_of_the_server_stands_on_some_page() -> None:
    for setting in COMMANDS["serve"].params:
        names = [*setting.opts, *setting.secondary_opts]
        assert any(re.search(rf"{name}(?![\w-])", EVERYTHING) for name in names), names


def anchors(page: Path) -> set[str]:
    """The headings as GitHub spells them in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_pages_and_to_files_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target
