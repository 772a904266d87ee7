"""Images out of tars, tables and arrays into files of their own, with a labels file that names those."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pupil_client.images import RawImage
from pupil_client.labelling.exports import to_table
from pupil_client.labelling.files import Files
from pupil_client.labelling.pictures import Source, Unreadable
from pupil_client.labelling.png import png
from pupil_client.labelling.rows import Row
from pupil_client.labelling.scratch import on_disk
from pupil_client.labelling.whole import whole_folder

BEGINNINGS = {  # of a file of each kind, whose name may not say it
    b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"BM": ".bmp",
    b"II*\0": ".tiff", b"MM\0*": ".tiff", b"RIFF": ".webp",
}  # fmt: skip


@dataclass
class Extracted:
    """How many rows have a file of their own now, and of how many the image was not found or cannot be read."""

    images: int = 0
    missing: int = 0

    def sentence(self) -> str:
        """`1,256 images, 3 rows left out: not in these sources, or not readable`."""
        rest = f", {self.missing:,} rows left out: not in these sources, or not readable" if self.missing else ""
        return f"{self.images:,} images{rest}"


def extract(rows: Callable[[], Iterable[Row]], source: Source, output: Path) -> Extracted:
    """`<output>/images/<hash>.<suffix>` for each row that the source has, and `<output>/labels.jsonl` with those rows.

    The rows, which are read twice, keep their order; of several about one image the first counts. Raises ValueError
    where the folder is there already, or no row is of the source; OSError.
    """
    with whole_folder(output) as folder, on_disk() as sql:
        files = Files(sql)
        (folder / "images").mkdir()
        wanted = files.want(row["image"] for row in rows())
        if not wanted:
            raise ValueError("no row is among those asked for; --only all takes every one")
        for picture in source.pictures():
            if files.wanted(picture.name):
                try:
                    files.put(picture.name, _write(picture.read(), folder / "images"))
                except Unreadable:
                    continue
        done = to_table(_renamed(rows(), files, output / "images"), folder / "labels.jsonl", "jsonl")
        if not done.rows:
            raise ValueError("no row is about an image of these sources; name those that were labelled")
    return Extracted(done.rows, wanted - done.rows)


def as_file(image: RawImage) -> tuple[bytes, str]:
    """What a file of it holds, and how its name ends. Raises Unreadable."""
    data = image.data if image.shape is None else png(image).data
    return data, next((suffix for beginning, suffix in BEGINNINGS.items() if data.startswith(beginning)), "")


def _write(image: RawImage, folder: Path) -> str:
    """The file's name: by its content, which may be there already."""
    data, suffix = as_file(image)
    name = f"{sha256(data).hexdigest()}{suffix}"
    (folder / name).write_bytes(data)
    return name


def _renamed(rows: Iterable[Row], files: Files, folder: Path) -> Iterator[Row]:
    """The rows whose images were written; the first one names the classes."""
    classes = None
    for number, row in enumerate(rows):
        classes = row.get("classes") or classes
        if name := files.of(number, row["image"]):
            yield {**row, "image": str(folder / name), "sha256": name.partition(".")[0], "classes": classes}
            classes = None
