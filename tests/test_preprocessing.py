"""Training and server read pictures with code of their own; here the two must give the same pixels."""

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pupil_server.bundle_facts import InputSize, Resize
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


def trained(file: bytes, channels: int) -> list[list[int]]:
    """Two by two pixels, the first channel."""
    return Preprocess(2, 2, channels, 2, "bilinear").decode(file)[..., 0].tolist()


def served(file: bytes, channels: int) -> list[list[int]]:
    size = InputSize.model_validate({"height": 2, "width": 2, "channels": channels})
    rule = Resize.model_validate({"shortest_side": 2, "crop": "center", "interpolation": "bilinear"})
    return decode(file, size, rule, LIMITS)[..., 0].tolist()


def saved(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def with_tag(tiff: bytes, number: int, value: int) -> bytes:
    """A little-endian TIFF, one of its short values changed."""
    place = tiff.index(struct.pack("<HHI", number, 3, 1)) + 8
    return tiff[:place] + struct.pack("<H", value) + tiff[place + 2 :]


DEEP = np.array([[0x80FF, 0x00FF], [0x0100, 0xFFFF]], np.uint16)
TIFF = saved(Image.fromarray(DEEP), "TIFF")


@pytest.mark.parametrize("read", [trained, served])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("file", "pixels"),
    [
        (saved(Image.fromarray(DEEP), "PNG"), [[0x80, 0], [1, 0xFF]]),
        (TIFF, [[0x80, 0], [1, 0xFF]]),
        (saved(Image.fromarray(DEEP.astype(">u2")), "TIFF"), [[0x80, 0], [1, 0xFF]]),
        (with_tag(TIFF, 262, 0), [[0x7F, 0xFF], [0xFE, 0]]),  # white is zero
        (with_tag(TIFF, 258, 12).replace(DEEP.tobytes(), b"\x80\xf0\x10\x01\x0f\xff\0\0"), [[0x80, 1], [1, 0xFF]]),
    ],
    ids=["PNG", "TIFF", "big-endian TIFF", "white is zero", "12 bits"],
)
def test_of_sixteen_bits_of_grey_the_highest_eight_are_kept(
    read: Callable[[bytes, int], list[list[int]]], channels: int, file: bytes, pixels: list[list[int]]
) -> None:
    assert read(file, channels) == pixels


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_pixels_of_which_nobody_can_tell_which_is_white_are_refused_in_the_same_words(mode: str) -> None:
    file = saved(Image.new(mode, (2, 2)), "TIFF")
    told = f"^pixels of the kind {mode}; save it with 8 or 16 bits, grey or RGB$"
    with pytest.raises(UnreadableImage, match=told):
        trained(file, 3)
    with pytest.raises(BadImage, match=told):
        served(file, 3)


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
