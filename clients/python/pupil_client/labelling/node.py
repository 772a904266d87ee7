"""What works on a node of a cluster: it takes shards and gives lines, and knows nothing of Ray."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from pupil_client.client import Client
from pupil_client.labelling.asking import Asker, ModelChanged
from pupil_client.labelling.ledger import Line
from pupil_client.labelling.local import serving
from pupil_client.labelling.pictures import Picture, unpacked
from pupil_client.labelling.promise import TRIES, Promise
from pupil_client.results import ModelInfo
from pupil_client.retries import Attempts, RetryBudget, persistently

QUICK_SECONDS = 1.0  # for a shard; one more then lies ready, or else the way to the head and back would show

Reach = Callable[[], AbstractContextManager[Client]]  # how a node comes to a server


class Answer(NamedTuple):
    """The lines of a shard, `None` where its files are not seen from here, and how many shards to have here at once."""

    lines: list[Line] | None
    places: int


@contextmanager
def own_server(bundle: Path, timeout: float) -> Iterator[Client]:
    """A server on this node for as long as the job takes. Raises ValueError for what is no bundle, OSError."""
    with serving(bundle) as served, Client(served.address, timeout=timeout) as client:
        yield client


class Labeller:
    """Labels shards, several at once. Paths are those of `folder`, the head's working folder."""

    def __init__(self, reach: Reach, model: ModelInfo, promise: Promise, patience: float, folder: Path) -> None:
        self._reach = reach
        self._model = model
        self._promise = promise
        self._patience = patience
        self._folder = folder
        self._held = ExitStack()

    def begin(self) -> None:
        """Comes to its server. Raises PupilError, ValueError, OSError."""
        client = self._held.enter_context(self._reach())
        name = f"{self._model.name}/{self._model.version}"
        attempts = Attempts(tries=TRIES, timeout=self._patience, budget=RetryBudget(TRIES))
        found = persistently(lambda: client.model(name), attempts)
        if found.fingerprint != self._model.fingerprint:
            wanted = self._model.fingerprint[:12]
            raise ModelChanged(f"{client.address} has a {name} of fingerprint {found.fingerprint[:12]}, not {wanted}")
        self._asker = Asker(client, self._model, self._promise, patience=self._patience, progress=lambda images: None)
        self._held.callback(self._asker.stopped.set)  # before the server goes

    def label(self, shard: bytes) -> Answer:
        """The pictures come `packed`; any thread may ask. Raises PupilError once asking the server again is in vain."""
        here = [self._seen(picture) for picture in unpacked(shard)]
        started = time.monotonic()
        lines = None if None in here else self._asker.label([picture for picture in here if picture])
        quick = time.monotonic() - started < QUICK_SECONDS
        return Answer(lines, self._asker.pace.streams + quick)

    def end(self) -> None:
        """Leaves nothing behind."""
        self._held.close()

    def _seen(self, picture: Picture) -> Picture | None:
        """The picture as it is reached from here; a file that is not the one that the head listed is not seen."""
        if not isinstance(picture.content, Path):
            return picture
        path = self._folder / picture.content
        try:
            size = path.stat().st_size
        except OSError:
            size = 0
        return picture._replace(content=path) if size == picture.size else None
