"""The nodes of a Ray cluster that work for us: hired as they come, given up as they go."""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pupil_client.errors import PupilError
from pupil_client.labelling.job import Job
from pupil_client.labelling.node import Labeller, Reach
from pupil_client.labelling.pace import MOST_STREAMS
from pupil_client.labelling.pictures import Picture, packed

LOOK_SECONDS = 1.0  # between two looks for nodes
DOUBT_SECONDS = 30.0  # a node that fell silent is said to live for about as long
END_SECONDS = 10.0  # for the nodes to end what they began

Answering = Any  # Ray's reference to an answer that is to come


class ClusterError(PupilError):
    """The cluster cannot go on with the job."""


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Inside, this process belongs to a cluster: host:port, `auto` for this machine's, `local` for one of its own.

    To be entered before gRPC is used: Ray forks, which gRPC's threads do not survive. Raises ClusterError, OSError.
    """
    if "://" in address:
        raise ClusterError(f"{address}: the job runs on a machine of the cluster; its address is host:port, or auto")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL)
    except (RuntimeError, ValueError) as error:
        raise ClusterError(f"no Ray cluster at {address}: {in_one_line(error)}") from None
    try:
        yield
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class Terms:
    """On which nodes work: how they come to a server; with one of its own, a node is ours alone."""

    reach: Reach
    own_servers: bool
    say: Callable[[str], object]  # told which nodes come and go


@dataclass(eq=False)
class Worker:
    """The labeller on one node."""

    node: str
    name: str
    actor: Any
    places: int = 1  # for shards

    def label(self, pictures: Sequence[Picture]) -> Answering:
        """Begins with a shard."""
        return self.actor.label.remote(packed(pictures))


class Workforce:
    """One worker a node, and which nodes are still to answer whether they can."""

    def __init__(self, terms: Terms, job: Job) -> None:
        self.workers: list[Worker] = []
        self.beginning: dict[Answering, Worker] = {}
        self._terms = terms
        self._job = job
        self._hire_from: dict[str, float] = {}  # when a node may be hired: never while it works, or where it cannot
        self._refusal = ""
        self._next_look = 0.0
        self._give_up = time.monotonic() + job.patience  # unless there is a worker by then

    def look(self) -> None:
        """Hires every node that has come. Raises ClusterError where there is none, and none to wait for."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        for node in nodes:
            if now >= self._hire_from.get(node["NodeID"], 0.0):
                self._hire(node["NodeID"], node["NodeManagerAddress"], node["Resources"])
        if self.workers:
            return
        if nodes and not self.beginning and all(self._hire_from[node["NodeID"]] == math.inf for node in nodes):
            raise ClusterError(f"no node of the cluster can label; {self._refusal}")
        if now > self._give_up:
            raise ClusterError(f"no node of the cluster was free for us within {self._job.patience:g} s")

    def _hire(self, node: str, address: str, has: dict[str, float]) -> None:
        whole = {"num_cpus": has["CPU"], "num_gpus": min(1.0, has.get("GPU", 0.0))}
        actor = (
            ray.remote(Labeller)
            .options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
                max_concurrency=MOST_STREAMS + 2,  # one that lies ready, and the end
                **(whole if self._terms.own_servers else {"num_cpus": 1}),
            )
            .remote(self._terms.reach, self._job.model, self._job.promise, self._job.patience, Path.cwd())
        )
        self._hire_from[node] = math.inf
        self.beginning[actor.begin.remote()] = Worker(node, f"node {address} ({node[:8]})", actor)

    def begun(self, answering: Answering) -> None:
        """A node has answered whether it can."""
        worker = self.beginning.pop(answering)
        try:
            ray.get(answering)
        except RayError as error:
            reason = error.cause if isinstance(error, RayTaskError) else in_one_line(error)
            self._refusal = f"{worker.name}: {reason}"
            self._terms.say(f"not labelling: {self._refusal}")
            ray.kill(worker.actor)
        else:
            self.workers.append(worker)
            self._terms.say(f"labelling: {worker.name}")

    def lose(self, worker: Worker, error: RayError) -> None:
        """It is not listened to any more, should it live after all."""
        ray.kill(worker.actor)
        self.workers.remove(worker)
        self._terms.say(f"lost: {worker.name}; its shards go to others")
        self._give_up = time.monotonic() + self._job.patience
        self._hire_from[worker.node] = 0.0 if isinstance(error, ActorDiedError) else time.monotonic() + DOUBT_SECONDS

    def end(self) -> None:
        """No node works for us any more."""
        ends = [worker.actor.end.remote() for worker in self.workers]
        if ends:
            ray.wait(ends, num_returns=len(ends), timeout=END_SECONDS)
        for worker in (*self.workers, *self.beginning.values()):
            ray.kill(worker.actor)


def in_one_line(error: Exception) -> str:
    """What Ray says over many lines."""
    return " ".join(str(error).split())
