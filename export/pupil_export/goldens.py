"""A few pictures and the scores that whoever serves the bundle must give them."""

import io
import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pupil_export.answers import OnnxModel
from pupil_export.precisions import file_of
from pupil_export.splits import labels_of
from pupil_training.data import ImageSet

IMAGES = 8
# Another processor rounds otherwise; a wrong resize is off by far more. On a GPU fp16 rounds after each layer, which
# on a CPU it does not, and in int8 a value between two steps falls to the one or the other.
TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2, "int8": 5e-2}


def goldens(models: Mapping[str, OnnxModel], tolerances: Mapping[str, float], images: ImageSet) -> dict[str, bytes]:
    """The files of golden/: original pictures, before resizing, and their scores in the precision of each model."""
    chosen = one_of_each_class(labels_of(images))[:IMAGES]
    encoded = [images.encoded(i) for i in chosen.tolist()]
    pictures = {_file_name(number, picture): picture for number, picture in enumerate(encoded)}
    files = {f"golden/{name}": picture for name, picture in pictures.items()}
    for precision, model in models.items():
        scores = model(images.images.numpy()[chosen]).scores
        entries = [{"file": name, "scores": row.tolist()} for name, row in zip(pictures, scores, strict=True)]
        text = json.dumps({"tolerance": tolerances[precision], "images": entries}, indent=2)
        files[golden_file(precision)] = text.encode()
    return files


def golden_file(precision: str) -> str:
    """Where the scores of a precision lie."""
    return file_of(precision, "golden/golden.json")


def one_of_each_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every index, ordered so that each class comes once before any comes twice."""
    turn = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        turn[labels == label] = np.arange((labels == label).sum())
    return np.lexsort((labels, turn))


def _file_name(number: int, encoded: bytes) -> str:
    with Image.open(io.BytesIO(encoded)) as image:
        return f"{number}.{(image.format or 'image').lower()}"
