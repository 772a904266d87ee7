"""Someone who keeps asking while a model is swapped, and counts what fails."""

import itertools
import threading
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from pupil_client.client import Client
from pupil_client.errors import PupilError

PATIENCE = 30.0  # seconds


class Traffic:
    """Classifies one image after the other in a thread of its own, without retries, for as long as it is entered."""

    def __init__(self, address: str, model: str, images: Sequence[bytes]) -> None:
        self.answers: Counter[int] = Counter()  # by the version that gave them
        self.failures: list[str] = []
        self._address = address
        self._model = model
        self._images = images
        self._stop = threading.Event()
        self._answered = threading.Condition()
        self._thread = threading.Thread(target=self._ask, name="pupil-traffic", daemon=True)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)

    @property
    def requests(self) -> int:
        """How many were made."""
        return self.answers.total() + len(self.failures)

    def wait_for(self, version: int, answers: int = 50) -> None:
        """Until that version has answered so often. Raises `TimeoutError` if it does not."""
        with self._answered:
            if not self._answered.wait_for(lambda: self.answers[version] >= answers, PATIENCE):
                raise TimeoutError(f"version {version} of {self._model} answered {self.answers[version]} requests only")

    def _ask(self) -> None:
        with Client(self._address, tries=1) as client:
            for image in itertools.cycle(self._images):
                if self._stop.is_set():
                    return
                try:
                    version = client.classify(image, model=self._model, top_k=1).answered_by.version
                except PupilError as error:
                    self.failures.append(str(error))
                else:
                    with self._answered:
                        self.answers[version] += 1
                        self._answered.notify_all()
