"""A random sample of a pool, as files and a table whose labels are for people to fill in."""

import csv
import random
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path

from pupil_client.labelling.exports import to_label_studio
from pupil_client.labelling.extract import as_file
from pupil_client.labelling.pictures import Source, Unreadable
from pupil_client.labelling.whole import whole_folder

TABLE, TASKS = "sample.csv", "tasks.json"


@dataclass(frozen=True, slots=True)
class Drawn:
    """How many images were drawn from how many, and of how many there is no file because they cannot be read."""

    images: int
    of: int
    unreadable: int

    def sentence(self) -> str:
        """`500 of 60,000 images, 2 of which cannot be read and are left out`."""
        rest = f", {self.unreadable:,} of which cannot be read and are left out" if self.unreadable else ""
        return f"{self.images:,} of {self.of:,} images{rest}"


def draw(source: Source, images: int, output: Path, *, seed: int, prefix: str) -> Drawn:
    """`<output>/images/`, a table with the columns path and label, and the same images as tasks for Label Studio.

    Each image of the source has the same chance. Raises ValueError where the folder is there already, or none can be
    read; OSError.
    """
    total = sum(1 for _ in source.pictures()) if source.total is None else source.total
    chosen = sorted(random.Random(seed).sample(range(total), min(images, total)))
    with whole_folder(output) as folder:
        files = _write(source, chosen, folder)
        if not files:
            raise ValueError(f"none of the {len(chosen):,} images that were drawn of {total:,} can be read")
        with (folder / TABLE).open("w", encoding="utf-8", newline="") as table:
            csv.writer(table).writerows([("path", "label", "sha256"), *((name, "", digest) for name, digest in files)])
        rows = ({"image": str(output / name), "sha256": digest, "label": None} for name, digest in files)
        to_label_studio(rows, folder / TASKS, prefix=prefix)
    return Drawn(len(chosen), total, len(chosen) - len(files))


def _write(source: Source, chosen: list[int], folder: Path) -> list[tuple[str, str]]:
    """The files' names, by their places in the pool, so that copies are apart, and the SHA-256 that each has there."""
    (folder / "images").mkdir()
    wanted, files = set(chosen), []
    for place, picture in enumerate(islice(source.pictures(), max(chosen, default=-1) + 1)):
        if place not in wanted:
            continue
        try:
            image = picture.read()
            data, suffix = as_file(image)
        except Unreadable:
            continue
        name = f"images/{place:08}{suffix}"
        (folder / name).write_bytes(data)
        files.append((name, sha256(image.data).hexdigest()))
    return files
