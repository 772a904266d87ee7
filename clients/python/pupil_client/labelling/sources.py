"""Where images lie: which kind of source a path is, and the two kinds that are files of their own."""

import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from pupil_client.labelling.arrays import idx_source, is_idx, npy_source, npz_source
from pupil_client.labelling.pictures import SUFFIXES, Picture, Source, digest_of_file, one_after_the_other
from pupil_client.labelling.tables import table_source
from pupil_client.labelling.tars import is_tar, tar_source

KINDS = "a folder, a list of paths (.txt), .parquet, .tar, .tar.gz, .npy, .npz or an idx file"


def open_sources(paths: Sequence[Path]) -> Source:
    """All that is to be labelled. Raises ValueError for what is no source or an empty one, OSError."""
    opened = [open_source(path) for path in paths]
    return opened[0] if len(opened) == 1 else one_after_the_other(opened)


def open_source(path: Path) -> Source:
    """One folder or file, by its name. Raises ValueError, OSError."""
    if path.is_dir():
        return folder_source(path)
    source = _file_source(path)
    if source.total == 0:
        raise ValueError(f"{path}: no images in it")
    return source


def _file_source(path: Path) -> Source:
    if is_tar(path):
        return tar_source(path)
    if is_idx(path):
        return idx_source(path)
    kinds = {".txt": list_source, ".parquet": table_source, ".npy": npy_source, ".npz": npz_source}
    if path.suffix not in kinds:
        raise ValueError(f"{path}: not a source of images; {KINDS} is one")
    return kinds[path.suffix](path)


def folder_source(folder: Path) -> Source:
    """The image files here and below by path, or else the tars or Parquet files right here."""
    digest, total = sha256(), 0
    for entry in _walk(str(folder)):
        found = entry.stat()
        digest.update(f"{entry.path}\0{found.st_size}\0{found.st_mtime_ns}\0".encode(errors="surrogateescape"))
        total += 1
    if not total:
        return _folder_of_files(folder)

    def pictures() -> Iterator[Picture]:
        for entry in _walk(str(folder)):
            yield file_picture(Path(entry.path))

    return Source(digest.hexdigest(), total, pictures)


def _walk(folder: str) -> Iterator["os.DirEntry[str]"]:
    """The image files in the order of their paths, one folder in memory at a time; hidden ones are none."""
    with os.scandir(folder) as entries:
        here = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in here:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
            yield entry


def _folder_of_files(folder: Path) -> Source:
    files = sorted(path for path in folder.iterdir() if is_tar(path) or path.suffix == ".parquet")
    if not files:
        raise ValueError(f"{folder}: no images ({', '.join(SUFFIXES)}) here or below")
    return open_sources(files)


def list_source(file: Path) -> Source:
    """A path a line, as seen from the working folder; empty lines do not count."""

    def paths() -> Iterator[Path]:
        with file.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
            yield from (Path(line) for each in lines if (line := each.rstrip("\r\n")))

    return Source(digest_of_file(file), sum(1 for _ in paths()), lambda: map(file_picture, paths()))


def file_picture(path: Path) -> Picture:
    """A file of its own; what is wrong with it is told when it is read."""
    try:
        size = path.stat().st_size
    except OSError:
        size = 0  # reading it will say what is wrong
    return Picture(str(path), size, path)
