"""How long a graph takes, and on what."""

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pupil_export.answers import OnnxModel
from pupil_training.devices import processor

BATCH_SIZES = (1, 32)
SECONDS = 0.2  # for each batch size
FEWEST = 5  # runs


def machine() -> dict[str, Any]:
    """The processor's name, and the threads that `milliseconds` lets ONNX Runtime use."""
    return {"processor": processor(), "threads": torch.get_num_threads()}


def milliseconds(model: OnnxModel, images: NDArray[np.uint8]) -> dict[str, float]:
    """The shortest time for a batch of 1 and one of 32 images, which repeat where there are fewer."""
    return {str(size): _shortest(model, np.resize(images, (size, *images.shape[1:]))) for size in BATCH_SIZES}


def _shortest(model: OnnxModel, batch: NDArray[np.uint8]) -> float:
    """Not the mean, because whatever else runs on the machine only adds."""
    for _ in range(2):  # the first one of a shape lays out memory
        model(batch)
    times: list[float] = []
    while len(times) < FEWEST or sum(times) < SECONDS:
        start = time.perf_counter()
        model(batch)
        times.append(time.perf_counter() - start)
    return round(1000 * min(times), 4)
