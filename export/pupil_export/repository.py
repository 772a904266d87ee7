"""The folder of bundles: `<repository>/<model>/<version>/`."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pupil_export.errors import ExportError

FORMAT = 1  # of bundle.json
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_name(name: str) -> str:
    """`name`; ExportError unless it is one that a folder and a URL can carry."""
    if not NAME.fullmatch(name):
        raise ExportError(f"'{name}': a model's name is made of letters, digits, '.', '_' and '-'; give another --name")
    return name


def new_version(repository: Path, name: str, version: int | None) -> int:
    """`version`, or the one after the newest; ExportError where it exists or is below 1."""
    if version is None:
        return max(versions(repository, name), default=0) + 1
    if version < 1:
        raise ExportError(f"version {version}: a whole number from 1 on is wanted")
    if version in versions(repository, name):
        raise ExportError(f"{repository / name / str(version)}: exists already; leave --version out for the next one")
    return version


def versions(repository: Path, name: str) -> list[int]:
    """The versions of a model, ascending."""
    try:
        found = [path.name for path in (repository / name).iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ExportError(f"{repository / name}: {error.strerror}; it should be a folder of versions") from None
    return sorted(int(version) for version in found if re.fullmatch("[1-9][0-9]*", version))


def bundles(repository: Path) -> Iterator[dict[str, Any]]:
    """`bundle.json` of every bundle that we can read, the newest version of a model first."""
    for folder in sorted(repository.glob("*/")):
        for version in reversed(versions(repository, folder.name)):
            with suppress(OSError, ValueError):
                facts = json.loads((folder / str(version) / "bundle.json").read_bytes())
                if isinstance(facts, dict) and facts.get("format") == FORMAT:
                    yield facts


def write_bundle(folder: Path, files: Mapping[str, bytes]) -> None:
    """Makes `folder` with these files, by their paths in it: all of them, on the disk, or none.

    Raises ExportError: exists already, not writable, disk full.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    made = [path for path in (folder.parent, *folder.parent.parents) if not path.exists()]
    try:
        for name, content in files.items():
            _write(partial / name, content)
        if folder.exists():  # a rename would take the place of an empty folder
            raise ExportError(f"{folder}: was made by someone else meanwhile; export once more")
        partial.rename(folder)
        _sync(folder.parent)
    except OSError as error:
        raise ExportError(f"{folder}: not written ({error.strerror}); nothing was left behind") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        for path in made:
            with suppress(OSError):  # not empty: the bundle is there
                path.rmdir()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)  # the new name itself must survive a power cut
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
