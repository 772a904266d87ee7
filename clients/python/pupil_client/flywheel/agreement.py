"""A new version and the old one on fresh images that nobody labelled: how often each says what their teacher says."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pupil_client.client import Client
from pupil_client.labelling.asking import Asker
from pupil_client.labelling.pictures import Picture, Source
from pupil_client.labelling.promise import Promise
from pupil_client.results import ModelInfo

AT_ONCE = 512  # images on one stream


@dataclass
class Agreement:
    """Of how many fresh images each student said what the teacher said; how many others there were, and why."""

    seen: set[str]  # the SHA-256 of images that are fresh no more
    agreed: dict[str, int] = field(default_factory=dict)
    images: int = 0
    known: int = 0
    unreadable: int = 0

    def count(self, sha256: str | None, told: str | None, said: Mapping[str, str | None]) -> None:
        """One more image; no label where it could not be read."""
        if sha256 is None or told is None or None in said.values():
            self.unreadable += 1
        elif sha256 in self.seen:
            self.known += 1
        else:
            self.seen.add(sha256)
            self.images += 1
            for student, label in said.items():
                self.agreed[student] = self.agreed.get(student, 0) + (label == told)

    def told(self, delta: float) -> dict[str, Any]:
        """With the rates between which each student agrees at every moment of a stream, with probability 1 - delta."""
        from pupil_trust import confidence_sequence

        counts = {"images": self.images, "known": self.known, "unreadable": self.unreadable, "delta": delta}
        return counts | {
            student: {"agreed": agreed, "between": list(confidence_sequence(agreed, self.images, delta))}
            for student, agreed in self.agreed.items()
        }


def agree_on_fresh(
    client: Client,
    teacher: ModelInfo,
    students: Mapping[str, ModelInfo],
    fresh: Source,
    learned: set[str],
    *,
    patience: float,
    progress: Callable[[int], object],
) -> Agreement:
    """Each student's and the teacher's answers, counted; images among the `learned` are no fresh ones.

    Raises PupilError, and ValueError where none can be read.
    """
    models = {info.exactly: info for info in (teacher, *students.values())}  # each is asked once
    askers = {
        name: Asker(client, info, Promise("none"), patience=patience, progress=lambda _: None)
        for name, info in models.items()
    }
    found = Agreement(learned)
    for some in _blocks(fresh.pictures()):
        lines = {name: asker.label(some) for name, asker in askers.items()}
        for place, (_, sha256, told, *_) in enumerate(lines[teacher.exactly]):
            said = {role: lines[info.exactly][place][2] for role, info in students.items()}
            found.count(sha256, told, said)
        progress(len(some))
    if not found.images:
        raise ValueError("--fresh: no image that can be read is there beyond those of the pool")
    return found


def _blocks(pictures: Iterator[Picture]) -> Iterator[list[Picture]]:
    while some := list(islice(pictures, AT_ONCE)):
        yield some
