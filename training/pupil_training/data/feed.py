"""The batches of a run, wherever its images are."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from pupil_training.data.order import Order


@dataclass(frozen=True)
class Batch:
    """What one process computes at once: a step's images, or one of the equal parts that the step is cut into."""

    step: int
    part: int
    images: Tensor  # uint8 (B, H, W, C), on the device
    targets: Tensor | None  # classes (B,) or distributions (B, K), on the device
    chosen: Tensor  # int64 (B,), the images' places in the epoch's list (`Order`), on the CPU
    epochs: Tensor  # int64 (B,), how many passes over the list came before, on the CPU


class Feed(ABC):
    """Batches in the order that `order` says."""

    def __init__(self, order: Order) -> None:
        self.order = order

    def parts(self, step: int) -> Iterator[Batch]:
        """This process's share of step 1, 2, …, part after part."""
        for part in range(self.order.cut.parts):
            yield self.part(step, part)

    @abstractmethod
    def part(self, step: int, part: int) -> Batch:
        """This process's share of one part, 0, 1, …, of a step."""

    def close(self) -> None:  # noqa: B027 (most have nothing to end)
        """Ends what was started for it."""
