"""What has come of a turn so far, in one JSON file that is whole after every step."""

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pupil_client.labelling.whole import whole_file

LEFT_SECONDS = 10.0  # in which the commands of a killed turn end, too


class Story:
    """The steps that are done, by name, with what came of each. A step is told once, however often it is begun."""

    def __init__(self, folder: Path, lock: IO[bytes], plan: Mapping[str, Any]) -> None:
        """Raises ValueError where the folder tells of another turn."""
        self.folder = folder
        self.lock = lock  # for the commands, so that they hold it as long as they live
        self._file = folder / "story.json"
        self._facts = json.loads(self._file.read_bytes()) if self._file.exists() else {"plan": plan}
        self._require(plan)
        self._write()

    def step(self, name: str, work: Callable[[], Any]) -> Any:
        """What came of it: now, or when it was done before."""
        if name not in self._facts:
            self._facts[name] = work()
            self._write()
        return self._facts[name]

    def _require(self, plan: Mapping[str, Any]) -> None:
        before = self._facts["plan"]
        other = [name for name in plan if plan[name] != before.get(name)]
        if other:
            raise ValueError(
                f"{self._file}: tells of a turn with {other[0]} {before.get(other[0])!r}, now asked is "
                f"{plan[other[0]]!r}; choose another --out, or ask for the same"
            )

    def _write(self) -> None:
        with whole_file(self._file) as file:
            file.write(json.dumps(self._facts, ensure_ascii=False, indent=1).encode() + b"\n")


@contextmanager
def opened_story(folder: Path, plan: Mapping[str, Any]) -> Iterator[Story]:
    """The story of a folder, new or gone on with, for one process at a time. Raises ValueError, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("wb") as lock:
        end = time.monotonic() + LEFT_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise ValueError(f"{folder}: another process is at work on this turn") from None
                time.sleep(0.1)
        yield Story(folder, lock, plan)
