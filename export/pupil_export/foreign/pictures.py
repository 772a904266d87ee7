"""The pictures for the goldens of a model that came without its data."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from pupil_export.errors import ExportError
from pupil_training.preprocess import Preprocess, UnreadableImage

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
IMAGES = 8


def pictures_in(folder: Path, preprocess: Preprocess) -> dict[str, bytes]:
    """Up to 8 image files of a folder, evenly over their sorted paths, by the name that each gets in the bundle."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file())
    if not files:
        raise ExportError(f"{folder}: no images ({', '.join(ENDINGS)}) here or below")
    chosen = [files[i * len(files) // IMAGES] for i in range(IMAGES)] if len(files) > IMAGES else files
    found = {}
    for number, file in enumerate(chosen):
        content = file.read_bytes()
        try:
            preprocess.decode(content)
        except UnreadableImage as error:
            raise ExportError(f"{file}: {error}; take it out of --images") from None
        found[f"{number}{file.suffix.lower()}"] = content
    return found


def patterns(preprocess: Preprocess) -> dict[str, bytes]:
    """8 drawn pictures, higher or wider than the input, so that the resize counts as well."""
    return {f"{number}.png": _png(picture) for number, picture in enumerate(_draw(preprocess))}


def _draw(preprocess: Preprocess) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    random = np.random.default_rng(0)
    long, short = 3 * preprocess.shortest_side // 2 + 1, 5 * preprocess.shortest_side // 4 + 1
    for number in range(IMAGES):
        height, width = (long, short) if number % 2 else (short, long)
        y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
        waves = random.uniform(-12, 12, (3, 4, 2))  # of each colour four, up to two periods over the picture
        phases = random.uniform(0, 2 * np.pi, (3, 4))
        colours = [
            sum(np.sin(up * y + along * x + phase) for (up, along), phase in zip(each, shift, strict=True))
            for each, shift in zip(waves, phases, strict=True)
        ]
        yield (127.5 + 31 * np.stack(colours, axis=-1)).astype(np.uint8)


def _png(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
