"""How long the batches of one model take, by what was measured."""

from collections import defaultdict

RISE = 1 / 16  # of the way up, a batch
DOUBT = 0.98
FASTER = 0.95  # of the time an image: for less, a batch is not made smaller
AROUND = 0.0001  # seconds that a batch costs beside the model
LOOK_AROUND = 64  # batches, of which one tries another size


class Pace:
    """The time of a batch by its size: 1, 2-3, 4-7, 8-15, … images.

    `quickest` falls to whatever is faster at once and rises slowly, so that what it calls impossible really is. A
    refusal measures nothing; each makes it a little smaller, so that a model that was slow once is tried again. `best`
    is for models whose larger batches are the slower ones, because they leave the processor's cache.
    """

    def __init__(self) -> None:
        self._quickest: dict[int, float] = defaultdict(float)
        self._usual: dict[int, float] = {}
        self._each: dict[int, float] = {}  # seconds an image
        self._chosen = 0

    def measured(self, images: int, seconds: float) -> None:
        size = images.bit_length()
        quickest, usual = self._quickest[size], self._usual.get(size, seconds)
        self._quickest[size] = min(seconds, quickest + RISE * (seconds - quickest))
        self._usual[size] = usual + RISE * (seconds - usual)
        each = (seconds + AROUND) / images
        before = self._each.get(size, each)
        self._each[size] = before + RISE * (each - before)

    def quickest(self, images: int) -> float:
        """Seconds that a batch takes at least; 0.0 as long as nothing is known."""
        return self._quickest[images.bit_length()]

    def usual(self, images: int) -> float:
        """Seconds that a batch takes on average; infinite as long as nothing is known."""
        return self._usual.get(images.bit_length(), float("inf"))

    def best(self, images: int) -> int:
        """How many of `images` that wait belong into the next batch: fewer only where that was faster an image."""
        whole = images.bit_length()
        self._chosen += 1
        if self._chosen % LOOK_AROUND == 0:
            size = self._chosen // LOOK_AROUND % whole + 1
        elif whole in self._each:
            size = min((size for size in self._each if size <= whole), key=self._each.__getitem__)
            size = size if self._each[size] < FASTER * self._each[whole] else whole
        else:
            size = whole
        return images if size == whole else 2 ** (size - 1)

    def refused(self, images: int) -> None:
        """A request was turned away because of `quickest`."""
        self._quickest[images.bit_length()] *= DOUBT
