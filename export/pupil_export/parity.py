"""The exported graph against the network that it came from."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pupil_export.answers import Answers, OnnxModel
from pupil_export.errors import ExportError
from pupil_export.graph import Served

BATCH_SIZES = (1, 3, 8)
IMAGES = 24  # a whole number of batches of each size
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Parity:
    """How close ONNX Runtime came to PyTorch."""

    images: int
    largest_difference: float  # between two scores


def check_parity(served: Served, model: OnnxModel, images: NDArray[np.uint8]) -> Parity:
    """PyTorch and ONNX Runtime on real images (N, H, W, C), in batches of 1, 3 and 8; the first 24 are taken.

    Raises ExportError, with the numbers, where a best class differs or scores are more than 1e-4 apart.
    """
    some = np.resize(images, (IMAGES, *images.shape[1:]))  # repeats them where there are fewer
    largest = 0.0
    for batch_size in BATCH_SIZES:
        expected = pytorch_answers(served, some, batch_size)
        found = model(some, batch_size)
        difference = float(np.abs(found.scores - expected.scores).max())
        differing = int((found.predicted != expected.predicted).sum())
        if differing or not difference <= TOLERANCE:  # NaN is refused too
            raise ExportError(
                f"the exported graph differs from PyTorch at batch size {batch_size}: scores by up to {difference:.2g} "
                f"({TOLERANCE:g} is allowed), the best class of {differing} of {IMAGES} images; not exported"
            )
        largest = max(largest, difference)
    return Parity(min(len(images), IMAGES), largest)


def pytorch_answers(served: Served, images: NDArray[np.uint8], batch_size: int) -> Answers:
    """PyTorch's answers to uint8 images (N, H, W, C)."""
    with torch.inference_mode():
        answers = [served(batch) for batch in torch.split(torch.from_numpy(images), batch_size)]
    return Answers(*(torch.cat(parts).numpy() for parts in zip(*answers, strict=True)))
