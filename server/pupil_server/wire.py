"""Protobuf's wire format, as far as messages are read and put together by hand: where that saves making objects."""

import functools

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # the kinds of fields, in the lowest three bits of their tags
MOST_FIELDS = 32  # of one message; whoever looks for a place in more of them is not in a hurry


@functools.lru_cache(maxsize=1024)
def ahead(tag: bytes, length: int) -> bytes:
    """What stands before `length` bytes: seven bits of that a byte, the lowest first, and one that says more come."""
    rest = []
    while length > 0x7F:
        rest.append(length & 0x7F | 0x80)
        length >>= 7
    return tag + bytes([*rest, length])


def place(message: bytes, path: tuple[int, ...]) -> tuple[int, int] | None:
    """From where to where the bytes lie that `path` leads to, by the numbers of fields, the outermost first.

    None unless each of them is there just once, in the usual form.
    """
    start, end = 0, len(message)
    for number in path:
        found = _fields(message, start, end, number)
        if found is None or len(found) != 1:
            return None
        start, end = found[0]
    return start, end


def _fields(message: bytes, at: int, end: int, number: int) -> list[tuple[int, int]] | None:
    """Where each field `number` lies between `at` and `end`; None for what is no message, or one of many fields."""
    found: list[tuple[int, int]] = []
    for _ in range(MOST_FIELDS):
        if at == end:
            return found
        tag, at = _varint(message, at, end)
        kind = tag & 7
        if kind == BYTES:
            length, at = _varint(message, at, end)
        elif kind == VARINT:
            length, at = 0, _varint(message, at, end)[1]
        else:
            length = {FIXED64: 8, FIXED32: 4}.get(kind, end)
        if at + length > end:
            return None
        if tag >> 3 == number:
            found.append((at, at + length))
        at += length
    return None


def _varint(message: bytes, at: int, end: int) -> tuple[int, int]:
    """A whole number and where the next one begins, behind the end where it makes no sense."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return number, at
    return number, end + 1
