import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pupil_training.preprocess import Preprocess, UnreadableImage


def file(pixels: Any, form: str = "PNG", **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.array(pixels, dtype=np.uint8))
    written = io.BytesIO()
    image.save(written, form, **options)
    return written.getvalue()


def grey(height: int, width: int) -> Preprocess:
    return Preprocess(height, width, 1, max(height, width), "bilinear")


def colour(height: int, width: int) -> Preprocess:
    return Preprocess(height, width, 3, max(height, width), "bilinear")


def decoded(data: bytes, preprocess: Preprocess) -> list[Any]:
    pixels: NDArray[np.uint8] = preprocess.decode(data)
    assert pixels.shape == (preprocess.height, preprocess.width, preprocess.channels)
    rows: list[Any] = (pixels[..., 0] if preprocess.channels == 1 else pixels).tolist()
    return rows


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 5), dtype=np.uint8)
    assert decoded(file(pixels), grey(5, 5)) == pixels.tolist()


def test_the_middle_is_cut_out_with_the_offset_rounded_down() -> None:
    assert decoded(file([[0, 10, 20, 30, 40]] * 2), grey(2, 2)) == [[10, 20], [10, 20]]
    assert decoded(file([[0] * 2, [10] * 2, [20] * 2, [30] * 2, [40] * 2]), grey(2, 2)) == [[10, 10], [20, 20]]


def test_halving_is_antialiased_as_worked_out_by_hand() -> None:
    # Triangle filter two pixels to each side. The first column sees 0, 0, 100 with weights 3 : 3 : 1, which is 14.3;
    # the middle one 0, 100, 100, 200 with 1 : 3 : 3 : 1, which is 100. Of three columns the first two stay.
    assert decoded(file([[0, 0, 100, 100, 200, 200]] * 4), grey(2, 2)) == [[14, 100], [14, 100]]


def test_the_longer_side_is_rounded_and_never_below_the_shorter() -> None:
    # 3×5 becomes 2×3 (5 · 2/3 = 3.3): rows 0 and 1 of 3 stay; with 4 rows the crop would start at row 1.
    rows = np.arange(5, dtype=np.uint8)[:, None].repeat(3, 1) * 50
    resized = Image.fromarray(rows).resize((2, 3), Image.Resampling.BILINEAR)
    assert decoded(file(rows), grey(2, 2)) == np.asarray(resized)[:2].tolist()
    assert decoded(file(np.full((100, 101), 9)), grey(3, 3)) == [[9] * 3] * 3


def test_a_small_picture_grows() -> None:
    assert decoded(file([[7]]), grey(3, 3)) == [[7] * 3] * 3


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [(1, [[1, 2], [3, 4]]), (3, [[4, 3], [2, 1]]), (6, [[3, 1], [4, 2]]), (8, [[2, 4], [1, 3]])],
)
def test_exif_turns_the_picture_upright(orientation: int, upright: list[list[int]]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert decoded(file([[1, 2], [3, 4]], exif=exif), grey(2, 2)) == upright


def test_cmyk_becomes_the_colours_that_it_prints() -> None:
    red = Image.new("CMYK", (1, 1), (0, 255, 255, 0))
    assert decoded(file(red, "TIFF"), colour(1, 1)) == [[[255, 0, 0]]]


def test_a_palette_gives_its_colours_and_transparency_is_dropped_without_a_warning() -> None:
    palette = Image.new("P", (1, 2))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((0, 1), 1)
    palette = palette.resize((2, 2), Image.Resampling.NEAREST)
    data = file(palette, transparency=bytes([0, 128]))
    assert decoded(data, colour(2, 2)) == [[[255, 0, 0]] * 2, [[0, 255, 0]] * 2]
    assert decoded(data, grey(2, 2)) == [[76, 76], [150, 150]]  # Pillow's L: 0.299 red, 0.587 green


def test_a_truncated_jpeg_is_unreadable() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = file(noise, "JPEG")
    with pytest.raises(UnreadableImage, match="truncated"):
        grey(28, 28).decode(whole[: len(whole) // 2])


@pytest.mark.parametrize("data", [b"", b"not a picture", file([[1, 2]])[:20]])
def test_what_is_no_picture_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableImage):
        grey(28, 28).decode(data)


@pytest.mark.parametrize("kind", ["PPM", "TGA", "ICO"])
def test_what_the_server_would_refuse_is_not_learned_from(kind: str) -> None:
    with pytest.raises(UnreadableImage):
        grey(2, 2).decode(file([[1, 2], [3, 4]], kind))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(20_000, 10_000), (10_000, 7_000)])
def test_a_png_that_declares_too_many_pixels_is_refused_on_its_header(size: tuple[int, int]) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    with pytest.raises(UnreadableImage, match="pixels"):
        grey(28, 28).decode(bomb)


def test_a_line_that_would_grow_beyond_all_bounds_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="too far from a square"):
        grey(224, 224).decode(file(np.zeros((1, 300_000))))
