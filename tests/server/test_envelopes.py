from collections.abc import Callable

from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from pupil_proto.oip.v2.infer_pb2 import ModelInferRequest
from pupil_server.envelopes import EACH, LARGEST, LENGTHS, MOST, Envelopes
from pupil_server.errors import BadRequest

ID, IMAGES = (3,), (7,)
Read = tuple[str, str]


def infer(name: str = "net", version: str = "", id: str = "", raw: bytes = b"image") -> bytes:
    request = ModelInferRequest(model_name=name, model_version=version, id=id, raw_input_contents=[raw])
    return request.SerializeToString()


def read(request: bytes, id: bytes) -> Read | None:
    """Everything around the images; who asks for the model `other` is not wanted."""
    found = ModelInferRequest.FromString(request)
    if found.model_name == "bad":
        raise BadRequest("no")
    return None if found.model_name == "other" else (found.model_name, found.model_version)


def opened(envelopes: Envelopes[Read], request: bytes) -> tuple[Read, bytes, bytes] | None:
    found = envelopes.open(request)
    return found and (found[0], found[1].id(request), found[1].images(request))


def counting(what: list[bytes]) -> Callable[[bytes, bytes], Read | None]:
    def counted(request: bytes, id: bytes) -> Read | None:
        what.append(request)
        return read(request, id)

    return counted


def test_a_second_request_in_the_same_envelope_is_not_read_and_its_images_and_id_are_its_own() -> None:
    seen: list[bytes] = []
    envelopes = Envelopes(counting(seen), IMAGES, ID)
    assert opened(envelopes, infer(id="17", raw=b"first")) == (("net", ""), b"17", b"first")
    assert opened(envelopes, infer(id="18", raw=b"other")) == (("net", ""), b"18", b"other")
    assert len(seen) == 1
    assert opened(envelopes, infer(id="1", raw=b"longer")) == (("net", ""), b"1", b"longer")  # as long as the others
    assert opened(envelopes, infer(version="2")) == (("net", "2"), b"", b"image")
    assert len(seen) == 3


def test_what_is_not_wanted_is_not_read_again_either() -> None:
    seen: list[bytes] = []
    envelopes = Envelopes(counting(seen), IMAGES, ID)
    assert [envelopes.open(infer("other", raw=raw)) for raw in (b"first", b"other")] == [None, None]
    assert len(seen) == 1


short = st.text(max_size=3)
requests = st.builds(
    infer, name=st.sampled_from(["a", "b", "ab", "other", "bad"]), version=short, id=short, raw=st.binary(max_size=4)
)


@given(st.lists(st.one_of(requests, st.binary(max_size=12)), max_size=40))
def test_whatever_came_before_a_request_is_understood_as_if_it_were_the_first(history: list[bytes]) -> None:
    envelopes = Envelopes(read, IMAGES, ID)
    for request in history:
        assert opened(envelopes, request) == opened(Envelopes(read, IMAGES, ID), request)


@given(st.lists(requests, max_size=40))
def test_what_is_understood_is_what_protobuf_understands(history: list[bytes]) -> None:
    envelopes = Envelopes(read, IMAGES, ID)
    for request in history:
        found, message = opened(envelopes, request), ModelInferRequest.FromString(request)
        if found:
            around, id, images = found
            assert around == (message.model_name, message.model_version)
            assert (id.decode(), images) == (message.id, message.raw_input_contents[0])


def test_an_id_that_is_no_text_is_not_let_through_behind_one_that_is() -> None:
    def strict(request: bytes, id: bytes) -> Read:
        try:
            return read(request, id) or ("", "")
        except DecodeError as error:
            raise BadRequest("no message") from error

    envelopes = Envelopes(strict, IMAGES, ID)
    good = infer(id="ab")
    assert envelopes.open(good)
    assert envelopes.open(good.replace(b"ab", b"\xff\xff")) is None
    assert envelopes.open(good.replace(b"ab", b"cd"))


def test_no_more_is_remembered_than_the_limits_however_much_is_sent() -> None:
    envelopes = Envelopes(read, IMAGES, ID)
    for number in range(3 * LENGTHS):
        envelopes.open(infer(raw=bytes(number)))
    for number in range(3 * EACH):
        envelopes.open(infer(version=f"{number:06}"))
    layouts = envelopes._layouts.values()
    assert len(layouts) <= LENGTHS
    assert max(len(layout.known) for layout in layouts) <= EACH
    assert opened(envelopes, infer(version="1" * LARGEST)) is None


def test_a_request_that_is_too_large_to_be_read_twice_is_not_read_here() -> None:
    seen: list[bytes] = []
    envelopes = Envelopes(counting(seen), IMAGES, ID)
    assert opened(envelopes, infer(raw=bytes(MOST - 100)))
    assert opened(envelopes, infer(raw=bytes(MOST))) is None
    assert len(seen) == 1
