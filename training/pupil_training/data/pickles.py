"""Pickles of strangers, read without running what they ask for."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from pupil_training.errors import DataError

_reconstruct = np.empty(0).__reduce__()[0]  # numpy has moved it about; pickles know it by its older homes
ALLOWED: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): str.encode,  # how bytes are written for Python 2
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
}


class _Forbidden(Exception):
    """A name that is not in `ALLOWED`."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """A pickle reaches all code through here; plain lists, dicts, numbers and texts do not need it."""
        if (module, name) not in ALLOWED:
            raise _Forbidden(f"{module}.{name}")
        return ALLOWED[module, name]


def read_pickle(file: Path) -> Any:
    """Containers, numbers, texts and arrays, Python 2's texts as bytes. Raises DataError for all else."""
    with file.open("rb") as content:
        try:
            return _Unpickler(content, encoding="bytes").load()
        except _Forbidden as error:
            raise DataError(f"{file}: asks for {error}, which no data needs; nothing of it was run") from None
        except Exception as error:  # a damaged pickle raises any of a dozen types
            raise DataError(f"{file}: truncated, or not a pickle ({type(error).__name__})") from None
