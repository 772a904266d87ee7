"""When to ask again: which errors, how often, how soon; the same for both clients.

Exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", 2015) under a budget, so that a
server in trouble hears at most a tenth more requests than without retries.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from pupil_client.errors import Overloaded, PupilError, Unavailable

Answer = TypeVar("Answer")

FIRST_PAUSE = 0.1  # seconds; the ceiling of the first pause, doubled for each further one
LONGEST_PAUSE = 2.0


class RetryBudget:
    """Tokens that retries cost: one each; an answered call gives a tenth back."""

    def __init__(self, tokens: float = 10.0) -> None:
        self._most = self._tokens = tokens
        self._lock = threading.Lock()

    def spend(self) -> bool:
        """Takes one token; `False` where none is left."""
        with self._lock:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def earn(self) -> None:
        """A call was answered."""
        with self._lock:
            self._tokens = min(self._most, self._tokens + 0.1)


class Attempts:
    """The attempts of one call within its deadline of `timeout` seconds."""

    def __init__(self, *, tries: int, timeout: float, budget: RetryBudget) -> None:
        self._tries = tries
        self._budget = budget
        self._end = time.monotonic() + timeout
        self._failed = 0

    def left(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._end - time.monotonic())

    def pause_after(self, problem: PupilError) -> float | None:
        """Seconds to wait before asking again; `None` where that is unsafe, in vain, too late or too much."""
        self._failed += 1
        if not isinstance(problem, Unavailable | Overloaded) or self._failed >= self._tries:
            return None
        ceiling = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._failed - 1))
        pause = (problem.retry_after or 0.0) + random.uniform(0, ceiling)
        return pause if pause < self.left() and self._budget.spend() else None

    def answered(self) -> None:
        """The call was answered."""
        self._budget.earn()


def persistently(ask: Callable[[], Answer], attempts: Attempts) -> Answer:
    """The answer, asked for again as often and as soon as `attempts` allows. Raises the last PupilError."""
    while True:
        try:
            answer = ask()
        except PupilError as problem:
            pause = attempts.pause_after(problem)
            if pause is None:
                raise
            time.sleep(pause)
        else:
            attempts.answered()
            return answer
