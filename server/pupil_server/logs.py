"""What the server says on standard error: lines of text, or of JSON, each with the id of the call that it is about."""

import itertools
import json
import logging
import re
import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime

TEXT = "%(asctime)s %(levelname)s %(name)s%(about)s: %(message)s"
SANE = re.compile(r"[A-Za-z0-9._:/+=-]{1,64}")  # anything else could forge a line or fill the disk

_call_id: ContextVar[str] = ContextVar("call_id", default="")
_mark, _numbers = secrets.token_hex(5), itertools.count(1)  # a random number a process, then counting: cheap and unique


def call_id(metadata: Mapping[str, str]) -> str:
    """The caller's own `x-request-id` if it is sane, else a new one."""
    given = metadata.get("x-request-id")
    return given if given and SANE.fullmatch(given) else f"{_mark}-{next(_numbers)}"


def about(call_id: str) -> None:
    """Every line that is logged in this task from here on carries this call's id."""
    _call_id.set(call_id)


def incident(log: logging.Logger, what: str) -> str:
    """Logs the error that is being handled; the text for the wire, which has nothing of it but an id to find it by."""
    number = secrets.token_hex(6)
    log.exception("%s failed, incident %s", what, number)
    return f"internal error, incident {number}"


def set_up(form: str, worker: int = 0) -> None:
    """Logs as `text` or as `json`, from here on; a worker's lines carry its number."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(worker) if form == "json" else TextFormatter(worker))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class TextFormatter(logging.Formatter):
    def __init__(self, worker: int = 0) -> None:
        super().__init__(TEXT)
        self._worker = f" [worker {worker}]" if worker else ""

    def format(self, record: logging.LogRecord) -> str:
        found = _call_id.get()
        record.about = f"{self._worker} [{found}]" if found else self._worker
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record).replace("\n", "\\n")  # a name from the wire must not forge a line


class JsonFormatter(logging.Formatter):
    """One object a line; what a record's `facts` hold becomes keys of its own."""

    def __init__(self, worker: int = 0) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._worker:
            line["worker"] = self._worker
        if found := _call_id.get():
            line["request_id"] = found
        line.update(getattr(record, "facts", {}))
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)
