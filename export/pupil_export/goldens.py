"""A few pictures and the scores that whoever serves the bundle must give them."""

import io
import json

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pupil_export.answers import OnnxModel
from pupil_export.splits import labels_of
from pupil_training.data import ImageSet

IMAGES = 8
TOLERANCE = 1e-3  # another processor rounds otherwise; a wrong resize is off by far more


def goldens(model: OnnxModel, images: ImageSet) -> dict[str, bytes]:
    """The files of golden/: original pictures, before resizing, and golden.json with their scores."""
    chosen = one_of_each_class(labels_of(images))[:IMAGES]
    scores = model(images.images.numpy()[chosen]).scores
    files = {f"golden/{_file_name(n, images.encoded(i))}": images.encoded(i) for n, i in enumerate(chosen.tolist())}
    entries = [
        {"file": name.removeprefix("golden/"), "scores": row.tolist()} for name, row in zip(files, scores, strict=True)
    ]
    text = json.dumps({"tolerance": TOLERANCE, "images": entries}, indent=2)
    return {**files, "golden/golden.json": text.encode()}


def one_of_each_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every index, ordered so that each class comes once before any comes twice."""
    turn = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        turn[labels == label] = np.arange((labels == label).sum())
    return np.lexsort((labels, turn))


def _file_name(number: int, encoded: bytes) -> str:
    with Image.open(io.BytesIO(encoded)) as image:
        return f"{number}.{(image.format or 'image').lower()}"
