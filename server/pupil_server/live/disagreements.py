"""The images on which student and teacher differ: the next ones to be looked at, as rows of a labels file."""

import hashlib
import io
import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pupil_server.live.shadow import Sample
from pupil_server.model import LoadedModel
from pupil_server.pairs import kl_divergence
from pupil_server.whole import write_whole

log = logging.getLogger("pupil.live")

MOST_ROWS = 10_000  # of one student
MOST_STUDENTS = 16  # of whom it is in memory what is kept
MOST_IMAGE_BYTES = 1_000_000_000  # of all pictures together
PAUSE = 60.0  # seconds for which nothing is kept after one could not be: a full disk is told once a minute


class Disagreements:
    """`<folder>/<model>-<version>-<fingerprint>.jsonl`, each image once; with `pictures`, also those, in `images/`."""

    def __init__(self, folder: Path, *, pictures: bool) -> None:
        """Raises OSError where the folder cannot be made."""
        self._folder = folder
        self._pictures = folder / "images" if pictures else None
        (self._pictures or folder).mkdir(parents=True, exist_ok=True)
        kept = self._pictures.iterdir() if self._pictures else ()
        self._room = MOST_IMAGE_BYTES - sum(picture.stat().st_size for picture in kept)
        self._known: dict[Path, set[str]] = {}
        self._rests_until = 0.0
        self._one_at_a_time = threading.Lock()

    def add(self, student: LoadedModel, sample: Sample, teacher: NDArray[np.float32], places: list[int]) -> None:
        """Keeps the images at `places` of a sample; `teacher` are its scores (N, K). Blocks; a full disk is logged."""
        facts = student.facts
        file = self._folder / f"{facts.model}-{facts.version}-{facts.fingerprint[:12]}.jsonl"
        try:
            with self._one_at_a_time:
                if time.monotonic() < self._rests_until:
                    return
                if file not in self._known:
                    self._known[file] = _sha256s(file)
                    for oldest in list(self._known)[:-MOST_STUDENTS]:
                        del self._known[oldest]
                for place in places:
                    self._keep(file, self._known[file], student, sample, place, teacher[place])
        except (OSError, LookupError, TypeError, ValueError) as error:  # the latter of lines that are not ours
            self._known.pop(file, None)  # the next one finds the line that was left half, and cuts it off
            self._rests_until = time.monotonic() + PAUSE
            log.warning("%s: a disagreement is not kept (%s), nor are others for %g s", file, error, PAUSE)

    def _keep(
        self,
        file: Path,
        known: set[str],
        student: LoadedModel,
        sample: Sample,
        place: int,
        teacher: NDArray[np.float32],
    ) -> None:
        """The image at `place`, of which `teacher` are its scores (K,)."""
        data = sample.files[place] if sample.files else sample.pixels[place].tobytes()
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 in known or len(known) >= MOST_ROWS or not np.isfinite(sample.scores[place] + teacher).all():
            return  # JSON has no word for a score that is no number
        name = self._picture(sample, place, sha256) if self._pictures else sha256
        row = _row(student, name, sha256, sample.scores[place], teacher)
        if not known:
            row["classes"] = list(student.facts.classes)
        with file.open("ab") as lines:
            lines.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        known.add(sha256)

    def _picture(self, sample: Sample, place: int, sha256: str) -> str:
        """The file as it came, or the pixels as PNG; its path in the folder, or the hash where there is no room."""
        assert self._pictures is not None
        if sample.files:
            data = sample.files[place]
            kind = Image.open(io.BytesIO(data)).format or ""
        else:
            whole, kind = io.BytesIO(), "png"
            Image.fromarray(sample.pixels[place].squeeze()).save(whole, kind)
            data = whole.getvalue()
        if len(data) > self._room:
            return sha256
        picture = self._pictures / f"{sha256}.{kind.lower()}"
        write_whole(picture, data)
        self._room -= len(data)
        return f"images/{picture.name}"


def _sha256s(file: Path) -> set[str]:
    """Of the images that are in the file already; a line that a killed process left half is cut off."""
    if not file.exists():
        return set()
    lines = file.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        with file.open("r+b") as cut:
            cut.truncate(sum(map(len, lines[:-1])))
        lines.pop()
    return {json.loads(line)["sha256"] for line in lines}


def _row(
    student: LoadedModel, image: str, sha256: str, scores: NDArray[np.float32], teacher: NDArray[np.float32]
) -> dict[str, Any]:
    """A row of a labels file, with what the teacher said instead and what a review queue is ordered by."""
    best = int(scores.argmax())
    return {
        "image": image,
        "sha256": sha256,
        "label": student.facts.classes[best],
        "confidence": float(scores[best]),
        "accepted": False,
        "scores": scores.tolist(),
        "model": student.facts.model,
        "version": student.facts.version,
        "fingerprint": student.facts.fingerprint,
        "teacher_label": student.facts.classes[int(teacher.argmax())],
        "agree": False,
        "kl": float(kl_divergence(teacher[None], scores[None])[0]),
    }
