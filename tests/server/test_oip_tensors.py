from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import serialize_byte_tensor

from pupil_proto.oip.v2 import infer_pb2 as pb
from pupil_server.bundle_facts import InputSize
from pupil_server.errors import BadRequest
from pupil_server.oip.tensors import read_images

SIZE = InputSize(height=2, width=2, channels=1)
KINDS = st.sampled_from(["UINT8", "FP32", "BYTES", "INT64"])


def request(datatype: str, shape: list[int], raw: bytes) -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="images", datatype=datatype, shape=shape)
    return pb.ModelInferRequest(inputs=[tensor], raw_input_contents=[raw])


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=9), st.booleans())
def test_encoded_files_are_read_as_another_client_writes_them(files: list[bytes], column: bool) -> None:
    raw = serialize_byte_tensor(np.array(files, np.object_)).item()
    assert read_images(request("BYTES", [len(files), 1] if column else [len(files)], raw), SIZE) == files


@given(st.lists(st.integers(0, 255), min_size=4, max_size=4))
def test_every_pixel_survives_as_a_float(values: list[int]) -> None:
    raw = np.array(values, "<f4").tobytes()
    read = read_images(request("FP32", [1, 2, 2, 1], raw), SIZE)
    assert (read.dtype, read.ravel().tolist()) == (np.uint8, values)


@given(st.lists(st.floats(width=32), min_size=4, max_size=4))
def test_a_float_that_is_no_pixel_is_refused_whatever_it_is(values: list[float]) -> None:
    asked = request("FP32", [1, 2, 2, 1], np.array(values, "<f4").tobytes())
    if all(value in range(256) for value in values):
        assert read_images(asked, SIZE).ravel().tolist() == values
    else:
        with pytest.raises(BadRequest, match="whole numbers from 0 to 255"):
            read_images(asked, SIZE)


@given(KINDS, st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 4), max_size=5), st.binary(max_size=40))
def test_any_shape_and_bytes_are_read_or_refused_in_words(datatype: str, shape: list[int], raw: bytes) -> None:
    with suppress(BadRequest):
        assert len(read_images(request(datatype, shape, raw), SIZE)) == shape[0]
