"""Files from strangers: good pixels or BadImage, never anything else, and never more than an honest picture costs."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pupil_server.bundle_facts import InputSize, Resize
from pupil_server.errors import BadImage
from pupil_server.images import Limits, decode

pytestmark = pytest.mark.filterwarnings("ignore:.*:Warning:PIL")  # as the server does; pytest forgets it

LIMITS = Limits(file_bytes=16_000_000, pixels=4_000_000)
RESIZE = Resize(shortest_side=4, crop="center", interpolation="bilinear")
GREY = InputSize(height=4, width=4, channels=1)
COLOUR = InputSize(height=4, width=4, channels=3)

# Decodes every bomb, then an honest picture of the most pixels, and prints what each raised the peak of memory by.
MEASURE = """
import json, runpy, sys
from pathlib import Path
import numpy as np
from pupil_server.bundle_facts import InputSize, Resize
from pupil_server.errors import BadImage
from pupil_server.images import Limits, decode

def memory(line):
    status = Path("/proc/self/status").read_text()
    return next(int(found.split()[1]) for found in status.splitlines() if found.startswith(line))

def growth(data):
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts anew from here
    before = memory("VmRSS")
    try:
        decode(data, InputSize(height=4, width=4, channels=3), RESIZE, Limits(file_bytes=16_000_000, pixels=4_000_000))
    except BadImage:
        pass
    return memory("VmHWM") - before

RESIZE = Resize(shortest_side=4, crop="center", interpolation="bilinear")
hostile = runpy.run_path(sys.argv[1])
files = {name: make() for name, (make, _) in hostile["bombs"]().items()}
honest = hostile["png"](2000, 2000)
growth(honest)
print(json.dumps({"honest": growth(honest), **{name: growth(data) for name, data in files.items()}}))
"""


def looked_at(data: bytes, size: InputSize = COLOUR) -> bool:
    """Whether the file is read, to pixels of the right shape; anything but that or BadImage is an error."""
    try:
        pixels = decode(data, size, RESIZE, LIMITS)
    except BadImage:
        return False
    assert (pixels.shape, pixels.dtype) == ((size.height, size.width, size.channels), np.uint8)
    return True


def test_a_bomb_is_refused_by_what_its_header_says(hostile) -> None:
    for name, (make, says) in hostile.bombs().items():
        with pytest.raises(BadImage) as refused:
            decode(make(), COLOUR, RESIZE, LIMITS)
        assert says in str(refused.value), name


def test_no_bomb_takes_more_memory_than_an_honest_picture_of_the_most_pixels(hostile) -> None:
    command = [sys.executable, "-c", MEASURE, hostile.__file__]
    measured = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert measured.returncode == 0, measured.stderr
    peaks = json.loads(measured.stdout)
    honest = peaks.pop("honest")
    assert honest > 4_000  # KB: its pixels at least, or nothing was measured
    assert {name: peak for name, peak in peaks.items() if peak > 2 * honest} == {}


def test_what_is_no_picture_of_ours_is_refused_by_its_first_bytes(hostile) -> None:
    for name, data in hostile.strangers().items():
        with pytest.raises(BadImage, match="not a JPEG, PNG, WEBP, BMP, GIF, TIFF file"):
            decode(data, COLOUR, RESIZE, LIMITS)
        assert name


def test_a_picture_under_the_magic_bytes_of_another_format_is_refused_or_whole(hostile) -> None:
    wholes = hostile.wholes()
    for head in wholes.values():
        for name, data in wholes.items():
            looked_at(head[:12] + data[12:])
            assert looked_at(data), name


def test_odd_files_that_are_pictures_are_read(hostile) -> None:
    for name, (data, grey) in hostile.survivors().items():
        for size in (GREY, COLOUR):
            found = decode(data, size, RESIZE, LIMITS)
            assert np.abs(found.astype(int) - grey).max() <= 1, name


def test_a_file_cut_anywhere_is_refused_or_whole(hostile) -> None:
    for name, whole in hostile.wholes().items():
        read = sum(looked_at(part) for part in hostile.cuts(whole))
        assert read < 40, name  # what is lost is missed; a few formats carry metadata at their ends


# A picture two wide and three high, and what it is once it stands upright, for each value of EXIF's orientation.
STORED = [[10, 50], [90, 130], [170, 210]]
UPRIGHT = {
    1: [[10, 50], [90, 130], [170, 210]],
    2: [[50, 10], [130, 90], [210, 170]],  # mirrored left to right
    3: [[210, 170], [130, 90], [50, 10]],  # upside down
    4: [[170, 210], [90, 130], [10, 50]],  # mirrored top to bottom
    5: [[10, 90, 170], [50, 130, 210]],  # mirrored along the diagonal that falls
    6: [[170, 90, 10], [210, 130, 50]],  # a quarter to the right
    7: [[210, 130, 50], [170, 90, 10]],  # mirrored along the diagonal that rises
    8: [[50, 130, 210], [10, 90, 170]],  # a quarter to the left
}


@pytest.mark.parametrize("orientation", [0, *UPRIGHT, 9, 65_535])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_a_picture_stands_upright_whichever_way_it_was_held(hostile, kind: str, orientation: int) -> None:
    scale = 8 if kind == "JPEG" else 1  # a block of the codec for each pixel, which keeps it exact
    stored = Image.fromarray(np.kron(np.array(STORED, np.uint8), np.ones((scale, scale), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100}}.get(kind, {})
    data = hostile.saved(stored, kind, exif=exif, **options)
    expected = np.array(UPRIGHT.get(orientation, STORED))
    size = InputSize(height=expected.shape[0], width=expected.shape[1], channels=1)
    resize = Resize(shortest_side=2, crop="center", interpolation="bilinear")
    if kind == "JPEG":
        size = InputSize(height=size.height * 8, width=size.width * 8, channels=1)
        resize = Resize(shortest_side=16, crop="center", interpolation="bilinear")
    found = decode(data, size, resize, LIMITS)[..., 0][scale // 2 :: scale, scale // 2 :: scale]
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_exif_that_cannot_be_written_again_still_turns_the_picture(hostile) -> None:
    entry = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHII", 0x8769, 4, 1, 2**31)  # a directory nowhere
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entry + bytes(4)
    stored = hostile.saved(Image.fromarray(np.kron(np.uint8([[0], [200]]), np.ones((16, 32), np.uint8))), "JPEG")
    found = decode(hostile.after_start(stored, hostile.segment(0xE1, exif)), GREY, RESIZE, LIMITS)[..., 0]
    assert found[0, 0] > 190  # the lower half, now on the left
    assert found[0, 3] < 10


def test_python_does_not_remember_the_warnings_of_broken_files(hostile) -> None:
    script = """
import runpy, struct, sys
from PIL import TiffImagePlugin
from pupil_server.bundle_facts import InputSize, Resize
from pupil_server.errors import BadImage
from pupil_server.images import Limits, decode
hostile = runpy.run_path(sys.argv[1])
for place in range(50):  # each warns in words of its own
    tag = struct.pack("<HHII", 400 + place, 1, 5_000_000 + place, 8)
    try:
        decode(hostile["grey_tiff"](1, 1, more=tag), InputSize(height=4, width=4, channels=1),
               Resize(shortest_side=4, crop="center", interpolation="bilinear"), Limits(1_000_000, 1_000_000))
    except BadImage:
        pass
print(sum(isinstance(key, tuple) for key in getattr(TiffImagePlugin, "__warningregistry__", ())))
"""
    ran = subprocess.run([sys.executable, "-c", script, hostile.__file__], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, "Warning" in ran.stderr) == ("0\n", False)


def test_ghostscript_is_never_started(hostile, tmp_path: Path) -> None:
    called = tmp_path / "called"
    for name in ("gs", "gswin64c"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {called}\n")
        (tmp_path / name).chmod(0o755)
    script = """
import runpy, sys
from pupil_server.bundle_facts import InputSize, Resize
from pupil_server.errors import BadImage
from pupil_server.images import Limits, decode
for data in runpy.run_path(sys.argv[1])["strangers"]().values():
    try:
        decode(data, InputSize(height=4, width=4, channels=1),
               Resize(shortest_side=4, crop="center", interpolation="bilinear"), Limits(1_000_000, 1_000_000))
    except BadImage:
        pass
"""
    command = [sys.executable, "-c", script, hostile.__file__]
    subprocess.run(command, env={"PATH": str(tmp_path)}, check=True, timeout=60)
    assert not called.exists()


@st.composite
def twisted(draw: st.DrawFn, wholes: dict[str, bytes]) -> bytes:
    """A good file with a few bytes changed, a piece cut out, doubled or of another file, or its end missing."""
    data = bytearray(draw(st.sampled_from(sorted(wholes.items())))[1])
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data) - 1))
        length = draw(st.integers(0, 16))
        match draw(st.sampled_from(["set", "set", "set", "cut", "double", "graft", "end"])):
            case "set":
                value = draw(st.sampled_from([b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\0\0\0\0"]))
                data[at : at + len(value)] = value
            case "cut":
                del data[at : at + length]
            case "double":
                data[at:at] = data[at : at + length]
            case "graft":
                data[at : at + length] = draw(st.sampled_from(sorted(wholes.values())))[at : at + length]
            case "end":
                del data[max(1, at) :]
        data = data or bytearray(b"\0")
    return bytes(data)


def test_no_twisted_file_gets_past_bad_image(hostile) -> None:
    @settings(max_examples=1500, deadline=None, derandomize=True, database=None)
    @given(twisted(hostile.wholes()))
    def look(data: bytes) -> None:
        looked_at(data)

    look()
