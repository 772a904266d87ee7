"""What a supervisor tells of its workers over HTTP: whether they live, whether they are ready, and their metrics."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import CollectorRegistry

from pupil_server.gateway import Reply
from pupil_server.metrics import SupervisorMetrics
from pupil_server.workers.asking import ask
from pupil_server.workers.metrics import Life, MergedMetrics
from pupil_server.workers.process import WorkerProcess

PATIENCE = 2.0  # seconds for the answer of a worker; its threads answer even where its loop hangs


class Overview:
    """Asks all workers at the same time, on threads."""

    def __init__(self, workers: Sequence[WorkerProcess]) -> None:
        self.registry = CollectorRegistry()
        self.metrics = SupervisorMetrics(self.registry)
        self.metrics.workers.set_function(lambda: sum(worker.ready for worker in workers))
        self.registry.register(MergedMetrics(self._texts))
        self._workers = workers
        self._threads = ThreadPoolExecutor(max(1, len(workers)), thread_name_prefix="ask")

    def why_not_live(self) -> str:
        """One that is being started anew is no reason to start all the others anew."""
        return self._complaint("/livez", [worker for worker in self._workers if worker.ready])

    def why_not_ready(self) -> str:
        absent = [worker.place for worker in self._workers if not worker.ready]
        return f"{absent[0]} is not ready" if absent else self._complaint("/readyz", self._workers)

    def _texts(self) -> dict[Life, str | None]:
        ready = [worker for worker in self._workers if worker.ready]
        starts = [worker.starts for worker in ready]
        texts: dict[Life, str | None] = {}
        for worker, start, answer in zip(ready, starts, self._ask("/metrics", ready), strict=True):
            same = worker.starts == start  # else it may be its successor who answered
            texts[worker.place.number, start] = answer.body.decode() if answer and same else None
        return texts

    def _complaint(self, path: str, workers: Sequence[WorkerProcess]) -> str:
        for worker, answer in zip(workers, self._ask(path, workers), strict=True):
            if answer is None and worker.ready:
                return f"{worker.place} does not answer"
            if answer and answer.status != 200:
                return f"{worker.place}: {answer.body.decode().strip()}"
        return ""

    def _ask(self, path: str, workers: Sequence[WorkerProcess]) -> list[Reply | None]:
        return list(self._threads.map(lambda worker: _answer(worker, path), workers))


def _answer(worker: WorkerProcess, path: str) -> Reply | None:
    try:
        return ask(worker.place.http, path, timeout=PATIENCE)
    except OSError:
        return None
