import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pupil_server.bundle_facts import InputSize, Resize
from pupil_server.errors import BadImage
from pupil_server.images import Limits, decode

pytestmark = pytest.mark.filterwarnings("ignore:.*:Warning:PIL")  # as the server does; pytest forgets it

LIMITS = Limits(file_bytes=1_000_000, pixels=1_000_000)
COLOUR = InputSize(height=4, width=4, channels=3)
GREY = InputSize(height=4, width=4, channels=1)
RESIZE = Resize(shortest_side=4, crop="center", interpolation="bilinear")


def file_of(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def declares(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises any number of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_pixels_of_the_right_size_come_through_unchanged() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    assert (decode(file_of(Image.fromarray(pixels)), COLOUR, RESIZE, LIMITS) == pixels).all()


def test_the_middle_is_cut_out_and_the_offset_rounded_down() -> None:
    pixels = np.arange(4 * 9, dtype=np.uint8).reshape(4, 9)
    assert (decode(file_of(Image.fromarray(pixels)), GREY, RESIZE, LIMITS)[..., 0] == pixels[:, 2:6]).all()


def test_the_shorter_side_is_resized_and_the_other_follows() -> None:
    halves = np.repeat(np.array([[0, 200]], np.uint8), 8, axis=0).repeat(8, axis=1)  # 8 high, 16 wide
    found = decode(file_of(Image.fromarray(halves)), GREY, RESIZE, LIMITS)[..., 0]
    assert (found[:, 0] == 0).all()
    assert (found[:, 3] == 200).all()


def test_a_picture_is_turned_upright_by_its_exif_orientation() -> None:
    upright = np.zeros((4, 4, 3), np.uint8)
    upright[0] = 255  # a white line on top
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me a quarter to the right"
    lying = Image.fromarray(np.rot90(upright))
    assert (decode(file_of(lying, exif=exif), COLOUR, RESIZE, LIMITS) == upright).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "YCbCr"])
def test_every_colour_mode_becomes_the_channels_that_the_model_wants(mode: str) -> None:
    picture = Image.new("RGB", (8, 6), (255, 255, 255))
    picture = Image.new("I;16", (8, 6), 65535) if mode == "I;16" else picture.convert(mode)
    data = file_of(picture, "JPEG" if mode in ("CMYK", "YCbCr") else "PNG")
    assert (decode(data, GREY, RESIZE, LIMITS) == 255).all()
    assert (decode(data, COLOUR, RESIZE, LIMITS) == 255).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_every_offered_format_is_read(kind: str) -> None:
    assert (decode(file_of(Image.new("L", (6, 6), 0), kind), GREY, RESIZE, LIMITS) == 0).all()


def test_an_animation_is_judged_by_its_first_frame() -> None:
    frames = [Image.new("L", (4, 4), shade) for shade in (10, 250)]
    data = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode(data, GREY, RESIZE, LIMITS) == 10).all()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no bytes"),
        (b"hello, this is no picture", "not a JPEG, PNG, WEBP, BMP, GIF, TIFF file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a JPEG"),
        (declares(1500, 1000), "1500 × 1000 pixels, at most 1,000,000 are allowed"),
        (declares(20000, 10000), "more than 2,000,000 pixels, at most 1,000,000 are allowed"),
        (file_of(Image.new("L", (1, 300_000))), "too far from a square"),
        (b"\xff\xd8" + b"\0" * 1_000_001, "at most 1,000,000 are allowed"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_is_wrong(data: bytes, says: str) -> None:
    with pytest.raises(BadImage, match=says):
        decode(data, GREY, RESIZE, LIMITS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_a_file_cut_short_anywhere_is_refused_or_whole_but_never_a_crash(kind: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    data = file_of(Image.fromarray(noise), kind)
    refused = 0
    for length in range(1, len(data), max(1, len(data) // 60)):
        try:
            decode(data[:length], COLOUR, RESIZE, LIMITS)
        except BadImage:
            refused += 1
    assert refused > 40
