"""pyarrow, where it is installed: a part of the client's base install it is not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def needs_pyarrow(file: Path) -> Iterator[None]:
    """Inside, pyarrow is imported and used on `file`; that it is missing, or refuses, becomes one line."""
    try:
        import pyarrow
    except ImportError:
        raise ValueError(f"{file}: Parquet needs pyarrow: pip install 'pupil[parquet]'") from None
    try:
        yield
    except pyarrow.ArrowException as error:
        raise ValueError(f"{file}: not a Parquet table ({str(error).splitlines()[0]})") from None
