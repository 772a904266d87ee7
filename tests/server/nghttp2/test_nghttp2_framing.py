import gzip
import itertools
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pupil_server.errors import Code, ProtocolViolation
from pupil_server.method import Failure
from pupil_server.nghttp2.framing import MessageReader, framed, gunzip
from pupil_server.nghttp2.metadata import metadata, seconds, status_headers


@given(st.lists(st.binary(max_size=300), max_size=6), st.lists(st.integers(0, 2000), max_size=12))
def test_however_the_bytes_are_split_the_same_messages_come_out(bodies: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(framed(body) for body in bodies)
    places = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    reader, found = MessageReader(1000), []
    for first, last in itertools.pairwise(places):
        found += reader.feed(wire[first:last])
    assert [message.body for message in found] == bodies
    assert not any(message.compressed for message in found)
    assert not reader.inside


def test_a_message_in_tiny_chunks_takes_little_more_memory_than_its_bytes() -> None:
    body = bytes(range(250)) * 400
    reader = MessageReader(len(body))
    reader.feed(framed(body)[:5])
    tracemalloc.start()
    try:
        for first in range(0, len(body) - 2, 2):
            reader.feed(body[first : first + 2])
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < 2 * len(body)
    assert reader.feed(body[-2:])[0].body == body


def test_a_message_too_large_is_refused_on_its_first_five_bytes() -> None:
    with pytest.raises(ProtocolViolation, match="1,001 bytes, at most 1,000") as raised:
        MessageReader(1000).feed(struct.pack(">BI", 0, 1001))
    assert raised.value.code == Code.RESOURCE_EXHAUSTED


def test_a_message_that_begins_with_neither_0_nor_1_is_refused() -> None:
    with pytest.raises(ProtocolViolation, match="begins with 2"):
        MessageReader(1000).feed(struct.pack(">BI", 2, 1))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"no gzip", "is none"),
        (gzip.compress(b"x" * 100)[:-9], "ends in the middle"),
        (gzip.compress(bytes(1001)), "at least 1,001 bytes"),
        (gzip.compress(bytes(100_000_000)), "at least 1,001 bytes"),
    ],
    ids=["none", "cut off", "large", "a bomb"],
)
def test_gzip_that_is_broken_or_a_bomb_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(ProtocolViolation, match=says):
        gunzip(body, 1000)


def test_gzip_within_the_limit_is_read() -> None:
    assert gunzip(gzip.compress(bytes(1000)), 1000) == bytes(1000)


def test_every_unit_of_a_timeout_is_known_and_nonsense_is_refused() -> None:
    spelt = {b"2H": 7200, b"3M": 180, b"99999999S": 99_999_999, b"10m": 0.01, b"5u": 5e-6, b"7n": 7e-9}
    assert {text: seconds(text, 1.0) for text in spelt} == pytest.approx(spelt)
    assert seconds(None, 4.5) == 4.5
    for nonsense in (b"", b"5", b"S", b"-1S", b"123456789S", b"1.5S", b"1s"):
        with pytest.raises(ProtocolViolation, match="grpc-timeout"):
            seconds(nonsense, 1.0)


def test_a_handler_sees_the_callers_own_headers_and_bytes_where_they_are_binary() -> None:
    headers = {
        b":path": b"/a/b",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
        b"grpc-timeout": b"1S",
        b"user-agent": b"me",
        b"trace-bin": b"AAE",  # senders may leave the padding out
        b"padded-bin": b"AAE=",
    }
    assert metadata(headers) == {"user-agent": "me", "trace-bin": b"\0\1", "padded-bin": b"\0\1"}
    with pytest.raises(ProtocolViolation, match="metadata x-bin: not base64"):
        metadata({b"x-bin": b"!!!!"})


def test_a_status_goes_on_the_wire_in_printable_ascii_and_binary_trailers_in_base64() -> None:
    failure = Failure(Code.NOT_FOUND, "100 % Größe\n", {"retry-after-ms": "5", "grpc-status-details-bin": b"\0\1"})
    assert status_headers(failure) == [
        (b"grpc-status", b"5"),
        (b"grpc-message", b"100 %25 Gr%C3%B6%C3%9Fe%0A"),
        (b"retry-after-ms", b"5"),
        (b"grpc-status-details-bin", b"AAE"),
    ]
