"""One HTTP/2 session of a server: bytes in, bytes out, streams in between. It knows no socket and no gRPC."""

from collections.abc import Callable
from typing import Any, Protocol

from pupil_server.method import Failure
from pupil_server.nghttp2.binding import (
    ACK,
    DATA,
    DATA_EOF,
    DATA_NO_END_STREAM,
    END_STREAM,
    ERR_DEFERRED,
    ERR_TEMPORAL,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    NO_ERROR,
    PING,
    SETTINGS,
    Block,
    check,
    ffi,
    from_handle,
    lib,
    memmove,
    unpack,
)
from pupil_server.nghttp2.callbacks import callbacks, provider
from pupil_server.nghttp2.limits import PeerLimits

STREAM_WINDOW = 2**20  # a 224 × 224 image needs no second breath
CONNECTION_WINDOW = 16 * 2**20
FRAME_BYTES = 2**18  # one read of asyncio's
PORTION = 2**18  # bytes that are handed to the socket before it is asked whether it has room for more
SHOUTING = 4  # times the limit of header bytes, from where on we no longer read to the end to answer in words

Headers = list[bytes]  # name, value, name, value, …


class Stream(Protocol):
    """What a session tells one stream, and asks it; `fail` and `look` are its connection's."""

    @property
    def trailers(self) -> Block: ...
    def received(self, chunk: bytes) -> None: ...
    def request_ended(self) -> None: ...
    def take(self, room: int) -> tuple[bytes | memoryview, bool]:
        """At most `room` bytes of the answer, and whether they are the last; nothing when there are none now."""
        ...

    def closed(self) -> None: ...
    def fail(self, failure: Failure) -> None: ...
    def look(self, now: float) -> None: ...


class Http2Session:
    """`open_stream(number, headers)` makes the stream of a request; headers are None where they were too large."""

    def __init__(self, limits: PeerLimits, options: Any, open_stream: Callable[[int, Headers | None], Stream]) -> None:
        self.streams: dict[int, Stream] = {}
        self.oddities = 0  # frames that no call explains; the owner looks, and sets it back
        self.spoke = False  # the peer's settings have come
        self._open_stream = open_stream
        self._most_header_bytes = limits.header_bytes
        self._headers: list[bytes] = []
        self._header_bytes = 0
        self._consumed = 0
        self._unended: set[int] = set()  # streams whose request goes on
        self._answered: set[int] = set()  # some of these, whose answer is complete, sent or not
        self._handle = ffi.new_handle(self)
        self._out = ffi.new("const char **")
        made = ffi.new("nghttp2_session **")
        check(lib.nghttp2_session_server_new2(made, CALLBACKS, self._handle, options))
        self._session = made[0]
        settings = [
            (MAX_CONCURRENT_STREAMS, limits.streams),
            (INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (MAX_FRAME_SIZE, FRAME_BYTES),
            (MAX_HEADER_LIST_SIZE, limits.header_bytes),
        ]
        check(lib.nghttp2_submit_settings(self._session, 0, settings, len(settings)))
        check(lib.nghttp2_session_set_local_window_size(self._session, 0, 0, CONNECTION_WINDOW))

    def receive(self, data: bytes) -> None:
        """Raises ProtocolError once the peer cannot be talked to any more."""
        check(lib.nghttp2_session_mem_recv(self._session, data, len(data)))
        if self._consumed > CONNECTION_WINDOW // 4:
            # Of the connection's window every byte is given back: one stream must not stop the others.
            lib.nghttp2_session_consume_connection(self._session, self._consumed)
            self._consumed = 0

    def outgoing(self) -> tuple[bytes, bool]:
        """Some of what is to be sent now, and whether there is more."""
        parts, size, session, out = [], 0, self._session, self._out
        while size < PORTION:
            written = lib.nghttp2_session_mem_send(session, out)
            if written > 0:
                parts.append(unpack(out[0], written))
                size += written
            elif self._answered:
                self._stop_requests()
            else:
                check(written)
                return b"".join(parts), False
        return b"".join(parts), True

    @property
    def over(self) -> bool:
        """Whether nothing more will be read or written."""
        return not (lib.nghttp2_session_want_read(self._session) or lib.nghttp2_session_want_write(self._session))

    def respond(self, stream: int, headers: Block, *, body: bool) -> None:
        """Answers; with a body the stream is asked for it, and its trailers follow."""
        lib.nghttp2_submit_response(self._session, stream, headers.array, headers.size, PROVIDER if body else ffi.NULL)
        if not body and stream in self._unended:
            self._answered.add(stream)

    def resume(self, stream: int) -> None:
        """There is something to take from this stream again."""
        lib.nghttp2_session_resume_data(self._session, stream)

    def grant(self, stream: int, size: int) -> None:
        """Lets the sender of this stream send `size` bytes more."""
        lib.nghttp2_session_consume_stream(self._session, stream, size)

    def reset(self, stream: int, error: int) -> None:
        lib.nghttp2_submit_rst_stream(self._session, 0, stream, error)

    def ping(self) -> None:
        lib.nghttp2_submit_ping(self._session, 0, ffi.NULL)

    def announce_end(self) -> None:
        """Asks the peer to open its next streams elsewhere; those that are on their way are still served."""
        lib.nghttp2_submit_shutdown_notice(self._session)

    def refuse_more(self) -> None:
        """Serves the streams that are open, and no other: the peer may repeat those elsewhere."""
        last = lib.nghttp2_session_get_last_proc_stream_id(self._session)
        lib.nghttp2_submit_goaway(self._session, 0, last, NO_ERROR, ffi.NULL, 0)

    def terminate(self, error: int = NO_ERROR) -> None:
        """Says goodbye; then nothing is read any more."""
        lib.nghttp2_session_terminate_session(self._session, error)

    def free(self) -> None:
        """The last call: every stream hears that it is closed."""
        lib.nghttp2_session_del(self._session)
        self._session = ffi.NULL  # which the library would not survive: nobody may call after this
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            stream.closed()

    def _open(self, stream: int, *, ended: int) -> None:
        self.oddities -= 2  # what a peer may send beside a request, its window updates above all
        if not ended:
            self._unended.add(stream)
        fits = self._header_bytes <= self._most_header_bytes
        self.streams[stream] = self._open_stream(stream, self._headers if fits else None)

    def _stop_requests(self) -> None:
        """Of streams whose answer is out, and whose request goes on: nobody will read it."""
        for stream in self._answered & self._unended:
            lib.nghttp2_submit_rst_stream(self._session, 0, stream, NO_ERROR)
        self._answered.clear()


def _on_begin_headers(_: Any, frame: Any, handle: Any) -> int:
    session: Http2Session = from_handle(handle)
    session._headers, session._header_bytes = [], 0
    return 0


def _on_header(
    _: Any, frame: Any, name: Any, name_size: int, value: Any, value_size: int, flags: int, handle: Any
) -> int:
    session: Http2Session = from_handle(handle)
    size = session._header_bytes = session._header_bytes + name_size + value_size + 32
    if size <= session._most_header_bytes:
        session._headers.extend((unpack(name, name_size), unpack(value, value_size)))
        return 0
    return 0 if size <= SHOUTING * session._most_header_bytes else ERR_TEMPORAL


def _on_frame(_: Any, frame: Any, handle: Any) -> int:
    kind, ended = frame.type, frame.flags & END_STREAM
    if kind == DATA and not ended and frame.length:
        return 0  # most frames of large requests
    session: Http2Session = from_handle(handle)
    number = frame.stream_id
    if kind == DATA:
        if not ended:
            session.oddities += 1
            return 0
    elif kind == HEADERS:
        if number not in session.streams:
            session._open(number, ended=ended)
        if not ended:
            return 0
    else:
        session.spoke |= kind == SETTINGS
        session.oddities += not (kind in (SETTINGS, PING) and frame.flags & ACK)
        return 0
    session._unended.discard(number)
    if number in session.streams:
        session.streams[number].request_ended()
    return 0


def _on_data(_: Any, flags: int, number: int, data: Any, size: int, handle: Any) -> int:
    session: Http2Session = from_handle(handle)
    session._consumed += size
    stream = session.streams.get(number)
    if stream:
        stream.received(unpack(data, size))
    return 0


def _on_close(_: Any, number: int, error: int, handle: Any) -> int:
    session: Http2Session = from_handle(handle)
    session._unended.discard(number)
    stream = session.streams.pop(number, None)
    if stream:
        stream.closed()
    return 0


def _on_read(_: Any, number: int, buffer: Any, room: int, flags: Any, source: Any, handle: Any) -> int:
    session: Http2Session = from_handle(handle)
    stream = session.streams[number]
    chunk, last = stream.take(room)
    memmove(buffer, chunk, len(chunk))
    session.oddities -= 2  # the window updates that this may cost
    if last:
        flags[0] = DATA_EOF | DATA_NO_END_STREAM
        trailers = stream.trailers
        lib.nghttp2_submit_trailer(session._session, number, trailers.array, trailers.size)
        if number in session._unended:
            session._answered.add(number)
    return len(chunk) if chunk or last else ERR_DEFERRED


CALLBACKS = callbacks(
    on_begin_headers=_on_begin_headers,
    on_header=_on_header,
    on_frame_recv=_on_frame,
    on_data_chunk_recv=_on_data,
    on_stream_close=_on_close,
)
PROVIDER = provider(_on_read)
