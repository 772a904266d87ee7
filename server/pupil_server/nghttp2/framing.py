"""gRPC messages: five bytes of prefix and a body, out of bytes that are split anywhere."""

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from pupil_server.errors import Code, ProtocolViolation

PREFIX = struct.Struct(">BI")  # 1 for a compressed body, and the body's length
GZIP = 16 + zlib.MAX_WBITS
SMALL = 256  # bytes; each of fewer by itself would take several times their memory


class Message(NamedTuple):
    compressed: bool
    body: bytes


def whole_message(chunk: bytes, max_bytes: int) -> Message | None:
    """The message that `chunk` is, all of it and nothing else: most chunks are one."""
    if len(chunk) < PREFIX.size:
        return None
    flag, length = PREFIX.unpack_from(chunk)
    if flag > 1 or PREFIX.size + length != len(chunk) or length > max_bytes:
        return None
    return Message(flag == 1, chunk[PREFIX.size :])


class MessageReader:
    """Turns chunks into messages. Each byte is copied once, when its message is whole; small chunks gather before."""

    _prefix = b""
    _length = -1  # of the body that is being read; unknown while the prefix is
    _missing = 0  # bytes of that body

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes | bytearray | memoryview] = []

    @property
    def inside(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._prefix)

    def feed(self, chunk: bytes) -> Sequence[Message]:
        """The messages that `chunk` completes. Raises ProtocolViolation for an impossible prefix."""
        if len(chunk) < self._missing:  # the middle of a large message
            self._keep(chunk)
            return ()
        if not self._prefix and (message := whole_message(chunk, self._max_bytes)):
            return [message]
        view = memoryview(chunk)
        messages: list[Message] = []
        while True:
            if self._length < 0:
                start = view[: PREFIX.size - len(self._prefix)]
                self._prefix += start
                view = view[len(start) :]
                if len(self._prefix) < PREFIX.size:
                    return messages
                self._length = self._missing = self._checked_length()
            part = view[: self._missing]
            self._keep(part)
            view = view[len(part) :]
            if self._missing:
                return messages
            messages.append(Message(self._prefix[0] == 1, b"".join(self._parts)))
            self._prefix, self._length, self._parts = b"", -1, []

    def _keep(self, part: bytes | memoryview) -> None:
        self._missing -= len(part)
        if len(part) >= SMALL:
            self._parts.append(part)
        elif self._parts and isinstance(last := self._parts[-1], bytearray):
            last += part
        else:
            self._parts.append(bytearray(part))

    def _checked_length(self) -> int:
        flag, length = PREFIX.unpack(self._prefix)
        if flag > 1:
            raise ProtocolViolation(Code.INTERNAL, f"a message begins with {flag}; 0 or 1 is wanted")
        if length > self._max_bytes:
            raise too_large(length, self._max_bytes)
        return int(length)


def framed(body: bytes) -> bytes:
    """The message as it goes on the wire, uncompressed."""
    return PREFIX.pack(0, len(body)) + body


def gunzip(body: bytes, max_bytes: int) -> bytes:
    """Raises ProtocolViolation for what is no gzip, or too much: no more than `max_bytes` is ever unpacked."""
    stream = zlib.decompressobj(GZIP)
    try:
        plain = stream.decompress(body, max_bytes + 1)
    except zlib.error:
        raise ProtocolViolation(Code.INTERNAL, "a message that is marked as gzip is none") from None
    if len(plain) > max_bytes:
        raise too_large(len(plain), max_bytes, "at least ")
    if not stream.eof:
        raise ProtocolViolation(Code.INTERNAL, "a message that is marked as gzip ends in the middle")
    return plain


def too_large(found: int, most: int, about: str = "") -> ProtocolViolation:
    return ProtocolViolation(
        Code.RESOURCE_EXHAUSTED, f"a message of {about}{found:,} bytes, at most {most:,} are allowed"
    )
