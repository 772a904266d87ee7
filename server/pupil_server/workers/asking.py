"""HTTP to a worker, over its private socket."""

import http.client
import socket
from collections.abc import Mapping
from pathlib import Path

from pupil_server.gateway import Reply


def ask(
    worker: Path,
    target: str,
    *,
    timeout: float,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Reply:
    """One request and its answer. Raises OSError where nobody answers within `timeout` seconds."""
    connection = _Connection(worker, timeout)
    try:
        connection.request(method, target, body, dict(headers or {}))
        answer = connection.getresponse()
        return Reply(answer.status, answer.read(), dict(answer.headers))
    except http.client.HTTPException as error:  # it ended in the middle
        raise OSError(f"not an answer: {error}") from error
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, worker: Path, timeout: float) -> None:
        super().__init__("worker", timeout=timeout)
        self._worker = worker

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._worker))
