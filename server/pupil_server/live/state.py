"""What the watch knows, across restarts."""

import json
import logging
from pathlib import Path
from typing import Any

from pupil_server.whole import write_whole

log = logging.getLogger("pupil.live")

MOST_STUDENTS = 256  # those seen last; by fingerprint and precision


def read_state(file: Path) -> dict[str, dict[str, Any]]:
    """By student; nothing where there is no file. One that makes no sense is set aside as `<file>.broken`."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("not an object")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s: not understood (%s); set aside, the watch begins anew", file, error)
        file.replace(f"{file}.broken")
        return {}
    return found


def remember(state: dict[str, dict[str, Any]], student: str, numbers: dict[str, Any]) -> None:
    """Puts a student's numbers last; of too many students the first ones are forgotten."""
    state.pop(student, None)
    state[student] = numbers
    for oldest in list(state)[:-MOST_STUDENTS]:
        del state[oldest]


def write_state(file: Path, state: dict[str, dict[str, Any]]) -> None:
    """Whole or not at all; what cannot be written is logged, and the file stays as it was."""
    try:
        write_whole(file, json.dumps(state).encode() + b"\n")
    except OSError as error:
        log.warning("%s: the watch cannot be saved (%s)", file, error.strerror)
