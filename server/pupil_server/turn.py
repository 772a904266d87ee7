"""The end of a turn of the event loop, where what came in this turn is worked off together: one batch, one write."""

import asyncio
import threading
import time
from collections.abc import Callable
from enum import IntEnum


class Stage(IntEnum):
    """The order at the end: requests are begun, then batches run, then answers leave."""

    BEGIN = 0
    RUN = 1
    WRITE = 2


STAGES = tuple(Stage)
LONG = 0.004  # seconds of an end, after which the batches that are left wait for the next one: models are many


class Turn:
    """Calls back when the loop's turn ends. Everybody on a loop shares one, `this_turn()`.

    By itself the end is the beginning of the loop's next turn. Who reads, and may know that nobody else does, holds
    the end back meanwhile, and then ends the turn there and then: that saves the next one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._stages: list[list[Callable[[], None]]] = [[] for _ in Stage]
        self._held = self._ending = False

    def at_end(self, stage: Stage, callback: Callable[[], None]) -> None:
        """What is left during the end for a later stage is of this turn, and else of the next one."""
        self._stages[stage].append(callback)
        self._end_soon()

    def hold(self) -> None:
        self._held = True

    def release(self, *, at_once: bool) -> None:
        self._held = False
        if at_once and not self._ending:
            self._end()
        else:
            self._end_soon()

    def _end_soon(self) -> None:
        if not self._held and not self._ending and any(self._stages):
            self._ending = True
            self.loop.call_soon(self._end)

    def _end(self) -> None:
        self._ending = True
        enough = time.monotonic() + LONG
        for stage in STAGES:
            left, self._stages[stage] = self._stages[stage], []
            for done, callback in enumerate(left, start=1):
                try:
                    callback()
                except Exception as error:
                    self.loop.call_exception_handler({"message": "the end of a turn failed", "exception": error})
                if stage is Stage.RUN and time.monotonic() > enough:
                    self._stages[stage][:0] = left[done:]  # the first of the next turn
                    break
        self._ending = False
        self._end_soon()


_here = threading.local()


def this_turn() -> Turn:
    """The running loop's."""
    loop = asyncio.get_running_loop()
    turn: Turn | None = getattr(_here, "turn", None)
    if turn is None or turn.loop is not loop:
        turn = _here.turn = Turn(loop)
    return turn
