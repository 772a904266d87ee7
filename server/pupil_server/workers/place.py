"""Where one worker stands among its siblings."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pupil_server.workers.shared_quotas import SharedBucket


@dataclass(frozen=True)
class Place:
    """Number `number` of `count` workers, and the private folder in which they find each other."""

    folder: Path
    number: int
    count: int
    anew: bool = False  # after it ended by itself

    def __str__(self) -> str:
        return f"worker {self.number} of {self.count}"

    @property
    def control(self) -> Path:
        """The socket on which siblings ask for changes."""
        return self.folder / f"{self.number}.control"

    @property
    def http(self) -> Path:
        """The socket on which the supervisor asks for metrics, probes and the gateway."""
        return self.folder / f"{self.number}.http"

    @property
    def changing(self) -> Path:
        """The file that is locked by the one worker that changes something."""
        return self.folder / "changing"

    @property
    def siblings(self) -> list["Place"]:
        numbers = range(1, self.count + 1)
        return [Place(self.folder, number, self.count) for number in numbers if number != self.number]

    def bucket(self, name: str, rate: float, burst: int) -> SharedBucket:
        """The bucket of a token, the same one in every worker."""
        digest = hashlib.sha256(f"{name} {rate!r} {burst}".encode()).hexdigest()
        return SharedBucket(rate, burst, self.folder / f"{digest}.quota")
