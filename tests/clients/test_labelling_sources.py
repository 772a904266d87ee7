"""Every kind of source gives its images in order, with their bytes; what is none is told in one line."""

import gzip
import hashlib
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from pupil_client.images import RawImage
from pupil_client.labelling.pictures import Unreadable
from pupil_client.labelling.png import png
from pupil_client.labelling.sources import open_source, open_sources

GREY = np.random.default_rng(1).integers(0, 256, (7, 5, 4), dtype=np.uint8)
COLOUR = np.random.default_rng(2).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)
FILES = {"a.png": b"first", "b.jpg": b"second", "c.webp": b"third"}


def tar(file, mode="w"):
    with tarfile.open(file, mode) as members:
        for name, data in [*FILES.items(), ("a.json", b"{}"), ("a.cls", b"3")]:
            member = tarfile.TarInfo(f"shard/{name}")
            member.size = len(data)
            members.addfile(member, io.BytesIO(data))


def idx(pixels):
    return struct.pack(">HBB3I", 0, 8, 3, *pixels.shape) + pixels.tobytes()


def contents(source):
    """Of every picture its name and what it reads as."""
    return [(picture.name, picture.read()) for picture in source.pictures()]


def test_a_folder_is_listed_by_path_one_folder_after_the_other(tmp_path):
    for name in ("b/2.png", "b/1.PNG", "a.b/3.jpg", "a/4.gif", "z.png", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    source = open_source(tmp_path)
    images = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".txt"]
    assert [name for name, _ in contents(source)] == [str(path) for path in sorted(images)]
    assert source.total == 5
    assert contents(source)[0][1].data == b"a/4.gif"


def test_hidden_files_and_folders_are_no_images(tmp_path):
    for name in ("1.png", "._1.png", ".ipynb_checkpoints/1-checkpoint.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [Path(picture.name).name for picture in open_source(tmp_path).pictures()] == ["1.png"]


def test_a_list_names_files_as_seen_from_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"here")
    (tmp_path / "list.txt").write_text("a.png\n\ngone.png\n")
    source = open_source(tmp_path / "list.txt")
    here, gone = source.pictures()
    assert (source.total, here.name, here.read().data) == (2, "a.png", b"here")
    with pytest.raises(Unreadable, match="No such file"):
        gone.read()


def test_a_list_may_come_from_windows(tmp_path):
    (tmp_path / "list.txt").write_text("a.png\nb.png\n", encoding="utf-8-sig", newline="\r\n")
    assert [picture.name for picture in open_source(tmp_path / "list.txt").pictures()] == ["a.png", "b.png"]


@pytest.mark.parametrize(("name", "mode"), [("s.tar", "w"), ("s.tar.gz", "w:gz"), ("s.tgz", "w:gz")])
def test_a_tar_gives_its_image_members_and_passes_over_the_others(tmp_path, name, mode):
    tar(tmp_path / name, mode)
    found = contents(open_source(tmp_path / name))
    assert found == [(f"{tmp_path / name}/shard/{file}", RawImage(data)) for file, data in FILES.items()]


def test_a_folder_of_tars_is_one_pool_after_the_other(tmp_path):
    for number in (1, 0):
        tar(tmp_path / f"{number}.tar")
    names = [name for name, _ in contents(open_source(tmp_path))]
    assert names == [f"{tmp_path}/{number}.tar/shard/{file}" for number in (0, 1) for file in FILES]


def test_a_tar_that_breaks_off_is_told(tmp_path):
    tar(tmp_path / "s.tar")
    (tmp_path / "s.tar").write_bytes((tmp_path / "s.tar").read_bytes()[:700])
    with pytest.raises(ValueError, match=r"s.tar: broken or truncated"):
        contents(open_source(tmp_path / "s.tar"))


def hub(images):
    """As data sets on the Hugging Face hub have them: one column of structs."""
    return pyarrow.table({"label": [1] * len(images), "image": [{"bytes": i, "path": "x.png"} for i in images]})


@pytest.mark.parametrize(
    "table",
    [hub, lambda images: pyarrow.table({"jpg": images}), lambda images: pyarrow.table({"other": images})],
    ids=["structs", "bytes", "any bytes"],
)
def test_parquet_gives_the_bytes_of_each_row(tmp_path, table):
    images = [f"image {number}".encode() for number in range(150)]
    parquet.write_table(table(images), tmp_path / "pool.parquet", row_group_size=40)
    source = open_source(tmp_path / "pool.parquet")
    found = contents(source)
    assert source.total == 150
    assert [image.data for _, image in found] == images
    assert found[7][0].startswith(f"{tmp_path}/pool.parquet#7")


def test_parquet_may_hold_paths_and_empty_cells(tmp_path):
    (tmp_path / "a.png").write_bytes(b"beside the table")
    parquet.write_table(pyarrow.table({"path": ["a.png", None]}), tmp_path / "pool.parquet")
    beside, empty = open_source(tmp_path / "pool.parquet").pictures()
    assert beside.read().data == b"beside the table"
    with pytest.raises(Unreadable, match="the cell is empty"):
        empty.read()


def as_npy(folder):
    np.save(folder / "pool.npy", GREY)
    return folder / "pool.npy"


def as_npz(folder):
    np.savez_compressed(folder / "pool.npz", labels=np.arange(7), images=GREY)
    return folder / "pool.npz"


def as_idx(folder):
    (folder / "train-images-idx3-ubyte").write_bytes(idx(GREY))
    return folder / "train-images-idx3-ubyte"


def as_packed_idx(folder):
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(GREY)))
    return folder / "train-images-idx3-ubyte.gz"


@pytest.mark.parametrize("write", [as_npy, as_npz, as_idx, as_packed_idx])
def test_arrays_give_pixels_without_numpy(tmp_path, write):
    source = open_source(write(tmp_path))
    found = contents(source)
    assert source.total == 7
    assert [image for _, image in found] == [RawImage(pixels.tobytes(), (5, 4, 1)) for pixels in GREY]
    assert found[3][0].endswith("#3")


def test_colours_stay_colours(tmp_path):
    np.save(tmp_path / "pool.npy", COLOUR)
    assert [image.shape for _, image in contents(open_source(tmp_path / "pool.npy"))] == [(5, 4, 3)] * 3


@pytest.mark.parametrize("pixels", [GREY[0][:, :, None], COLOUR[0], np.dstack([COLOUR[0], GREY[0]])])
def test_pixels_of_another_size_travel_as_a_file_with_the_same_pixels(pixels):
    file = png(RawImage(pixels.tobytes(), pixels.shape))
    with Image.open(io.BytesIO(file.data)) as image:
        assert np.array_equal(np.asarray(image).reshape(pixels.shape), pixels)


def test_several_sources_are_one_after_the_other_with_a_name_of_their_own(tmp_path):
    tar(tmp_path / "s.tar")
    both, alone = open_sources([tmp_path / "s.tar", as_npy(tmp_path)]), open_source(tmp_path / "s.tar")
    assert len(contents(both)) == 3 + 7
    assert both.digest != alone.digest
    assert both.total is None


@pytest.mark.parametrize("change", ["bytes", "name", "more"])
def test_a_source_that_changes_has_another_digest(tmp_path, change):
    (tmp_path / "a.png").write_bytes(b"one")
    before = open_source(tmp_path).digest
    assert open_source(tmp_path).digest == before
    if change == "bytes":
        (tmp_path / "a.png").write_bytes(b"another")
    elif change == "name":
        (tmp_path / "a.png").rename(tmp_path / "b.png")
    else:
        (tmp_path / "b.png").write_bytes(hashlib.sha256(b"").digest())
    assert open_source(tmp_path).digest != before


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("x.zip", b"", "x.zip: not a source of images; a folder, a list"),
        ("x.tar", b"no tar at all" * 100, "x.tar: not a tar file"),
        ("x.npy", b"\x93NUMPY", "x.npy: "),
        ("x.npy", b"nothing of the kind", "x.npy: not a .npy file"),
        ("x.npz", b"nothing of the kind", "x.npz: not an .npz archive"),
        ("x-ubyte", idx(GREY)[:3], "x-ubyte: "),
        ("x-ubyte", b"\0\0\x0d\x03" + b"\0" * 12, "x-ubyte: not an idx file of bytes"),
        ("x.parquet", b"nothing of the kind", "x.parquet: not a Parquet table"),
        ("x.txt", b"\n\n", "x.txt: no images in it"),
    ],
)
def test_what_is_no_source_is_told_in_one_line(tmp_path, name, data, said):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=r".") as told:
        open_source(tmp_path / name)
    assert said in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("array", [GREY.astype(np.float32), GREY.astype(np.int64), GREY[0], np.asfortranarray(COLOUR)])
def test_an_array_of_another_kind_is_told(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ValueError, match=r"x.npy: pictures are"):
        open_source(tmp_path / "x.npy")


def test_an_array_that_breaks_off_is_told(tmp_path):
    as_npy(tmp_path).write_bytes(as_npy(tmp_path).read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"truncated, 7 pictures are announced, 5 are there"):
        contents(open_source(tmp_path / "pool.npy"))


def test_a_table_without_images_names_its_columns(tmp_path):
    parquet.write_table(pyarrow.table({"a": [1], "b": [2.0]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="no column of images or paths; its columns are a, b"):
        open_source(tmp_path / "x.parquet")


def test_parquet_without_pyarrow_is_answered_with_what_brings_it(tmp_path, monkeypatch):
    parquet.write_table(hub([b"x"]), tmp_path / "x.parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"x.parquet: Parquet needs pyarrow: pip install 'pupil\[parquet\]'"):
        open_source(tmp_path / "x.parquet")
