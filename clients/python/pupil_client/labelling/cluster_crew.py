"""The nodes of a Ray cluster label shards; the head alone lists the source, keeps the ledger and writes.

Plain actors, one a node, and not Ray Data: the ledger knows shards by their number, and a block of Ray Data has none.
Here it is known which shard was lost with a node, and how often.
"""

import time
from collections import Counter, deque
from collections.abc import Sequence
from types import TracebackType

import ray
from ray.exceptions import RayError, RayTaskError

from pupil_client.client import Client
from pupil_client.labelling.cluster import (
    LOOK_SECONDS,
    Answering,
    ClusterError,
    Terms,
    Worker,
    Workforce,
    in_one_line,
)
from pupil_client.labelling.job import Job, Progress
from pupil_client.labelling.ledger import Ledger
from pupil_client.labelling.node import Answer
from pupil_client.labelling.pictures import Picture

MOST_LOSSES = 3  # of one shard, then the job gives up
FETCH_SECONDS = 60.0  # for the lines of a shard to come

Task = tuple[int, Sequence[Picture]]  # a shard's number and its pictures


class ClusterCrew:
    """Use it with `with`, inside `connected`: on leaving, no node works for us any more.

    The client is the head's own, and not for the nodes.
    """

    def __init__(self, terms: Terms, client: Client, job: Job, ledger: Ledger, progress: Progress) -> None:
        self.progress = progress
        self._force = Workforce(terms, job)
        self._ledger = ledger
        self._served_by = job.served_by
        self._waiting: deque[Task] = deque()
        self._running: dict[Answering, tuple[Worker, Task]] = {}
        self._losses: Counter[int] = Counter()  # of a shard

    def __enter__(self) -> "ClusterCrew":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._force.end()

    def label(self, number: int, pictures: Sequence[Picture]) -> None:
        """Begins with a shard once a node has a place. Raises what went wrong with an earlier one."""
        self._waiting.append((number, pictures))
        while self._waiting:
            self._step()

    def finish(self) -> None:
        """Waits for the last of them. Raises what went wrong."""
        while self._waiting or self._running:
            self._step()

    def _step(self) -> None:
        """Gives a shard to a node that has a place, or else waits for something to happen."""
        worker = self._free_worker() if self._waiting else None
        if worker:
            task = self._waiting.popleft()
            self._running[worker.label(task[1])] = worker, task
        else:
            self._force.look()
            self._settle()

    def _free_worker(self) -> Worker | None:
        """The one with the least to do."""
        tasks = Counter(worker for worker, _ in self._running.values())
        free = [worker for worker in self._force.workers if tasks[worker] < worker.places]
        return min(free, key=lambda worker: tasks[worker], default=None)

    def _settle(self) -> None:
        """Waits for one answer, not for long."""
        expected = [*self._running, *self._force.beginning]
        if not expected:
            time.sleep(LOOK_SECONDS)
            return
        for answering in ray.wait(expected, num_returns=1, timeout=LOOK_SECONDS)[0]:
            if answering in self._running:
                self._answered(answering)
            else:
                self._force.begun(answering)

    def _answered(self, answering: Answering) -> None:
        worker, (number, pictures) = self._running[answering]
        try:
            answer: Answer = ray.get(answering, timeout=FETCH_SECONDS)
        except RayTaskError as error:
            raise error.cause from None
        except RayError as error:
            self._lose(worker, error)
            return
        del self._running[answering]
        worker.places = answer.places
        if answer.lines is None:  # its files lie with us alone: then we read them
            shipped = [picture.in_memory() for picture in pictures]
            self._running[worker.label(shipped)] = worker, (number, pictures)
            return
        self._ledger.finish(self._ledger.write(number, answer.lines, self._served_by))
        self.progress(len(answer.lines))

    def _lose(self, worker: Worker, error: RayError) -> None:
        """What it had goes to others. Raises ClusterError where it is lost too often."""
        self._force.lose(worker, error)
        for answering in [each for each, (holder, _) in self._running.items() if holder is worker]:
            _, (number, pictures) = self._running.pop(answering)
            self._losses[number] += 1
            if self._losses[number] == MOST_LOSSES:
                images = f"{pictures[0].name} to {pictures[-1].name}"
                raise ClusterError(f"{images}: lost {MOST_LOSSES} times, last with {worker.name}: {in_one_line(error)}")
            self._waiting.append((number, pictures))
