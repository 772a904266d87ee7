"""Buffers on the device, one pair of input and outputs for each bucket, made once and bound once.

Nothing is allocated while serving, and no address ever changes, which CUDA graphs need.
"""

import threading
from typing import NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pupil_server.providers import Shape

NAMES = ("logits", "scores")
NO_GRAPH = "-1"


class _Bound(NamedTuple):
    images: ort.OrtValue
    outputs: tuple[ort.OrtValue, ...]
    binding: ort.IOBinding
    options: ort.RunOptions


class Buffers:
    """Runs a session through its buffers; a batch between two buckets is padded to the larger one."""

    def __init__(
        self,
        session: ort.InferenceSession,
        shape: Shape,
        buckets: tuple[int, ...],
        *,
        graphs: bool,
        device: str = "cuda",
    ) -> None:
        self._session = session
        self._device = device
        self._one_at_a_time = threading.Lock()  # the buffers are shared, and so is the stream of the session
        widths = self._widths(shape)
        self._bound = {size: self._bind(size, shape, widths, graphs) for size in buckets}

    def run(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Logits and scores (N, K) of `pixels` (N, H, W, C); N is at most the largest bucket."""
        count = len(pixels)
        size = min(size for size in self._bound if size >= count)
        if size > count:
            pixels = np.concatenate([pixels, np.zeros((size - count, *pixels.shape[1:]), np.uint8)])
        bound = self._bound[size]
        with self._one_at_a_time:
            bound.images.update_inplace(np.ascontiguousarray(pixels))
            self._session.run_with_iobinding(bound.binding, bound.options)
            return [output.numpy()[:count].copy() for output in bound.outputs]  # the buffer is the next batch's

    def _widths(self, shape: Shape) -> list[int]:
        """How many numbers an image gets in each output: a graph need not say so itself."""
        once = self._session.run(list(NAMES), {"images": np.zeros((1, *shape), np.uint8)}, _run_options(NO_GRAPH))
        return [output.shape[1] for output in once]

    def _bind(self, size: int, shape: Shape, widths: list[int], graphs: bool) -> _Bound:
        images = self._allocate((size, *shape), np.uint8)
        outputs = tuple(self._allocate((size, width), np.float32) for width in widths)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input("images", images)
        for name, output in zip(NAMES, outputs, strict=True):
            binding.bind_ortvalue_output(name, output)
        return _Bound(images, outputs, binding, _run_options(str(size) if graphs else NO_GRAPH))

    def _allocate(self, shape: tuple[int, ...], kind: type[np.generic]) -> ort.OrtValue:
        return ort.OrtValue.ortvalue_from_shape_and_type(shape, kind, self._device, 0)


def _run_options(graph: str) -> ort.RunOptions:
    """`gpu_graph_id` tells the recordings of the buckets apart."""
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", graph)
    return options
