"""The versions of models that lie on disk."""

import os
import re
from pathlib import Path

from pupil_server.errors import BundleError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
NUMBER = re.compile(r"[1-9][0-9]{0,17}\Z")  # what fits into a message


def versions_on_disk(repository: Path) -> dict[str, list[int]]:
    """The versions of each model in the repository, oldest first. Raises BundleError where it cannot be read.

    A folder without `bundle.json` is no version: export writes elsewhere and renames, a copy may still be coming.
    """
    found = {}
    for name in sorted(_folders(repository)):
        numbers = [number for number in _folders(repository / name) if NUMBER.match(number)] if NAME.match(name) else []
        whole = [int(number) for number in numbers if _holds_a_bundle(repository / name / number)]
        if whole:
            found[name] = sorted(whole)
    return found


def repository_above(folder: Path) -> Path | None:
    """Where a folder lies that is itself a model's or a bundle: the one that was meant."""
    if (folder / "bundle.json").is_file():
        return folder.resolve().parents[1]
    return folder.resolve().parent if any(folder.glob("*/bundle.json")) else None


def stamp(folder: Path) -> str:
    """Another text whenever a file in the folder was added, removed or written."""
    files = []
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.stat(os.path.join(place, name))  # noqa: PTH116, PTH118  thousands of files, every few seconds
            except OSError:
                continue  # gone meanwhile: the next look sees the rest
            files.append(f"{place}/{name} {status.st_size} {status.st_mtime_ns} {status.st_ino}")
    return "\n".join(sorted(files))


def _holds_a_bundle(folder: Path) -> bool:
    try:
        return (folder / "bundle.json").is_file()
    except OSError:  # it may: loading it says what is wrong, and what was loaded from it stays
        return True


def _folders(folder: Path) -> list[str]:
    # Not Path.glob: it takes a folder that cannot be read for an empty one, and then everything would be unloaded.
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_dir()]
    except OSError as error:
        raise BundleError(f"{folder}: {error.strerror}; make it a folder that the server can read") from error
