"""An HTTP server whose connections are counted."""

import logging
import socket
import socketserver
import sys
import threading
import time
from contextlib import suppress
from http.server import ThreadingHTTPServer
from typing import Any

log = logging.getLogger("pupil.http")
MOST = 64
PAUSE = 0.1  # seconds


class BoundedHTTPServer(ThreadingHTTPServer):
    """A thread a connection, and few of them: a full house closes its oldest, so a probe gets in whoever hangs."""

    daemon_threads = True
    request_queue_size = MOST

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: dict[Any, None] = {}  # oldest first
        self._lock = threading.Lock()

    def get_request(self) -> tuple[Any, Any]:
        try:
            return super().get_request()
        except OSError:  # no file is left for it: it goes on waiting at the door, and must not be asked all the time
            time.sleep(PAUSE)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            if len(self._open) >= MOST:
                oldest = next(iter(self._open))
                del self._open[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread wakes, reads nothing more, and ends
            self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that has gone is not news
            log.exception("a request from %s failed", client_address)


class UnixHTTPServer(BoundedHTTPServer):
    """The same on a socket file."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own asks for the name of a host
        self.server_name, self.server_port = "unix", 0

    def get_request(self) -> tuple[Any, Any]:
        request, _ = super().get_request()
        return request, ("unix", 0)  # where others have host and port there is an empty text
