"""What the operations server does with a POST: reads its body, within limits, and asks the gateway."""

import logging
import socket
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from threading import BoundedSemaphore
from typing import Protocol

from pupil_server.errors import Code
from pupil_server.gateway import MOST_POSTS, Reply, refusal
from pupil_server.logs import incident

log = logging.getLogger("pupil.http")

BODY_SECONDS = 30.0
LINGER = 1.0  # seconds
PEER = "pupil-peer"
NO_HEADERS: Mapping[str, str] = {}


class PostedTo(Protocol):
    """Who answers a POST: the gateway, or one who passes it on."""

    max_body: int
    places: BoundedSemaphore

    def answer(self, target: str, headers: Mapping[str, str], body: bytes, peer: str) -> Reply: ...


class PostHandler(BaseHTTPRequestHandler):
    """One connection, on a thread of its own."""

    posted_to: PostedTo | None = None  # None: off
    passed_on = False  # by one who says in the header PEER for whom
    timeout = 10.0  # seconds for a request line that does not come
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        if refused := self._why_not_read():
            self._refuse(refused)
            return
        assert self.posted_to is not None  # or it was refused
        if not self.posted_to.places.acquire(blocking=False):
            busy = f"{MOST_POSTS} requests are already in work; try again later"
            self._refuse(refusal(Code.RESOURCE_EXHAUSTED, busy, {"retry-after-ms": "1000"}))
            return
        try:
            self._reply(self._answered(self.posted_to, self._body()))
        finally:
            self.posted_to.places.release()

    def handle_expect_100(self) -> bool:
        """A client that asks before it sends a large body hears the refusal, where others see a reset."""
        if refused := self._why_not_read():
            self._refuse(refused)
            return False
        return super().handle_expect_100()

    def send(
        self,
        status: int,
        body: bytes,
        kind: str = "text/plain; charset=utf-8",
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        self.send_response(status)
        if self.close_connection:
            self.send_header("Connection", "close")
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def has_body(self) -> bool:
        lengths = self.headers.get_all("Content-Length", [])
        return any(length != "0" for length in lengths) or "Transfer-Encoding" in self.headers

    def address_string(self) -> str:
        return self.headers.get(PEER, "") if self.passed_on else super().address_string()

    def log_message(self, format: str, *args: object) -> None:
        """Probes come every few seconds; they are not news."""

    def _answered(self, posted_to: PostedTo, body: bytes) -> Reply:
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            return posted_to.answer(self.path, headers, body, self.address_string())
        except Exception:  # ours, beside the dispatcher, which has its own incidents
            return refusal(Code.INTERNAL, incident(log, "a POST"))

    def _why_not_read(self) -> Reply | None:
        """Why a body stays unread."""
        length = ", ".join(self.headers.get_all("Content-Length", []))  # several: each would end the body elsewhere
        if self.posted_to is None:
            return refusal(Code.NOT_FOUND, "the gateway is off; pupil serve --http-gateway turns it on")
        if not (length.isascii() and length.isdecimal() and len(length) < 16) or "Transfer-Encoding" in self.headers:
            return refusal(Code.INVALID_ARGUMENT, "a body with its Content-Length is wanted", status=411)
        if int(length) > self.posted_to.max_body:
            much = f"{int(length):,} bytes, at most {self.posted_to.max_body:,} are allowed"
            return refusal(Code.INVALID_ARGUMENT, much, status=413)
        return None

    def _refuse(self, reply: Reply) -> None:
        """The connection ends with it: the unread body would be taken for the next request.

        What is still on its way is thrown away for a moment: a socket closed on unread bytes takes its reply with it.
        """
        self.close_connection = True
        self._reply(reply)
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(LINGER)
        end = time.monotonic() + LINGER
        while time.monotonic() < end and self.rfile.read1(1 << 16):
            pass

    def _reply(self, reply: Reply) -> None:
        self.send(reply.status, reply.body, "application/json", reply.headers)

    def _body(self) -> bytes:
        """Raises TimeoutError, on which the base class hangs up, for a body that takes too long to come."""
        length, end = int(self.headers["Content-Length"]), time.monotonic() + BODY_SECONDS
        body = bytearray()
        while len(body) < length:
            self.connection.settimeout(max(0.001, end - time.monotonic()))
            read = self.rfile.read1(min(length - len(body), 1 << 16))
            if not read:
                raise ConnectionError("the client hung up in the middle of the body")
            body += read
        self.connection.settimeout(self.timeout)
        return bytes(body)
