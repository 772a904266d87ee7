"""MNIST: 60,000 images to cut splits from, 10,000 to test on."""

from pupil_training.data.idx import Idx
from pupil_training.data.source import numbered
from pupil_training.errors import DataError
from pupil_training.settings import DataSettings


def open_mnist(data: DataSettings) -> Idx:
    """`<root>/MNIST/raw/*-ubyte`, where torchvision puts them."""
    folder = data.root / "MNIST" / "raw"
    if not folder.is_dir():
        raise DataError(f"{data.root}: no MNIST/raw/*-ubyte files here; set data.root to their folder")
    return Idx(folder, numbered(10))
