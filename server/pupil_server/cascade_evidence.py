"""What a student and its teacher said of the same images: by a file that `pupil cascade` wrote, or by both bundles."""

import asyncio
import json
import logging
import stat
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pupil_server.bundle_facts import fingerprint
from pupil_server.errors import NoCertificate
from pupil_server.model import LoadedModel
from pupil_trust import pair_name

LOOK_AGAIN = 2.0  # seconds after which a file may have changed
PAST = 0.0  # a moment: what is missing now may be there at the next call
MOST_PAIRS = 16  # that are kept
FORMAT = 1
REMEDY = "ask both about images that trained neither: pupil cascade STUDENT TEACHER --images FOLDER"

log = logging.getLogger("pupil.cascade")


class Evidence(NamedTuple):
    """The student's confidence, the class that each of the two said, and the right one, (N,) each.

    `label` is None where nobody knows it. `name` is another one for other answers.
    """

    name: str
    confidence: NDArray[np.float64]
    predicted: NDArray[np.int64]
    teacher_predicted: NDArray[np.int64]
    label: NDArray[np.int64] | None


class _Kept(NamedTuple):
    evidence: Evidence | str  # or why there is none
    stamp: tuple[int, int] | None  # of the file; None where there is none
    until: float


class CascadeEvidence:
    """Reads each file once, on a thread, and looks whether it has changed; the oldest pair is forgotten first."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], _Kept] = {}

    async def of(self, student: LoadedModel, teacher: LoadedModel) -> Evidence:
        """Raises NoCertificate where there is none, or it cannot be used."""
        pair = student.identity, teacher.identity
        kept = self._kept.get(pair)
        if kept is None or time.monotonic() > kept.until:
            kept = await asyncio.to_thread(_look, student, teacher, kept)
            self._kept.pop(pair, None)
            while len(self._kept) >= MOST_PAIRS:
                del self._kept[next(iter(self._kept))]
            self._kept[pair] = kept
        if isinstance(kept.evidence, str):
            raise NoCertificate(kept.evidence)
        return kept.evidence


def evidence_file(student: LoadedModel, teacher: LoadedModel) -> Path:
    """Where `pupil cascade --images` writes what it found out about just these two graphs."""
    return student.bundle.folder.parent / "cascades" / f"{pair_name(student.identity, teacher.identity)}.json"


def _look(student: LoadedModel, teacher: LoadedModel, before: _Kept | None) -> _Kept:
    file, until, stamp = evidence_file(student, teacher), time.monotonic() + LOOK_AGAIN, None
    try:
        found = file.stat()
        stamp = found.st_mtime_ns, found.st_ino
        if before and before.stamp == stamp:
            return before if isinstance(before.evidence, str) else before._replace(until=until)
        if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
            raise ValueError("it is not a file")
        return _Kept(_read(file, student, teacher), stamp, until)
    except FileNotFoundError:
        evidence = _of_bundles(student, teacher)
        return _Kept(evidence, None, PAST if isinstance(evidence, str) else until)
    except (OSError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        log.warning("%s: not used (%r)", file, error)
        problem = (
            f"{student} before {teacher}: cascades/{file.name}, which says how they do together, cannot be used; write "
            "it anew with pupil cascade --images, or delete it"
        )
        return _Kept(problem, stamp, PAST)


def _read(file: Path, student: LoadedModel, teacher: LoadedModel) -> Evidence:
    facts = json.loads(file.read_bytes())
    if facts["format"] != FORMAT or facts["fingerprint"] != fingerprint(facts):
        raise ValueError("it was changed, or is of another format")
    for role, model in (("student", student), ("teacher", teacher)):
        if f"{facts[role]['fingerprint']}:{facts[role]['precision']}" != model.identity:
            raise ValueError(f"it is of another {role}")
    confidence = np.array(facts["confidence"], dtype=np.float64)
    predicted, told = (np.array(facts[key], dtype=np.int64) for key in ("predicted", "teacher_predicted"))
    label = None if facts["label"] is None else np.array(facts["label"], dtype=np.int64)
    numbers = (confidence, predicted, told, told if label is None else label)
    if confidence.ndim != 1 or not np.isfinite(confidence).all() or len({each.shape for each in numbers}) > 1:
        raise ValueError("it has not one number of each for each image")
    return Evidence(facts["fingerprint"], confidence, predicted, told, label)


def _of_bundles(student: LoadedModel, teacher: LoadedModel) -> Evidence | str:
    calibration = student.bundle.calibration
    ours, theirs = student.bundle.calibration_set, teacher.bundle.calibration_set
    if calibration is None or ours is None or theirs is None:
        return f"{teacher if ours else student} was exported without a calibration set; {REMEDY}"
    if (ours.sha256, len(ours.label)) != (theirs.sha256, len(theirs.label)):  # the labels are part of what is hashed
        return (
            f"{student} and {teacher} were calibrated on different images; export both with one calibration set, or "
            f"{REMEDY}"
        )
    return Evidence(ours.sha256, calibration.confidence, ours.predicted, theirs.predicted, ours.label)
