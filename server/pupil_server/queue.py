"""The requests that wait for one model."""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import product

from pupil_server.priority import Priority
from pupil_server.work import Part, Work

BULK_EVERY = 4


class Queue:
    """Interactive requests fill a batch first, and bulk takes the places left; but while bulk waits, every fourth
    batch begins with bulk.

    So bulk moves on under any load, and costs interactive requests a quarter of the batches at most. The lines are
    dictionaries: whoever hangs up leaves from the middle at once, and takes the pixels along. Their length is bounded
    by `Admission`, at whose door every image is counted.
    """

    def __init__(self) -> None:
        self._interactive: OrderedDict[Work, None] = OrderedDict()
        self._bulk: OrderedDict[Work, None] = OrderedDict()
        self._batches = 0  # since bulk came first, or was not there
        self.images = 0

    def __iter__(self) -> Iterator[Work]:
        yield from self._interactive
        yield from self._bulk

    def put(self, work: Work) -> None:
        self._line(work)[work] = None
        self.images += len(work.pixels)

    def remove(self, work: Work) -> None:
        """Takes out what of a request still waits, if anything does."""
        line = self._line(work)
        if work in line:
            del line[work]
            self.images -= len(work.pixels) - work.taken

    def patient(self, until: float, most: int) -> int:
        """How many images, of at most `most`, may be answered after `until`: interactive ones, where there are any."""
        images = 0
        for work in self._interactive or self._bulk:
            if work.deadline > until:
                images += len(work.pixels) - work.taken
                if images >= most:
                    return most
        return images

    def draw(self, room: int, soonest: float, surely: float) -> tuple[list[Part], list[Work]]:
        """The next batch, of at most `room` images; and who was in front but must be answered before `soonest`.

        Who cannot wait until `surely` goes behind who can: a queue that is too long would else answer too late from
        then on, always those who have waited longest.
        """
        parts: list[Part] = []
        late: list[Work] = []
        for line, until in product(self._lines(), (surely, soonest)):
            for _ in range(len(line)):
                if not room:
                    return parts, late
                work, _ = line.popitem(last=False)
                if work.deadline <= soonest:
                    late.append(work)
                    self.images -= len(work.pixels) - work.taken
                elif work.deadline <= until:
                    line[work] = None
                else:
                    parts.append(self._begin(work, room))
                    room -= work.taken - parts[-1].first
        return parts, late

    def _begin(self, work: Work, room: int) -> Part:
        """As much of a request, which has left its line, as there is room for."""
        first, size = work.taken, len(work.pixels)
        work.taken = min(size, first + room)
        if work.taken < size:
            self._line(work)[work] = None  # behind the others: a huge request takes turns
        self.images -= work.taken - first
        return Part(work, first, work.taken)

    def _lines(self) -> tuple[OrderedDict[Work, None], ...]:
        self._batches = self._batches + 1 if self._bulk else 0
        if self._batches < BULK_EVERY:
            return self._interactive, self._bulk
        self._batches = 0
        return self._bulk, self._interactive

    def _line(self, work: Work) -> OrderedDict[Work, None]:
        return self._bulk if work.priority is Priority.BULK else self._interactive
