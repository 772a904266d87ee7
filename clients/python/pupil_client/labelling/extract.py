"""Images out of tars, tables and arrays into files of their own, with a labels file that names those."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pupil_client.images import RawImage
from pupil_client.labelling.exports import to_table
from pupil_client.labelling.pictures import Source, Unreadable
from pupil_client.labelling.png import png
from pupil_client.labelling.rows import Row
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


def extract(rows: Iterable[Row], source: Source, output: Path) -> Extracted:
    """`<output>/images/<hash>.<suffix>` for each row that the source has, and `<output>/labels.jsonl` with those rows.

    The rows keep their order. Raises ValueError where the folder is there already, or no row is of the source; OSError.
    """
    wanted = {row["image"]: row for row in rows}
    with whole_folder(output) as folder:
        (folder / "images").mkdir()
        files = {}
        for picture in source.pictures():
            if picture.name in wanted:
                try:
                    files[picture.name] = _write(picture.read(), folder / "images")
                except Unreadable:
                    continue
        if not files:
            raise ValueError("no row is about an image of these sources; name those that were labelled")
        done = to_table(_renamed(wanted, files, output / "images"), folder / "labels.jsonl", "jsonl")
    return Extracted(done.rows, len(wanted) - done.rows)


def _write(image: RawImage, folder: Path) -> str:
    """The file's name: by its content, which may be there already."""
    data = image.data if image.shape is None else png(image).data
    suffix = next((suffix for beginning, suffix in BEGINNINGS.items() if data.startswith(beginning)), "")
    name = f"{sha256(data).hexdigest()}{suffix}"
    (folder / name).write_bytes(data)
    return name


def _renamed(wanted: Mapping[str, Row], files: Mapping[str, str], folder: Path) -> Iterator[Row]:
    """The rows whose images were written; the first one names the classes."""
    classes = next((row["classes"] for row in wanted.values() if row.get("classes")), None)
    for name, row in wanted.items():
        if name in files:
            file = folder / files[name]
            yield {**row, "image": str(file), "sha256": file.name.partition(".")[0], "classes": classes}
            classes = None
