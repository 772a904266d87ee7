"""A graph that is ready to run: images in, logits and scores out, on a device that is what it says."""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pupil_server.cuda_binding import Buffers
from pupil_server.onnx_session import open_session, placement
from pupil_server.providers import SEARCHES, Gpu, Shape, buckets, providers

NO_GPU = Gpu()
TIMED_RUNS = 5
ENDLESS = {"Loop", "Scan"}  # operators that images may keep busy without end


class Outputs(NamedTuple):
    """What the graph says of N images, each (N, K)."""

    logits: NDArray[np.float32]
    scores: NDArray[np.float32]


class Session:
    """A graph on one device. `nodes` tells how many of its nodes really lie where, `always_returns` that none can hang.

    `buckets` are the batch sizes that the device wants to see, none where any will do; `fallback` says why the
    device is not CUDA, where that was hoped for.
    """

    def __init__(
        self,
        graph: Path,
        *,
        device: str,
        threads: int,
        shape: Shape,
        max_batch: int,
        precision: str = "fp32",
        gpu: Gpu = NO_GPU,
        fallback: str = "",
    ) -> None:
        self.device, self.fallback = device, fallback
        self.buckets = buckets(device, max_batch)
        self._graph, self._threads, self._precision = graph, threads, precision
        self._shape, self._max_batch, self._gpu = shape, max_batch, gpu
        self._open(self._search())
        placed = placement(self._session)
        self.nodes = {where: len(operators) for where, operators in placed.items()}
        self.always_returns = placed.keys() == {"cpu"} and ENDLESS.isdisjoint(placed["cpu"])

    def run(self, pixels: NDArray[np.uint8]) -> Outputs:
        """Logits and scores of `pixels` (N, H, W, C). Blocks, and lets go of the GIL meanwhile."""
        if self._buffers:
            return Outputs(*self._buffers.run(pixels))
        return Outputs(*self._session.run(["logits", "scores"], {"images": pixels}))

    def warm(self) -> None:
        """Runs every batch size that must lie ready, largest first: the others then fit into its memory."""
        for size in reversed(self.buckets or (self._max_batch,)):
            self.run(self._blank(size))
            if self.buckets:
                self.run(self._blank(size))  # a GPU's second run of a size is the one that is recorded

    def _open(self, search: str) -> None:
        shape, most, gpu = self._shape, self._max_batch, self._gpu
        named = providers(self.device, shape=shape, max_batch=most, precision=self._precision, gpu=gpu, search=search)
        self._session = open_session(
            self._graph, self.device, named, threads=self._threads, shape=shape, max_batch=most
        )
        self._buffers = Buffers(self._session, shape, self.buckets, graphs=gpu.graphs) if self.buckets else None

    def _search(self) -> str:
        """How cuDNN is to look for its algorithms: which way is best depends on the graph, so each is tried."""
        if self._gpu.search != "auto":
            return self._gpu.search
        return min(SEARCHES, key=self._seconds) if self.device == "cuda" else SEARCHES[0]

    def _seconds(self, search: str) -> float:
        """The shortest times of the buckets, together."""
        self._open(search)
        self.warm()
        return sum(min(self._timed(size) for _ in range(TIMED_RUNS)) for size in self.buckets)

    def _timed(self, size: int) -> float:
        images = self._blank(size)
        start = time.perf_counter()
        self.run(images)
        return time.perf_counter() - start

    def _blank(self, size: int) -> NDArray[np.uint8]:
        return np.zeros((size, *self._shape), np.uint8)
