"""One HTTP/2 connection: a session on a socket, its flow, its floods and its age."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, cast

from pupil_server.alarm import NEVER
from pupil_server.call import Call
from pupil_server.errors import Code, ProtocolViolation, PupilError
from pupil_server.logs import call_id
from pupil_server.method import Failure
from pupil_server.nghttp2.binding import ENHANCE_YOUR_CALM, Block, ProtocolError, block
from pupil_server.nghttp2.head import NOT_GRPC, Head
from pupil_server.nghttp2.metadata import status_headers
from pupil_server.nghttp2.server_call import RESPONSE, Refused, ServerCall
from pupil_server.nghttp2.session import Headers, Http2Session
from pupil_server.nghttp2.single_call import SingleCall
from pupil_server.nghttp2.stream_call import StreamCall
from pupil_server.turn import Stage, this_turn

if TYPE_CHECKING:
    from pupil_server.nghttp2.front import NgHttp2Front

log = logging.getLogger("pupil.nghttp2")


class Connection(asyncio.Protocol):
    """The door of its calls. What they answer within one turn of the loop leaves in one write."""

    session: Http2Session

    def __init__(self, front: "NgHttp2Front") -> None:
        self._front, self.dispatcher, self.limits, self.held = front, front.dispatcher, front.limits, front.held
        self.loop = asyncio.get_running_loop()
        self._turn = this_turn()
        self._headers: Headers = []  # of the last call, which the next one mostly repeats
        self._head: Head | Block = NOT_GRPC
        self.begin_soon = front.arrivals.add
        self._flushing = self._choked = self._leaving = False
        self._born = self._heard = self._busy = self._counted = time.monotonic()
        self._announced_at = NEVER
        self._asked = self._choked_since = self._left_at = 0.0
        self._patience = float(self.limits.oddities)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._peer = _name(transport.get_extra_info("peername"))
        tls = transport.get_extra_info("ssl_object")
        if len(self._front.connections) >= self.limits.connections or (tls and tls.selected_alpn_protocol() != "h2"):
            self._transport.abort()
            return
        self.session = Http2Session(self.limits, self._front.options, self._open)
        self._front.connections.add(self)
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        if self in self._front.connections:
            self._front.left(self)
            self.session.free()

    def data_received(self, data: bytes) -> None:
        """What comes of this read is done in it if the last one was ours too: others that come can share a batch."""
        if self not in self._front.connections:
            return
        self._heard = time.monotonic()
        last, self._front.last_read = self._front.last_read, self
        self._turn.hold()
        try:
            self._receive(data)
            self.flush_soon()
        finally:
            self._turn.release(at_once=last is self)

    def _receive(self, data: bytes) -> None:
        try:
            self.session.receive(data)
        except ProtocolError as error:
            log.info("%s is cut off: %s", self._peer, error)
            self.session.terminate(ENHANCE_YOUR_CALM)
        self._count_oddities()

    def flush_soon(self) -> None:
        """Once, when this turn of the loop ends, however many calls ask."""
        if not self._flushing:
            self._flushing = True
            self._turn.at_end(Stage.WRITE, self._flush)

    def pause_writing(self) -> None:
        """The peer does not read: then nothing more of it is read either."""
        self._choked, self._choked_since = True, time.monotonic()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._choked = False
        self._transport.resume_reading()
        self.flush_soon()

    def announce_end(self) -> None:
        """Asks the peer to make its next calls elsewhere; those that come all the same are served for a while."""
        self._announced_at = time.monotonic()
        self.session.announce_end()
        self.flush_soon()

    def leave(self) -> None:
        """Serves the calls inside and no others, then closes."""
        if not self._leaving:
            self._leaving, self._left_at = True, time.monotonic()
            self.session.refuse_more()
            self.flush_soon()

    def end(self) -> None:
        """Closes now; whoever is inside hears so."""
        for call in list(self.session.streams.values()):
            call.fail(Failure(Code.UNAVAILABLE, "the server is shutting down; try another one"))
        self._flush()
        if self in self._front.connections:
            self.session.terminate()
            self._flush()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def look(self, now: float) -> None:
        """Once a second: what has waited too long ends, or is asked whether it is still there."""
        limits, streams = self.limits, list(self.session.streams.values())
        for call in streams:
            call.look(now)
        if streams:
            self._busy = now
        silent = now - self._heard
        if (
            (self._choked and now - self._choked_since > limits.stalled)
            or (not self.session.spoke and now - self._born > limits.hello)
            or silent > limits.ping_after + limits.pong_within
        ):
            return self._transport.abort()
        if silent > limits.ping_after and self._asked < self._heard:
            self._asked = now
            self.session.ping()
        if self._leaving and now - self._left_at > limits.grace:
            return self.end()
        if now - self._announced_at >= limits.look_every:
            self.leave()
        elif self._announced_at == NEVER and (now - self._born > limits.age or now - self._busy > limits.idle):
            self.announce_end()
        self.flush_soon()

    def _open(self, number: int, headers: Headers | None) -> ServerCall | Refused:
        """The stream of a request; one that cannot be a call is answered here."""
        try:
            if headers is None:
                raise ProtocolViolation(
                    Code.RESOURCE_EXHAUSTED,
                    f"the headers of the call are larger than {self.limits.header_bytes:,} bytes",
                )
            if headers != self._headers:
                self._head = self._front.head(tuple(headers))
                self._headers = headers
        except PupilError as error:
            return self._refused(number, block(*RESPONSE, *status_headers(self.dispatcher.failure(error))))
        if isinstance(self._head, Block):
            return self._refused(number, self._head)
        method, packed, left, metadata = self._head
        call = Call(method.path, self._heard + left, self._peer, metadata, id=call_id(metadata))
        kind = StreamCall if method.both_streams else SingleCall
        return kind(self, number, method, call, since=self._heard, packed=packed)

    def _refused(self, number: int, answer: Block) -> Refused:
        self.session.respond(number, answer, body=False)
        return Refused(answer)

    def _count_oddities(self) -> None:
        """Frames that nothing explains use patience up, and time gives it back."""
        now, limits = self._heard, self.limits
        regained = (now - self._counted) * limits.oddities_a_second
        self._counted = now
        self._patience = min(limits.oddities, self._patience + regained - self.session.oddities)
        self.session.oddities = 0
        if self._patience < 0:
            log.info("%s is cut off: too many frames that carry nothing", self._peer)
            self.session.terminate(ENHANCE_YOUR_CALM)

    def _flush(self) -> None:
        self._flushing = False
        if self not in self._front.connections:
            return
        try:
            more = True
            while more and not self._choked:
                data, more = self.session.outgoing()
                if data:
                    self._transport.write(data)
        except ProtocolError as error:
            log.error("%s is cut off: %s", self._peer, error)
            self._transport.abort()
        if self.session.over and not self._transport.is_closing():
            self._transport.close()


def _name(address: Any) -> str:
    """The peer in the form that grpcio uses."""
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
    return "unix:"
