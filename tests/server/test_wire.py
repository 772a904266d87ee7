"""Against protobuf's own serialisation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pupil_proto.oip.v2.infer_pb2 import ModelInferRequest
from pupil_proto.v1.inference_pb2 import ClassifyRequest, Images, ModelSpec, Pixels
from pupil_server.wire import MOST_FIELDS, ahead, place

DATA = (2, 2, 1)
numbers = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 3_000_000])
def test_what_stands_before_bytes_is_what_protobuf_writes(length: int) -> None:
    message = Pixels(data=bytes(length) or None).SerializeToString() if length else b"\x0a\x00"
    assert ahead(b"\x0a", length) + bytes(length) == message


@given(st.binary(min_size=1), numbers, numbers, st.text(max_size=200), numbers, st.booleans())
def test_a_field_is_found_where_protobuf_put_it(
    data: bytes, count: int, height: int, name: str, top_k: int, scores: bool
) -> None:
    pixels = Pixels(data=data, count=count, height=height)
    request = ClassifyRequest(model=ModelSpec(name=name), images=Images(pixels=pixels), top_k=top_k, scores=scores)
    written = request.SerializeToString()
    found = place(written, DATA)
    assert found is not None
    start, end = found
    assert written[start:end] == data
    request.images.pixels.data = bytes(byte ^ 0xFF for byte in data)
    assert request.SerializeToString() == written[:start] + request.images.pixels.data + written[end:]


def test_a_field_that_is_missing_or_there_twice_or_among_very_many_is_not_found() -> None:
    once = ClassifyRequest(images=Images(pixels=Pixels(data=b"one"))).SerializeToString()
    assert place(once, DATA)
    assert place(ClassifyRequest(top_k=3).SerializeToString(), DATA) is None
    assert place(once + once, DATA) is None
    raws = [ModelInferRequest(raw_input_contents=[b"x"] * number).SerializeToString() for number in (1, 2, 100_000)]
    assert [place(raw, (7,)) is not None for raw in raws] == [True, False, False]
    assert place(b"\x18\x01" * MOST_FIELDS + once, DATA) is None


@given(st.binary(max_size=60), st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_bytes_that_are_no_message_end_the_search_and_what_is_found_lies_inside(data: bytes, path: list[int]) -> None:
    found = place(data, tuple(path))
    assert found is None or 0 <= found[0] <= found[1] <= len(data)


@given(st.data())
def test_of_a_message_that_is_cut_off_nothing_is_found_or_what_was_there_before(data) -> None:
    whole = ClassifyRequest(images=Images(pixels=Pixels(data=b"0123456789", count=1)), top_k=300).SerializeToString()
    cut = data.draw(st.integers(0, len(whole)))
    assert place(whole[:cut], DATA) in (None, place(whole, DATA))
