from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from pupil_server.errors import BadRequest
from pupil_server.multipart import multipart

BOUNDARY = "~edge-7f3a~"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_what_was_put_in_comes_out_line_ends_and_all(files: list[bytes]) -> None:
    edge = f"--{BOUNDARY}".encode()
    parts = [edge + b'\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + file + b"\r\n" for file in files]
    assert multipart(FORM, b"".join(parts) + edge + b"--\r\n") == files


@given(st.binary(max_size=60), st.sampled_from([FORM, 'multipart/form-data; boundary="x"', "multipart/form-data"]))
def test_any_body_is_read_or_refused(body: bytes, content_type: str) -> None:
    with suppress(BadRequest):
        assert isinstance(multipart(content_type, body), list)
