"""Calls whose requests are there, of all connections: when the turn of the loop ends, they are begun together."""

import time

from pupil_server.dispatch import Dispatcher
from pupil_server.method import Method
from pupil_server.nghttp2.server_call import ServerCall
from pupil_server.turn import Stage, this_turn


class Arrivals:
    """A call is answered at once if it can be; else its handler begins."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher, self._turn = dispatcher, this_turn()
        self._calls: list[ServerCall] = []

    def add(self, call: ServerCall) -> None:
        if not self._calls:
            self._turn.at_end(Stage.BEGIN, self._begin)
        self._calls.append(call)

    def _begin(self) -> None:
        since = time.monotonic()
        calls, self._calls = self._calls, []
        plain: dict[Method, list[tuple[bytes, ServerCall]]] = {}
        for call in calls:
            request = call.plain()
            if request is None:
                call.begin()
            else:
                plain.setdefault(call.method, []).append((request, call))
        for method, together in plain.items():
            answers = self._dispatcher.at_once(method, [(request, call.call) for request, call in together], since)
            for (_, call), answer in zip(together, answers, strict=True):
                if answer is None:
                    call.begin()
                else:
                    call.answer(answer)
