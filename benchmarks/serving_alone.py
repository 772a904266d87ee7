"""The same work as benchmarks/serving.py's without a server: what nobody can be faster than."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from serving_models import LARGE, session

Timed = Callable[[int], tuple[float, float]]  # for so many images: CPU seconds per 1,000, and images a second


def _timed(step: Callable[[], None], batch: int) -> Timed:
    def timed(images: int) -> tuple[float, float]:
        step()  # warm
        steps = max(1, images // batch)
        cpu, start = time.process_time(), time.perf_counter()
        for _ in range(steps):
            step()
        return (time.process_time() - cpu) / steps / batch * 1000, steps * batch / (time.perf_counter() - start)

    return timed


def runs(graph: Path, shape: tuple[int, int, int], *batches: int) -> Timed:
    """ONNX Runtime on pixels that lie ready, at the best of these batch sizes."""
    model = session(graph)

    def of(batch: int) -> Timed:
        pixels = np.zeros((batch, *shape), np.uint8)
        return _timed(lambda: model.run(["logits", "scores"], {"images": pixels}), batch)

    each = [of(batch) for batch in batches]
    return lambda images: min(timed(images) for timed in each)


def decodes(graph: Path, files: list[bytes]) -> Timed:
    """The barest loop over photographs: decode, resize and crop with Pillow, make one batch of all, run."""
    model = session(graph)
    height, width, _ = LARGE

    def pixels(file: bytes) -> NDArray[np.uint8]:
        image = Image.open(io.BytesIO(file)).convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return np.asarray(image.crop((left, top, left + width, top + height)))

    def step() -> None:
        model.run(["logits", "scores"], {"images": np.stack([pixels(file) for file in files])})

    return _timed(step, len(files))
