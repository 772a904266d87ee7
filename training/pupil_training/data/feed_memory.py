"""Batches out of memory."""

from torch import Tensor

from pupil_training.data.feed import Batch, Feed
from pupil_training.data.order import Order


class MemoryFeed(Feed):
    """Of images (N, H, W, C) that are all on the device, with their targets (N, …)."""

    def __init__(self, images: Tensor, targets: Tensor | None, order: Order) -> None:
        super().__init__(order)
        self._images = images
        self._targets = targets

    def part(self, step: int, part: int) -> Batch:
        """The images looked up."""
        places, chosen, epochs = self.order.at(step, part)
        here = places.to(self._images.device)
        targets = None if self._targets is None else self._targets[here]
        return Batch(step, part, self._images[here], targets, chosen, epochs)
