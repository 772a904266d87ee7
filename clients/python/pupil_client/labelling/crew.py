"""Who labels shards: here threads, as many at once as the server takes. One thread alone speaks with the ledger."""

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Protocol

from pupil_client.labelling.asking import Asker
from pupil_client.labelling.ledger import Ledger, Shard
from pupil_client.labelling.pace import MOST_STREAMS
from pupil_client.labelling.pictures import Picture


class Crew(Protocol):
    """Threads of this process, or the nodes of a cluster (`cluster.py`)."""

    def progress(self, images: int, /) -> object:
        """So many more images are done."""

    def label(self, number: int, pictures: Sequence[Picture]) -> None:
        """Begins with a shard once there is a place. Raises what went wrong with an earlier one."""

    def finish(self) -> None:
        """Waits for the last of them. Raises what went wrong."""


class Threads:
    """Use it with `with`: on leaving, all threads have ended, in the middle of their work where there was an error."""

    def __init__(self, asker: Asker, ledger: Ledger, served_by: str) -> None:
        self._asker = asker
        self._ledger = ledger
        self._served_by = served_by
        self._threads = ThreadPoolExecutor(MOST_STREAMS, thread_name_prefix="label")
        self._running: set[Future[Shard]] = set()

    def __enter__(self) -> "Threads":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error:
            self._asker.stopped.set()
        self._threads.shutdown()

    def progress(self, images: int) -> None:
        """Told by the thread that reads the source, while the others tell of theirs."""
        self._asker.progress(images)

    def label(self, number: int, pictures: Sequence[Picture]) -> None:
        """Begins with a shard once there is a place. Raises what went wrong with an earlier one."""
        while len(self._running) >= self._asker.pace.streams:
            self._settle()
        self._running.add(self._threads.submit(self._label, number, pictures))

    def finish(self) -> None:
        """Waits for the last of them. Raises what went wrong."""
        while self._running:
            self._settle()

    def _settle(self) -> None:
        done, self._running = wait(self._running, return_when=FIRST_COMPLETED)
        for future in done:
            self._ledger.finish(future.result())

    def _label(self, number: int, pictures: Sequence[Picture]) -> Shard:
        return self._ledger.write(number, self._asker.label(pictures), self._served_by)
