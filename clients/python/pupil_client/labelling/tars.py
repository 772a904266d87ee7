"""Images in tar files, as WebDataset writes them; the other members of a sample are passed over."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

from pupil_client.images import RawImage
from pupil_client.labelling.pictures import MAX_FILE_BYTES, SUFFIXES, Picture, Source, digest_of_file

TARS = (".tar", ".tar.gz", ".tgz")


def is_tar(path: Path) -> bool:
    """Whether the name says so."""
    return path.name.endswith(TARS)


def tar_source(file: Path) -> Source:
    """The image members in their order. Raises ValueError for what is no tar, OSError."""
    with _opened(file):
        pass
    return Source(digest_of_file(file), None, lambda: _pictures(file))


def _pictures(file: Path) -> Iterator[Picture]:
    with _opened(file) as members:
        try:
            for member in members:
                if member.isfile() and member.name.lower().endswith(SUFFIXES):
                    yield _picture(file, members, member)
                members.members = []  # type: ignore[attr-defined]  # it would keep every header
        except (tarfile.TarError, EOFError) as error:
            raise ValueError(f"{file}: broken or truncated ({error})") from None


def _picture(file: Path, members: tarfile.TarFile, member: tarfile.TarInfo) -> Picture:
    name = f"{file}/{member.name}"
    if member.size > MAX_FILE_BYTES:
        return Picture(name, 0, f"{member.size:,} bytes are too many; at most {MAX_FILE_BYTES:,} travel in one message")
    content = members.extractfile(member)
    assert content is not None  # of a regular file there is always one
    return Picture(name, member.size, RawImage(content.read()))


def _opened(file: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(file, "r|*")  # a stream: read once, from front to back, unpacked or not
    except tarfile.TarError as error:
        raise ValueError(f"{file}: not a tar file ({error})") from None
