"""How long the batches of one model take, by what was measured."""

from collections import defaultdict

RISE = 1 / 16  # of the way up, a batch
DOUBT = 0.98


class Pace:
    """The time of a batch by its size: 1, 2-3, 4-7, 8-15, … images.

    `quickest` falls to whatever is faster at once and rises slowly, so that what it calls impossible really is. A
    refusal measures nothing; each makes it a little smaller, so that a model that was slow once is tried again.
    """

    def __init__(self) -> None:
        self._quickest: dict[int, float] = defaultdict(float)
        self._usual: dict[int, float] = {}

    def measured(self, images: int, seconds: float) -> None:
        size = images.bit_length()
        quickest, usual = self._quickest[size], self._usual.get(size, seconds)
        self._quickest[size] = min(seconds, quickest + RISE * (seconds - quickest))
        self._usual[size] = usual + RISE * (seconds - usual)

    def quickest(self, images: int) -> float:
        """Seconds that a batch takes at least; 0.0 as long as nothing is known."""
        return self._quickest[images.bit_length()]

    def usual(self, images: int) -> float:
        """Seconds that a batch takes on average; infinite as long as nothing is known."""
        return self._usual.get(images.bit_length(), float("inf"))

    def refused(self, images: int) -> None:
        """A request was turned away because of `quickest`."""
        self._quickest[images.bit_length()] *= DOUBT
