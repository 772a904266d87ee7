"""Whether the process is alive: its event loop turns, and every batch ends."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pupil_server.metrics import Metrics
from pupil_server.model import LoadedModel
from pupil_server.reloaded import Reloaded

log = logging.getLogger("pupil.server")

BEAT = 0.5  # seconds between two beats of the loop
SILENT = 10.0  # seconds without a beat after which the loop counts as hung


class Liveness:
    """A task on the event loop that beats, and looks for batches that hang and for files that changed."""

    def __init__(
        self,
        models: Callable[[], Iterable[LoadedModel]],
        files: Sequence[Reloaded[Any]],
        metrics: Metrics,
        *,
        longest_batch: float,
    ) -> None:
        self._models = models
        self._files = files
        self._metrics = metrics
        self._longest_batch = longest_batch  # seconds; 0: any
        self._last = time.monotonic()
        self._hung = ""

    async def keep_beating(self) -> None:
        """Until cancelled."""
        while True:
            due = time.monotonic() + BEAT
            await asyncio.sleep(BEAT)
            self._last = time.monotonic()
            self._metrics.loop_lag.set(max(0.0, self._last - due))
            self._look_for_hung_models()
            for file in self._files:
                file.look()

    def why_not_live(self) -> str:
        """In words, empty while all is well; from any thread."""
        silence = time.monotonic() - self._last
        return f"the event loop has not turned for {silence:.0f} s" if silence > SILENT else self._hung

    def _look_for_hung_models(self) -> None:
        seconds, name = max(((model.watchdog.longest(), str(model)) for model in self._models()), default=(0, ""))
        hung = f"a batch in {name} does not end" if 0 < self._longest_batch < seconds else ""
        if hung and not self._hung:
            log.error("%s: %.0f s; not live from here on", hung, seconds)
        self._hung = hung
