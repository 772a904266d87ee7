"""How long the batches of one model take, by what was measured."""

from collections.abc import Callable
from dataclasses import dataclass

RISE = 1 / 16  # of the way up, a batch
PATIENCE = 1 / 64  # of the way to another cost, a batch: others disturb the processor for many batches in a row
DOUBT = 0.98
SLOWER = 1.25  # times the batch before it, at most: one slow batch would make the next ones smaller for good
FASTER = 0.98  # of the cost of an image: for less, a batch is not made smaller
AROUND = 0.0002  # seconds that a batch costs beside the model
KNOWN = 4  # batches of a size, before which it is tried whenever it can be
LOOK_AROUND = 64  # batches, of which one tries another size
LONGEST = 64  # bits of a number of images


@dataclass(slots=True)
class Size:
    """What was seen of the batches of one size: `each` follows the last 64 or so, the others the last sixteen."""

    batches: int = 0
    quickest: float = 0.0
    slowest: float = 0.0
    last: float = float("inf")  # seconds
    usual: float = float("inf")
    each: float = float("inf")  # what one image cost

    def add(self, images: int, seconds: float, cost: float) -> None:
        each = (cost + AROUND) / images
        self.batches += 1
        if self.batches == 1:
            self.usual, self.each = cost, each
        self.usual += max(RISE, 1 / self.batches) * (cost - self.usual)
        self.each += max(PATIENCE, 1 / self.batches) * (each - self.each)
        self.quickest = min(seconds, self.quickest + RISE * (seconds - self.quickest))
        slow = min(seconds, SLOWER * self.last)
        self.slowest = max(slow, self.slowest + RISE * (slow - self.slowest))
        self.last = seconds


class Pace:
    """The time of a batch by its size: 1, 2-3, 4-7, 8-15, … images.

    `quickest` falls to whatever is faster at once and rises slowly, so that what it calls impossible really is. A
    refusal measures nothing; each makes it a little smaller, so that a model that was slow once is tried again. `best`
    is for models whose larger batches are the slower ones, because they leave the processor's cache. `slowest` rises
    with two slow batches in a row and falls slowly; `in_time` is for callers who cannot wait for a large batch.
    """

    def __init__(self) -> None:
        self._sizes = [Size() for _ in range(LONGEST)]  # by the bits of their number of images
        self._chosen = 0

    def measured(self, images: int, seconds: float, cost: float | None = None) -> None:
        """A batch took so many seconds, of which the model had the processor for `cost`, all of them if None."""
        self._sizes[images.bit_length()].add(images, seconds, seconds if cost is None else cost)

    def quickest(self, images: int) -> float:
        """Seconds that a batch takes at least; 0.0 as long as nothing is known."""
        return self._sizes[images.bit_length()].quickest

    def slowest(self, images: int) -> float:
        """Seconds after which a batch is nearly always done; 0.0 as long as nothing is known.

        At most twice as long an image as in any smaller batch: else one slow batch of a size for which nobody waited
        after that would stand for ever.
        """
        whole = images.bit_length()
        smaller = [size for size in range(1, whole) if self._sizes[size].batches]
        return min([self._sizes[whole].slowest, *(self._sizes[size].slowest * (2 << whole - size) for size in smaller)])

    def usual(self, images: int) -> float:
        """Seconds that a batch costs on average; infinite as long as nothing is known."""
        return self._sizes[images.bit_length()].usual

    def best(self, images: int) -> int:
        """How many of `images` that wait belong into the next batch: fewer only where an image then cost less.

        A size of which little is known is tried, the largest first.
        """
        whole = images.bit_length()
        size = self._little_known(whole) or self._in_turn(whole) or self._cheapest(whole)
        return images if size == whole else 2 ** (size - 1)

    def in_time(self, images: int, patient: Callable[[float, int], int]) -> int:
        """How many of `images` belong into the next batch: all where all can wait for that, else as many as give the
        most answers in time a second, where a size that was never seen counts as quick. `patient(seconds, most)` is how
        many, of at most `most`, can wait so long.
        """
        if images == 1 or (waits := patient(self.slowest(images), images)) == images or waits == patient(0.0, images):
            return images

        def answers_a_second(size: int) -> float:
            seconds = self.slowest(size)
            return patient(seconds, size) / (seconds + AROUND)

        return max((*(1 << bits for bits in range((images - 1).bit_length())), images), key=answers_a_second)

    def refused(self, images: int) -> None:
        """A request was turned away because of `quickest`."""
        self._sizes[images.bit_length()].quickest *= DOUBT

    def _little_known(self, whole: int) -> int:
        return next((size for size in range(whole, 0, -1) if self._sizes[size].batches < KNOWN), 0)

    def _in_turn(self, whole: int) -> int:
        self._chosen += 1
        turns, rest = divmod(self._chosen, LOOK_AROUND)
        return 0 if rest else turns % whole + 1

    def _cheapest(self, whole: int) -> int:
        sizes = self._sizes
        size = min(range(whole, 0, -1), key=lambda size: sizes[size].each)
        return size if sizes[size].each < FASTER * sizes[whole].each else whole
