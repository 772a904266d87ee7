"""The one input tensor of a request to pixels, or to encoded files."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pupil_proto.oip.v2 import infer_pb2 as pb
from pupil_server.bundle_facts import InputSize
from pupil_server.errors import BadRequest
from pupil_server.oip.names import IMAGES
from pupil_server.oip.parameters import refuse
from pupil_server.reading import whole_pixels

MOST_FILES = 16_384  # encoded images a request: their lengths are read one by one, on the event loop
MOST_SIDES = 8
KINDS: dict[str, np.dtype[np.uint8] | np.dtype[np.float32]] = {"UINT8": np.dtype(np.uint8), "FP32": np.dtype("<f4")}
MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF")


def read_images(request: pb.ModelInferRequest, size: InputSize) -> NDArray[np.uint8] | list[bytes]:
    """Pixels (N, H, W, C) from UINT8 or FP32, files from BYTES. Raises BadRequest: what was found, what is wanted."""
    tensor, raw = only_input(request)
    if len(tensor.shape) > MOST_SIDES:
        raise BadRequest(f"{IMAGES}: a shape of {len(tensor.shape):,} sides")
    shape = list(tensor.shape)
    if tensor.datatype == "BYTES":
        return _files(tensor, raw, shape)
    wanted = list(size.shape)
    if shape[1:] != wanted or shape[0] < 1:
        raise BadRequest(f"{IMAGES}: shape {shape}, the model wants [N, {', '.join(map(str, wanted))}]")
    if tensor.datatype == "UINT8":
        flat = _elements(tensor.contents.uint_contents, raw, KINDS["UINT8"], shape)
    elif tensor.datatype == "FP32":
        flat = _elements(tensor.contents.fp32_contents, raw, KINDS["FP32"], shape)
    else:
        raise BadRequest(f"{IMAGES}: datatype {tensor.datatype!r}; UINT8, BYTES (encoded files) or FP32 is wanted")
    return whole_pixels(flat).reshape(shape)


def only_input(request: pb.ModelInferRequest) -> tuple[pb.ModelInferRequest.InferInputTensor, bytes | None]:
    """The tensor, and its bytes where it is not typed: read here once, because every look at them copies."""
    inputs = request.inputs
    if len(inputs) != 1 or inputs[0].name != IMAGES:
        found = repr(inputs[0].name) if len(inputs) == 1 else f"{len(inputs)} of them"
        raise BadRequest(f"inputs: {found}; one is wanted, named {IMAGES}")
    tensor = inputs[0]
    refuse(tensor.parameters, of=IMAGES)
    raws = request.raw_input_contents
    if not raws:
        return tensor, None
    if tensor.HasField("contents"):
        raise BadRequest(f"{IMAGES}: both contents and raw_input_contents; send one of them")
    if len(raws) != 1:
        raise BadRequest(f"raw_input_contents: {len(raws)} of them for 1 input")
    return tensor, raws[0]


def _elements(typed: Sequence[float], raw: bytes | None, kind: np.dtype[Any], shape: list[int]) -> NDArray[Any]:
    """The flat elements; `typed` ones wider than `kind`, because the lists hold nothing narrower."""
    count = 1
    for side in shape:  # whole numbers without an end, where NumPy's would wrap around
        count *= side
    if raw is not None:
        if len(raw) != count * kind.itemsize:
            raise BadRequest(f"{IMAGES}: {len(raw):,} bytes, shape {shape} takes {count * kind.itemsize:,}")
        return np.frombuffer(raw, kind)
    if len(typed) != count:
        raise BadRequest(f"{IMAGES}: {len(typed):,} elements in contents, shape {shape} takes {count:,}")
    return np.array(typed, np.float64)


def _files(tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes | None, shape: list[int]) -> list[bytes]:
    if len(shape) not in (1, 2) or shape[1:] not in ([], [1]) or not 1 <= shape[0] <= MOST_FILES:
        raise BadRequest(f"{IMAGES}: shape {shape}; encoded files come as [N] or [N, 1], N at most {MOST_FILES:,}")
    files = list(tensor.contents.bytes_contents) if raw is None else _split(raw, shape[0])
    if len(files) != shape[0]:
        raise BadRequest(f"{IMAGES}: {len(files):,} elements, shape {shape} takes {shape[0]:,}")
    return files


def _split(raw: bytes, most: int) -> list[bytes]:
    """The elements of a raw BYTES tensor, each behind its length; one more than `most` where more bytes follow."""
    files: list[bytes] = []
    at = 0
    while at < len(raw) and len(files) <= most:
        start = at + 4
        at = start + int.from_bytes(raw[at:start], "little")
        if start > len(raw) or at > len(raw):
            if raw.startswith(MAGIC):
                raise BadRequest(f"{IMAGES}: an image file without its length before it (4 bytes, little-endian)")
            raise BadRequest(f"{IMAGES}: element {len(files) + 1} ends behind the tensor's {len(raw):,} bytes")
        files.append(raw[start:at])
    return files
