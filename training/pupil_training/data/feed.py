"""The batches of a run: which images each step sees follows from the seed and the step alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from pupil_training.errors import RecipeError
from pupil_training.seeds import generator


@dataclass(frozen=True)
class Batch:
    """What one process computes at once: a step's images, or one of the equal parts that the step is cut into."""

    step: int
    part: int
    images: Tensor  # uint8 (B, H, W, C), on the device
    targets: Tensor | None  # classes (B,) or distributions (B, K), on the device
    chosen: Tensor  # int64 (B,), the images' places in their set, on the CPU
    epochs: Tensor  # int64 (B,), how many passes over the set came before, on the CPU


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


class Feed:
    """Batches of a set in memory, epoch after epoch, each in its own order, no image left out."""

    def __init__(
        self,
        images: Tensor,
        targets: Tensor | None,
        batch_size: int,
        *,
        seed: int,
        stream: str = "order",
        cut: Cut = WHOLE,
    ) -> None:
        self._images = images
        self._targets = targets
        self._size = batch_size
        self._cut = cut
        self._share = cut.share(batch_size)
        self._order = lru_cache(maxsize=2)(
            lambda epoch: torch.randperm(len(images), generator=generator(seed, stream, epoch))
        )

    def __len__(self) -> int:
        return len(self._images)

    def parts(self, step: int) -> Iterator[Batch]:
        """This process's share of step 1, 2, …, part after part."""
        for part in range(self._cut.parts):
            yield self.part(step, part)

    def part(self, step: int, part: int) -> Batch:
        """This process's share of one part, 0, 1, …, of a step."""
        first_place = (step - 1) * self._size + (part * self._cut.processes + self._cut.process) * self._share
        places = torch.arange(first_place, first_place + self._share)  # in the endless row of epochs
        epochs = places // len(self)
        first, last = int(epochs[0]), int(epochs[-1])
        orders = torch.cat([self._order(epoch) for epoch in range(first, last + 1)])
        chosen = orders[places - first * len(self)]
        here = chosen.to(self._images.device)
        targets = None if self._targets is None else self._targets[here]
        return Batch(step, part, self._images[here], targets, chosen, epochs)
