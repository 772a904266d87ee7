"""The gateway of a supervisor: it passes each POST on to a worker, in turn."""

import itertools
import threading
from collections.abc import Mapping, Sequence

from pupil_server.errors import BadRequest, Code
from pupil_server.gateway import LATE, MOST_POSTS, SLACK, Reply, refusal, seconds_asked
from pupil_server.posts import PEER
from pupil_server.workers.asking import ask
from pupil_server.workers.process import WorkerProcess

OF_THE_CONNECTION = {"connection", "content-length", "expect", "host", "keep-alive", "transfer-encoding", PEER}
GONE = "the worker ended before it answered; try again"
NOT_AN_ADDRESS = "only plain ASCII is understood in an address; /v1/models/NAME:classify is wanted"


class PassingOn:
    def __init__(self, workers: Sequence[WorkerProcess], *, default_deadline: float, max_body: int) -> None:
        self.max_body = max_body
        self.places = threading.BoundedSemaphore(MOST_POSTS)
        self._workers = workers
        self._default_deadline = default_deadline
        self._turns = itertools.count()

    def answer(self, target: str, headers: Mapping[str, str], body: bytes, peer: str) -> Reply:
        if not (target.isascii() and target.isprintable()):
            return refusal(Code.INVALID_ARGUMENT, NOT_AN_ADDRESS)
        try:
            patience = seconds_asked(headers, self._default_deadline) + 2 * SLACK  # the worker ends by itself before
        except BadRequest as error:
            return refusal(error.code, str(error))
        passed = {name: value for name, value in headers.items() if name not in OF_THE_CONNECTION} | {PEER: peer}
        for worker in self._in_turn():
            try:
                answer = ask(worker.place.http, target, method="POST", headers=passed, body=body, timeout=patience)
            except (ConnectionRefusedError, FileNotFoundError):  # it has just ended, and has read nothing
                continue
            except TimeoutError:  # it hangs
                return refusal(Code.DEADLINE_EXCEEDED, LATE)
            except OSError:
                return refusal(Code.UNAVAILABLE, GONE)
            return _reply(answer)
        return refusal(Code.UNAVAILABLE, "no worker is ready; try again")

    def _in_turn(self) -> list[WorkerProcess]:
        ready = [worker for worker in self._workers if worker.ready]
        first = next(self._turns) % max(1, len(ready))
        return ready[first:] + ready[:first]


def _reply(answer: Reply) -> Reply:
    kept = {name: value for name, value in answer.headers.items() if name in ("Retry-After", "X-Request-Id")}
    return answer._replace(headers=kept)
