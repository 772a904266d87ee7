"""How the command line answers what the user can mend."""

from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What the user can mend leaves as one line, with exit code 1."""
    from pupil_training.errors import TrainingError

    try:
        yield
    except (TrainingError, FloatingPointError, OSError) as error:
        raise click.ClickException(str(error)) from None
