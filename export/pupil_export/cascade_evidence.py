"""Both models of a cascade asked about a user's images, and the file from which a server certifies with the answers."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pupil_export.answers import BATCH, Answers
from pupil_export.bundle import fingerprint, to_json
from pupil_export.bundle_graph import BundleGraph
from pupil_export.cascade_images import CascadeImages
from pupil_export.errors import ExportError
from pupil_export.pair import Pair
from pupil_training.data.pictures import FilePicture
from pupil_training.data.reading import pixels_of
from pupil_training.errors import DataError
from pupil_training.files import written_whole
from pupil_training.preprocess import Preprocess
from pupil_trust import pair_name

FORMAT = 1
AT_ONCE = 256  # images in memory: 38 MB at 224×224


def ask_both(images: CascadeImages, student: BundleGraph, teacher: BundleGraph) -> Pair:
    """The answers of both about each image. Raises ExportError for an image that cannot be read, or a changed graph."""
    models = [(graph.preprocess, graph.model(), graph.most_at_once or BATCH) for graph in (student, teacher)]
    rules = {rule for rule, *_ in models}
    answers: list[list[Answers]] = [[], []]
    with tqdm(total=len(images), desc="asking both", unit="image", leave=False, disable=None) as bar:
        for start in range(0, len(images), AT_ONCE):
            pictures = images.pictures[start : start + AT_ONCE]
            pixels = {rule: _pixels(pictures, rule) for rule in rules}
            for some, (rule, model, batch_size) in zip(answers, models, strict=True):
                some.append(model(pixels[rule], batch_size))
            bar.update(len(pictures))
    confidence = np.concatenate([each.confidence for each in answers[0]]).astype(np.float64)
    said, told = (np.concatenate([each.predicted for each in some]) for some in answers)
    once = Pair(student, teacher, images.sha256, confidence, said, told, images.labels)
    return once.with_copies(images.copies)


def _pixels(pictures: Sequence[FilePicture], rule: Preprocess) -> NDArray[np.uint8]:
    try:
        return pixels_of(pictures, rule)
    except DataError as error:
        raise ExportError(f"{error}; take it out of --images") from None


def evidence_file(student: BundleGraph, teacher: BundleGraph) -> Path:
    """Where a server looks for what is known of just these two graphs: beside the student's versions."""
    return student.folder.absolute().parent / "cascades" / f"{pair_name(student.identity, teacher.identity)}.json"


def write_evidence(pair: Pair, unchecked: Sequence[str]) -> Path:
    """The file, whole, in the place of an earlier one; it says as well what about the images is `unchecked`."""
    facts: dict[str, Any] = {
        "format": FORMAT,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "student": _named(pair.student),
        "teacher": _named(pair.teacher),
        "sha256": pair.sha256,
        "unchecked": list(unchecked),
        "confidence": pair.confidence.tolist(),
        "predicted": pair.said.tolist(),
        "teacher_predicted": pair.told.tolist(),
        "label": None if pair.label is None else pair.label.tolist(),
    }
    file = evidence_file(pair.student, pair.teacher)
    try:
        file.parent.mkdir(exist_ok=True)
        with written_whole(file) as out:
            out.write(to_json({**facts, "fingerprint": fingerprint(facts)}))
    except OSError as error:
        raise ExportError(f"{file}: not written ({error.strerror}); the student's folder must be writable") from None
    return file


def read_evidence(student: BundleGraph, teacher: BundleGraph) -> Pair | None:
    """What was found out about the two before; None where nothing was. Raises ExportError for a damaged file."""
    file = evidence_file(student, teacher)
    try:
        facts = json.loads(file.read_bytes())
        if facts["format"] != FORMAT or fingerprint(facts) != facts["fingerprint"]:
            raise ValueError("it was changed, or is of another format")
        confidence = np.array(facts["confidence"], np.float64)
        said, told = (np.array(facts[key], np.int64) for key in ("predicted", "teacher_predicted"))
        label = None if facts["label"] is None else np.array(facts["label"], np.int64)
        return Pair(student, teacher, facts["sha256"], confidence, said, told, label)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ExportError(f"{file}: cannot be read ({error}); give the images again with --images") from None


def _named(graph: BundleGraph) -> dict[str, Any]:
    facts = graph.facts
    return {"model": facts["model"], "version": facts["version"], "fingerprint": facts["fingerprint"],
            "precision": graph.precision}  # fmt: skip
