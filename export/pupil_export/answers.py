"""What ONNX Runtime answers: every figure in a bundle comes from the very graph that is served."""

import os
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from pupil_training.evaluate import SOON

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read while the library loads
import onnxruntime

BATCH = 32  # images; 224×224 pixels through a VGG take about 1 GB


class Answers(NamedTuple):
    """Logits and scores, each (N, K)."""

    logits: NDArray[np.float32]
    scores: NDArray[np.float32]

    @property
    def predicted(self) -> NDArray[np.int64]:
        predicted: NDArray[np.int64] = self.scores.argmax(axis=1)
        return predicted

    @property
    def confidence(self) -> NDArray[np.float32]:
        confidence: NDArray[np.float32] = self.scores.max(axis=1)
        return confidence


Answering: TypeAlias = Callable[[NDArray[np.uint8]], Answers]  # to images (N, H, W, C)


class OnnxModel:
    """A graph in ONNX Runtime, on the CPU."""

    def __init__(self, graph: bytes) -> None:
        self.bytes = len(graph)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()  # its own default ignores the cores that we may use
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would starve PyTorch's threads
        options.log_severity_level = 3  # errors
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def __call__(self, images: NDArray[np.uint8], batch_size: int = BATCH) -> Answers:
        """The answers to uint8 images (N, H, W, C)."""
        batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
        shown = tqdm(batches, "answering", unit="batch", leave=False, disable=None, delay=SOON)
        answers = [self._session.run(["logits", "scores"], {"images": batch}) for batch in shown]
        return Answers(*(np.concatenate(parts) for parts in zip(*answers, strict=True)))
