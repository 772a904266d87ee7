"""Training and server read pictures with code of their own; here the two must give the same pixels."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pupil_server.bundle import InputSize, Resize
from pupil_server.errors import BadImage
from pupil_server.images import Limits, decode
from pupil_training.preprocess import Preprocess, UnreadableImage

LIMITS = Limits(file_bytes=10_000_000, pixels=10_000_000)
SAVED_AS = {
    "1": "PNG",
    "L": "PNG",
    "LA": "PNG",
    "P": "GIF",
    "RGB": "JPEG",
    "RGBA": "WEBP",
    "CMYK": "JPEG",
    "I;16": "PNG",
}


@st.composite
def pictures(draw: st.DrawFn) -> bytes:
    """An image file of any offered mode, from 1 × 1 to 90 × 90 pixels, lying on any side."""
    mode = draw(st.sampled_from(sorted(SAVED_AS)))
    width, height = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    noise = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    image = Image.fromarray(noise[..., 0].astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    file, options = io.BytesIO(), {}
    if SAVED_AS[mode] in ("JPEG", "PNG", "WEBP"):
        exif = Image.Exif()
        exif[0x0112] = draw(st.integers(1, 8))
        options["exif"] = exif
    image.save(file, SAVED_AS[mode], **options)
    return file.getvalue()


@settings(max_examples=300, deadline=None)
@given(
    file=pictures(),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 32),
    width=st.integers(1, 32),
    margin=st.integers(0, 8),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
)
def test_training_and_server_see_the_same_pixels(
    file: bytes, channels: int, height: int, width: int, margin: int, interpolation: str
) -> None:
    side = max(height, width) + margin
    trained = Preprocess(height, width, channels, side, interpolation).decode(file)
    size = InputSize.model_validate({"height": height, "width": width, "channels": channels})
    rule = Resize.model_validate({"shortest_side": side, "crop": "center", "interpolation": interpolation})
    assert np.array_equal(trained, decode(file, size, rule, LIMITS))


@pytest.mark.parametrize(
    "data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"\xff\xd8\xff\xe0" + b"\0" * 40]
)
def test_training_and_server_refuse_the_same_files(data: bytes) -> None:
    with pytest.raises(UnreadableImage):
        Preprocess(8, 8, 3, 8, "bilinear").decode(data)
    size, rule = (
        InputSize(height=8, width=8, channels=3),
        Resize(shortest_side=8, crop="center", interpolation="bilinear"),
    )
    with pytest.raises(BadImage):
        decode(data, size, rule, LIMITS)
