"""Image files that mean harm, built by hand after their formats' descriptions. Tests get this module as `hostile`."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

# The formats, part by part


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, bits: int = 8, colour: int = 0, data: bytes | None = None) -> bytes:
    """`data`: the compressed rows; without it as many zeros as eight-bit greys take."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    rows = zlib.compress(bytes((width + 1) * height)) if data is None else data
    body = b"".join(chunks) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + body


def gif(screen: tuple[int, int], frame: tuple[int, int], *, disposal: int = 0, extensions: bytes = b"") -> bytes:
    control = b"!\xf9\x04" + bytes([disposal << 2]) + b"\0\0\0\0"
    image = b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x4c\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + bytes(6) + extensions + control + image + b";"


def bmp(width: int, height: int, *, compression: int, data: bytes, colours: int = 256) -> bytes:
    place = 54 + 4 * 256
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, len(data), 0, 0, colours, 0)
    return b"BM" + struct.pack("<IHHI", place + len(data), 0, 0, place) + info + bytes(4 * 256) + data


def webp(width: int, height: int, *, frames: int) -> bytes:
    """A canvas of any size with tiny frames on it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return kind + struct.pack("<I", len(data)) + data + bytes(len(data) & 1)

    def three(number: int) -> bytes:
        return struct.pack("<I", number)[:3]

    frame = bytes(6) + three(7) * 2 + b"\x64\0\0\0" + saved(Image.new("RGB", (8, 8)), "WEBP", lossless=True)[12:]
    canvas = b"\2\0\0\0" + three(width - 1) + three(height - 1)
    body = b"WEBP" + chunk(b"VP8X", canvas) + chunk(b"ANIM", bytes(6)) + chunk(b"ANMF", frame) * frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


SHORT, LONG = 3, 4
SIZES = {1: 1, SHORT: 2, LONG: 4}
Tag = tuple[int, int, list[int]]  # number, type, values


def tiff(tags: list[Tag], data: bytes = b"", *, more: bytes = b"") -> bytes:
    """One directory; a value of -1 becomes the place of `data`. `more`: entries as they are, twelve bytes each."""
    count = len(tags) + len(more) // 12
    place = 8 + 2 + 12 * count + 4
    outside = sum(SIZES[kind] * len(values) for _, kind, values in tags if SIZES[kind] * len(values) > 4)
    entries, tail = b"", b""
    for tag, kind, values in tags:
        letter = {1: "B", SHORT: "H", LONG: "I"}[kind]
        known = [place + outside if value == -1 else value for value in values]
        packed = struct.pack(f"<{len(values)}{letter}", *known)
        inline = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack("<I", place + len(tail))
        tail += b"" if len(packed) <= 4 else packed
        entries += struct.pack("<HHI", tag, kind, len(values)) + inline
    return b"II*\0" + struct.pack("<IH", 8, count) + entries + more + bytes(4) + tail + data


def grey_tiff(
    width: int, height: int, *layout: Tag, compression: int = 1, data: bytes = b"", more: bytes = b""
) -> bytes:
    basic: list[Tag] = [
        (256, LONG, [width]),
        (257, LONG, [height]),
        (258, SHORT, [8]),
        (259, SHORT, [compression]),
        (262, SHORT, [1]),
        (277, SHORT, [1]),
    ]
    return tiff(sorted([*basic, *layout]), data, more=more)


def tiled(side: int, *, first: bytes = b"") -> bytes:
    """One pixel inside one tile of `side` × `side`; `first`: entries before all others."""
    data = zlib.compress(bytes(side * side))
    layout: list[Tag] = [(322, LONG, [side]), (323, LONG, [side]), (324, LONG, [-1]), (325, LONG, [len(data)])]
    whole = grey_tiff(1, 1, *layout, compression=8, data=data)
    if not first:
        return whole
    count = struct.unpack_from("<H", whole, 8)[0] + len(first) // 12
    return whole[:8] + struct.pack("<H", count) + first + whole[10:]


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def after_start(jpeg: bytes, extra: bytes) -> bytes:
    return jpeg[:2] + extra + jpeg[2:]


def greedy_exif() -> bytes:
    """A directory of 5,000 values, each of which claims to be all the bytes there are."""
    entries = b"".join(struct.pack("<HHII", 400 + place, 1, 60_000, 8) for place in range(5_000))
    return b"II*\0" + struct.pack("<IH", 8, 5_000) + entries + bytes(4)


# The corpora: for each name what makes the file, and a part of the sentence that refuses it


def bombs() -> dict[str, tuple[Callable[[], bytes], str]]:
    """Small files that would cost far more than an honest picture; for limits of 4,000,000 pixels."""
    most = 65_535
    scans = saved(Image.new("L", (64, 64)), "JPEG", progressive=True)
    last = scans[scans.rindex(b"\xff\xda") : -2]
    jpeg = bytearray(saved(Image.new("L", (8, 8)), "JPEG"))
    place = jpeg.index(b"\xff\xc0") + 5
    huge_jpeg = bytes(jpeg[:place] + b"\xff" * 4 + jpeg[place + 4 :])
    zeros = zlib.compress(bytes(50_000_000))
    return {
        "a PNG that declares 2^31 × 2^31": (lambda: png(2**31 - 1, 2**31 - 1, data=b""), "at most 4,000,000"),
        "a PNG that declares 5 megapixels": (lambda: png(2500, 2000, data=b""), "2500 × 2000 pixels"),
        "a JPEG that declares 65535²": (lambda: huge_jpeg, "at most 4,000,000"),
        "a BMP that declares 65535²": (lambda: bmp(most, most, compression=0, data=b""), "at most 4,000,000"),
        "a TIFF that declares 65535²": (lambda: grey_tiff(most, most, (273, LONG, [8])), "at most 4,000,000"),
        "a GIF screen of 65535²": (lambda: gif((most, most), (1, 1)), "at most 4,000,000"),
        "a GIF frame of 65535² on a small screen": (lambda: gif((1, 1), (most, most)), "at most 4,000,000"),
        "a GIF frame that wants a background of 65535²": (
            lambda: gif((most, most), (most, most), disposal=2),
            "at most",
        ),
        "a WebP canvas of 16383²": (lambda: webp(16_383, 16_383, frames=1), "at most 4,000,000"),
        "a line of a million pixels": (lambda: png(1_000_000, 1), "too far from a square"),
        "a text of 50 MB": (lambda: png(4, 4, png_chunk(b"zTXt", b"k\0\0" + zeros)), "broken or truncated"),
        "a colour profile of 50 MB": (lambda: png(4, 4, png_chunk(b"iCCP", b"k\0\0" + zeros)), "broken or truncated"),
        "a PNG of 200,000 chunks": (lambda: png(4, 4, png_chunk(b"abCd", b"") * 200_000), "more than 100,000 chunks"),
        "a JPEG of 200,000 segments": (
            lambda: after_start(bytes(jpeg), segment(0xE5, b"") * 200_000),
            "more than 100,000 chunks",
        ),
        "a GIF of 200,000 comments": (
            lambda: gif((4, 4), (4, 4), extensions=b"!\xfe\x01a\0" * 200_000),
            "more than 100,000 chunks",
        ),
        "a progressive JPEG of 1,000 scans": (lambda: scans[:-2] + last * 1000 + scans[-2:], "scans, at most 100"),
        "a run-length BMP": (lambda: bmp(2000, 2000, compression=1, data=b"\1\0\0\0"), "a compressed BMP"),
        "a pixel in a tile of 64 megapixels": (lambda: tiled(8000), "tiles of 8000 × 8000"),
        "a small tile that is named after the large one, in a type that only libtiff knows": (
            lambda: tiled(8000, first=struct.pack("<HHIIHHII", 322, 17, 1, 16, 323, 17, 1, 16)),
            "whose tags repeat",
        ),
        "a TIFF of 300,000 strips": (
            lambda: grey_tiff(1, 300_000, (273, LONG, [8] * 300_000), (278, LONG, [1]), (279, LONG, [1] * 300_000)),
            "too far from a square",
        ),
        "a TIFF of 65,000 overlapping values": (
            lambda: grey_tiff(
                1,
                1,
                data=bytes(200_000),
                more=b"".join(struct.pack("<HHII", 400 + i, 1, 200_000, 8) for i in range(65_000)),
            ),
            "",
        ),
        "a BigTIFF": (lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60), ""),
    }


def strangers() -> dict[str, bytes]:
    """What is no picture, or of a kind that Pillow reads and we do not."""
    grey = Image.new("L", (8, 8))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("picture.png", saved(grey, "PNG"))
    postscript = (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(%pipe%id) (r) file\nshowpage\n%%EOF\n"
    )
    return {
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "HTML": b"<!DOCTYPE html><html><img src='data:image/png;base64,AAAA'></html>",
        "EPS": postscript,
        "EPS inside a DOS header": b"\xc5\xd0\xd3\xc6"
        + struct.pack("<II", 30, len(postscript))
        + bytes(18)
        + postscript,
        "PDF": saved(grey, "PDF"),
        "PSD": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 1, 8, 8, 8, 1) + bytes(12) + bytes(66),
        "ZIP": archive.getvalue(),
        "a program": b"\x7fELF\2\1\1" + bytes(64),
        **{kind: saved(grey, kind) for kind in ("ICO", "PPM", "TGA", "PCX", "SGI", "ICNS", "JPEG2000", "AVIF")},
    }


def survivors() -> dict[str, tuple[bytes, int]]:
    """Odd files that are pictures all the same, and the one grey that they must become."""
    grey = Image.new("L", (8, 8), 90)
    clear = Image.new("P", (8, 8), 1)
    clear.putpalette([0, 0, 0, 90, 90, 90])
    jpeg = saved(grey, "JPEG", quality=100)
    archive = io.BytesIO(jpeg)
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("payload.js", "alert(1)")
    frames = [Image.new("L", (8, 8), shade) for shade in (90, 200, 10)]
    return {
        "1 bit": (saved(Image.new("1", (8, 8), 1), "PNG"), 255),
        "16 bits": (saved(Image.new("I;16", (8, 8), 90 * 257), "PNG"), 90),
        "grey with alpha": (saved(Image.new("LA", (8, 8), (90, 3)), "PNG"), 90),
        "a palette with a transparent colour": (saved(clear, "PNG", transparency=1), 90),
        "a palette with transparent shades": (saved(clear, "PNG", transparency=bytes([0, 128])), 90),
        "CMYK": (saved(Image.new("CMYK", (8, 8), (0, 0, 0, 165)), "TIFF"), 90),
        "a GIF that is also a script": (saved(grey, "GIF") + b"*/=1;alert(1);//<script>alert(1)</script>", 90),
        "a JPEG that is also an archive": (archive.getvalue(), 90),
        "a JPEG with EXIF that is noise": (after_start(jpeg, segment(0xE1, b"Exif\0\0" + b"\xa7" * 99)), 90),
        "a JPEG with EXIF cut short": (after_start(jpeg, segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\x09\0\x12")), 90),
        "a JPEG with greedy EXIF": (after_start(jpeg, segment(0xE1, b"Exif\0\0" + greedy_exif())), 90),
        "a JPEG with no EXIF in its EXIF": (after_start(jpeg, segment(0xE1, b"Exif\0\0")), 90),
        **{
            f"an animated {kind}": (saved(frames[0], kind, save_all=True, append_images=frames[1:], **options), 90)
            for kind, options in (("GIF", {}), ("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True}))
        },
    }


def wholes() -> dict[str, bytes]:
    """An honest picture of each kind, for cutting and twisting."""
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 24, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    return {
        "JPEG": saved(noise, "JPEG", exif=exif),
        "progressive JPEG": saved(noise, "JPEG", progressive=True),
        "PNG": saved(noise, "PNG", exif=exif),
        "palette PNG": saved(noise.quantize(16), "PNG", transparency=3),
        "GIF": saved(noise, "GIF", save_all=True, append_images=[noise.rotate(180)]),
        "WebP": saved(noise, "WEBP", exif=exif),
        "animated WebP": saved(noise, "WEBP", save_all=True, append_images=[noise.rotate(180)]),
        "BMP": saved(noise, "BMP"),
        "TIFF": saved(noise, "TIFF"),
        "deflated TIFF": saved(noise, "TIFF", compression="tiff_adobe_deflate"),
        "TIFF of JPEG": saved(noise, "TIFF", compression="jpeg"),
    }


def cuts(whole: bytes) -> Iterator[bytes]:
    """The beginnings of a file: all of its header, then about sixty more."""
    for length in [*range(1, min(64, len(whole))), *range(64, len(whole), max(1, len(whole) // 60))]:
        yield whole[:length]
