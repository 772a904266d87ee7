"""What a person sees on standard error while a job works."""

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pupil_client.labelling.job import Progress


@contextmanager
def bar(total: int | None, what: str = "") -> "Iterator[Progress]":
    """A progress bar from the first answers on; in a log a look every half minute will do."""
    from tqdm import tqdm

    every = 0.1 if sys.stderr.isatty() else 30.0
    with ExitStack() as shown:
        begun = cache(lambda: shown.enter_context(tqdm(desc=what, total=total, unit=" images", mininterval=every)))
        yield lambda images: begun().update(images)


@contextmanager
def terminable() -> Iterator[None]:
    """A SIGTERM, which ends containers and services, ends what is inside like an interrupt: nothing is left behind."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def saying_how_to_go_on(output: Path) -> Iterator[None]:
    from pupil_client.labelling.ledger import work_folder

    try:
        yield
    except ValueError:
        raise  # a refusal says itself what to do
    except BaseException:
        if work_folder(output).is_dir():
            click.echo(f"what is done lies in {work_folder(output)}: the same command goes on from there", err=True)
        raise


def say(words: str) -> None:
    """On standard error, above the bar where there is one."""
    from tqdm import tqdm

    tqdm.write(words, file=sys.stderr)
