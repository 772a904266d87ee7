"""Images of which none is in memory before somebody asks for it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pupil_training.data.images import Images
from pupil_training.data.pictures import Picture
from pupil_training.data.reading import read
from pupil_training.errors import DataError
from pupil_training.preprocess import Preprocess

SKIP = "data.unreadable=skip leaves such images out"


class Streamed:
    """Pictures that are decoded, in threads, whenever they are asked for."""

    def __init__(self, pictures: Sequence[Picture], preprocess: Preprocess) -> None:
        self.pictures = pictures
        self.preprocess = preprocess

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, places: slice | Tensor, /) -> Tensor:
        """uint8 (n, H, W, C). Raises DataError where one is unreadable."""
        chosen = range(len(self))[places] if isinstance(places, slice) else places.tolist()
        reading = read([self.pictures[i] for i in chosen], self.preprocess)
        if problem := reading.first_problem():
            raise DataError(f"{problem} ({SKIP})")
        return torch.from_numpy(reading.pixels)


def joined(first: Images, second: Images) -> Images:
    """Both, one after the other; they are of one kind."""
    if isinstance(first, Streamed) and isinstance(second, Streamed):
        return Streamed([*first.pictures, *second.pictures], first.preprocess)
    assert isinstance(first, Tensor)
    assert isinstance(second, Tensor)
    return torch.cat([first, second])
