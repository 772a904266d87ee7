"""What the commands do alike."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from pupil_training.errors import NotInstalled, TrainingError


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What the user can mend leaves as one line, with exit code 1."""
    try:
        yield
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        raise click.ClickException(what or str(error)) from None
    except (TrainingError, FloatingPointError) as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def brought_by(extra: str, what: str) -> Iterator[None]:
    """A library that is missing inside is answered with the line that installs it. Raises NotInstalled."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise NotInstalled(f"{what} needs {error.name}: pip install 'pupil[{extra}]'") from None


def say(line: object, *, err: bool = False) -> None:
    """Prints a line, once where `torchrun` started several of us."""
    if os.environ.get("RANK", "0") == "0":
        click.echo(line, err=err)


def check_place(file: Path) -> None:
    """Refuses a file that could not be written, before the work that it is to hold is done."""
    if not file.absolute().parent.is_dir():
        raise click.ClickException(f"{file}: its folder does not exist")


def wait_briefly() -> None:
    """Lets torch's threads spin only shortly while they wait for each other.

    With libgomp's 300,000 turns a step took thirty times as long beside other work on the same cores; without
    any, Linux wakes the threads on one core. It is read once, when torch is loaded.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
