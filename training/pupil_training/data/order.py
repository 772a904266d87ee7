"""Which images each step sees: it follows from the seed and the step alone, so a run has no place to remember."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from pupil_training.errors import RecipeError
from pupil_training.seeds import generator


class Cut(NamedTuple):
    """How a step's images are cut: `parts` one after the other, each divided among `processes`."""

    parts: int = 1
    processes: int = 1
    process: int = 0

    def share(self, batch_size: int) -> int:
        """How many images of a step one process computes at once. Raises RecipeError where some are left over."""
        share, left_over = divmod(batch_size, self.parts * self.processes)
        if left_over:
            into = f"{self.parts} parts for each of {self.processes} processes"
            raise RecipeError(f"a batch of {batch_size} cannot be cut into {into}; give it a multiple of the two")
        return share


WHOLE = Cut()


class Drawn(NamedTuple):
    """The images of one part, int64 (B,) each, on the CPU."""

    places: Tensor  # in the set
    chosen: Tensor  # in the epoch's list, which is the set unless some images repeat
    epochs: Tensor  # how many passes over the list came before


class Order:
    """Epoch after epoch, each in its own order, no image left out.

    With `sample`, an epoch is that list of places (M,) in the set of `count` images; a place may stand there several
    times, and each time counts as an image of its own.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        seed: int,
        stream: str = "order",
        cut: Cut = WHOLE,
        sample: Tensor | None = None,
    ) -> None:
        self.cut = cut
        self._sample = torch.arange(count) if sample is None else sample
        self._size = batch_size
        self._share = cut.share(batch_size)
        self._epoch = lru_cache(maxsize=2)(
            lambda epoch: torch.randperm(len(self), generator=generator(seed, stream, epoch))
        )

    def __len__(self) -> int:
        """Images of an epoch."""
        return len(self._sample)

    def at(self, step: int, part: int) -> Drawn:
        """This process's share of one part, 0, 1, …, of step 1, 2, …"""
        first_place = (step - 1) * self._size + (part * self.cut.processes + self.cut.process) * self._share
        row = torch.arange(first_place, first_place + self._share)  # places in the endless row of epochs
        epochs = row // len(self)
        first, last = int(epochs[0]), int(epochs[-1])
        orders = torch.cat([self._epoch(epoch) for epoch in range(first, last + 1)])
        chosen = orders[row - first * len(self)]
        return Drawn(self._sample[chosen], chosen, epochs)

    def after(self, step: int, part: int) -> tuple[int, int]:
        """The step and part that come next."""
        return (step, part + 1) if part + 1 < self.cut.parts else (step + 1, 0)
