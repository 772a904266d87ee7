"""The smaller precisions of a graph, each of them checked against fp32 on the validation split."""

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from pupil_export.answers import Answering, OnnxModel
from pupil_export.cost import cost
from pupil_export.fp16 import answers_in_half, to_fp16
from pupil_export.gate import Gate
from pupil_export.goldens import TOLERANCES
from pupil_export.graph import Served
from pupil_export.int8 import to_int8
from pupil_export.splits import labels_of, training_images
from pupil_training.data import ImageSet
from pupil_training.runs import Run

IMAGES = 512  # to look for ranges on; more move them little


class Compressed(NamedTuple):
    """A graph, and what bundle.json says of how it was made and how close it came."""

    graph: bytes
    facts: dict[str, Any]
    tolerance: float  # between its scores here and on another processor
    answers: Answering  # as where it will be served: fp16 on a GPU


def compress(
    run: Run, served: Served, graph: bytes, validation: ImageSet, precisions: Iterable[str], gate: Gate
) -> dict[str, Compressed]:
    """`graph`, which is `served` in fp32, in each of these precisions but fp32.

    Raises ExportError where one of them costs more than the gate lets pass.
    """
    found = {}
    if "fp16" in precisions:
        found["fp16"] = _fp16(served, graph, validation, gate)
    if "int8" in precisions:
        found["int8"] = _int8(run, graph, validation, gate)
    return found


def _fp16(served: Served, graph: bytes, validation: ImageSet, gate: Gate) -> Compressed:
    images, half, answers = validation.images.numpy(), to_fp16(served), partial(answers_in_half, served)
    spent = cost(answers(images), OnnxModel(graph)(images), labels_of(validation))
    if not gate.passes(spent):
        raise gate.refusal("fp16", "its graph", spent)
    tolerance = max(TOLERANCES["fp16"], 2 * spent.largest_difference)  # what a GPU's rounding moves, and some room
    return Compressed(half, spent.facts, min(1.0, tolerance), answers)


def _int8(run: Run, graph: bytes, validation: ImageSet, gate: Gate) -> Compressed:
    images = training_images(run, IMAGES)
    best = to_int8(graph, images, validation, gate)
    facts = {**best.cost.facts, "quantisation": {**best.way._asdict(), "images": len(images)}}
    return Compressed(best.graph, facts, TOLERANCES["int8"], OnnxModel(best.graph))
