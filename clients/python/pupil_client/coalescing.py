"""What many callers ask within one turn of the event loop becomes few requests, and each hears its own answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple

from pupil_client.errors import BadRequest
from pupil_client.images import MAX_BATCH_BYTES, MAX_BATCH_IMAGES, RawImage
from pupil_client.results import Cascade, Prediction


class Question(NamedTuple):
    """What must be the same of images that share a request, beside their shape."""

    model: str
    top_k: int
    scores: bool
    cascade: Cascade | None
    timeout: float | None


class Asked(NamedTuple):
    """One caller's image, and where its answer goes."""

    image: RawImage
    answer: asyncio.Future[Prediction]


Ask = Callable[[Question, list[RawImage]], Awaitable[list[Prediction]]]


class Coalescer:
    """Asks `ask` with many images at a time.

    Where a request is refused as a whole, because of one image in it or because it is too large, its halves are asked
    by themselves, so that a neighbour's mistake is nobody else's. A caller who gives up is forgotten; the request ends
    when all of its callers have.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._waiting: dict[tuple[Question, tuple[int, int, int] | None], list[Asked]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def ask(self, question: Question, image: RawImage) -> Prediction:
        """The answer for one image. Raises PupilError."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._send_all)
        asked = Asked(image, loop.create_future())
        self._waiting.setdefault((question, image.shape), []).append(asked)
        return await asked.answer

    def _send_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for (question, _), everyone in waiting.items():
            for asked in _requests([each for each in everyone if not each.answer.done()]):
                sending = asyncio.create_task(self._send(question, asked))
                self._sending.add(sending)
                sending.add_done_callback(self._sending.discard)
                _cancel_without_callers(sending, asked)

    async def _send(self, question: Question, asked: Sequence[Asked]) -> None:
        try:
            answers = await self._ask(question, [each.image for each in asked])
        except BadRequest as refused:
            if len(asked) == 1:
                _fail(asked, refused)
                return
            half = len(asked) // 2
            await asyncio.gather(self._send(question, asked[:half]), self._send(question, asked[half:]))
        except Exception as problem:
            _fail(asked, problem)
        except asyncio.CancelledError:  # the client was closed, or nobody waits any more
            for each in asked:
                each.answer.cancel()
            raise
        else:
            for each, answer in zip(asked, answers, strict=True):
                if not each.answer.done():
                    each.answer.set_result(answer)


def _requests(asked: Sequence[Asked]) -> Iterator[list[Asked]]:
    """Bounded in images and bytes."""
    request: list[Asked] = []
    size = 0
    for each in asked:
        if request and (len(request) == MAX_BATCH_IMAGES or size + len(each.image.data) > MAX_BATCH_BYTES):
            yield request
            request, size = [], 0
        request.append(each)
        size += len(each.image.data)
    if request:
        yield request


def _fail(asked: Sequence[Asked], problem: Exception) -> None:
    for each in asked:
        if not each.answer.done():
            each.answer.set_exception(problem)


def _cancel_without_callers(sending: "asyncio.Task[None]", asked: Sequence[Asked]) -> None:
    left = len(asked)

    def done(_: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            sending.cancel()  # which does nothing where it has ended, as it mostly has

    for each in asked:
        each.answer.add_done_callback(done)
