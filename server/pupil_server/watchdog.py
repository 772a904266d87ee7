"""Notices a model that does not come back: a driver that hangs, a graph that loops."""

import time
from collections.abc import Callable
from typing import TypeVar

Images = TypeVar("Images")
Outputs = TypeVar("Outputs")


class Watchdog:
    """Knows since when each batch of one model has been running."""

    def __init__(self) -> None:
        self._running: dict[object, float] = {}

    def over(self, predict: Callable[[Images], Outputs]) -> Callable[[Images], Outputs]:
        """`predict`, watched; it runs in threads, one an instance."""

        def watched(images: Images) -> Outputs:
            batch = object()
            self._running[batch] = time.monotonic()
            try:
                return predict(images)
            finally:
                del self._running[batch]

        return watched

    def longest(self) -> float:
        """Seconds for which the oldest batch has been running; 0.0 where none is."""
        began = list(self._running.values())  # one step: the threads go on meanwhile
        return time.monotonic() - min(began) if began else 0.0
