"""One line a call: every failure, a share of the successes, and never so many that the log is the next problem."""

import logging
import random

from pupil_server.call import Call
from pupil_server.errors import Code, Unauthenticated
from pupil_server.quotas import Bucket

log = logging.getLogger("pupil.access")
QUIET = Code.OK, Code.CANCELLED
MOST_LINES = 50  # a second, and ten seconds' worth at once


class AccessLog:
    """`share` of the calls that succeed, or whose callers hung up, are logged."""

    def __init__(self, share: float) -> None:
        self.share = share
        self._lines = Bucket(MOST_LINES, 10 * MOST_LINES)
        self._left_out = 0

    def ended(self, call: Call, code: Code, seconds: float, error: BaseException | None) -> None:
        """Who called what, and how it ended. Errors' texts stay out: they may quote what was sent."""
        if code in QUIET and random.random() >= self.share:
            return
        if self._lines.take(1):
            self._left_out += 1
            return
        facts: dict[str, object] = {
            "method": call.method,
            "code": code.name,
            "seconds": round(seconds, 6),
            "peer": call.peer,
            "token": call.token,
        }
        if isinstance(error, Unauthenticated):
            facts["why"] = error.why
        if self._left_out:
            facts["left_out"], self._left_out = self._left_out, 0
        words = " ".join(f"{name}={value}" for name, value in facts.items() if value not in ("", None))
        log.info("%s", words, extra={"facts": facts})
