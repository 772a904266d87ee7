"""Requests that are spelled in every way that protobuf allows, and some that it does not: PUPIL_FUZZ sets how many."""

import os
import random
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from pupil_proto.oip.v2 import infer_pb2 as oip
from pupil_proto.v1 import inference_pb2 as pb
from pupil_server.method import Failure

REQUESTS = int(os.environ.get("PUPIL_FUZZ", "1500"))
CLASSIFY, INFER = "pupil.v1.Inference/Classify", "inference.GRPCInferenceService/ModelInfer"
ODD_NUMBERS = [float("nan"), float("inf"), float("-inf"), -0.0, 256.0, 255.5, -1.0, 1e-40, 1e30]


class Speller:
    """Writes messages field by field, mostly in the usual form."""

    def __init__(self, seed: int) -> None:
        self.fate = random.Random(seed)
        self.choice = self.fate.choice

    def often(self, usual: object, *others: object):
        return usual if self.fate.random() < 0.8 else self.choice(others)

    def number(self, value: int) -> bytes:
        spelled = bytearray()
        while value > 0x7F:
            spelled.append(value & 0x7F | 0x80)
            value >>= 7
        spelled.append(value)
        if len(spelled) < 4 and self.fate.random() < 0.01:  # longer than it need be
            spelled[-1] |= 0x80
            spelled.append(0)
        return bytes(spelled)

    def field(self, number: int, value: bytes | int) -> bytes:
        if isinstance(value, int):
            return self.number(number << 3) + self.number(value & 2**64 - 1)
        return self.number(number << 3 | 2) + self.number(len(value)) + value

    def message(self, *fields: tuple[int, bytes | int]) -> bytes:
        spelled = [self.field(*field) for field in fields]
        if self.fate.random() < 0.05:
            self.fate.shuffle(spelled)
        if self.fate.random() < 0.05:
            spelled.insert(self.fate.randrange(len(spelled) + 1), self.stranger())
        if self.fate.random() < 0.02:
            spelled.append(self.choice(spelled))
        if self.fate.random() < 0.02:
            spelled.pop()
        return b"".join(spelled)

    def stranger(self) -> bytes:
        """A field that is not known, or is of another kind."""
        number = self.choice([1, 2, 3, 7, 15, 16, 2000]) << 3
        tails = {0: b"\x05", 1: bytes(8), 2: b"\x02\x08\x01", 3: self.number(number | 4), 5: bytes(4), 6: b""}
        kind = self.choice(list(tails))
        return self.number(number | kind) + tails[kind]

    def pixels(self, images: int) -> bytes:
        return self.fate.randbytes(images * 108)

    def classify(self) -> bytes:
        images = self.choice([1, 1, 2, 3, 8, 9])
        shape = [
            self.often(side, 0, 1, 18, 2**32 - 1) if self.fate.random() < 0.1 else side for side in (images, 6, 6, 3)
        ]
        pixels = self.message((1, self.pixels(images)), *enumerate(shape, start=2))
        which: tuple[int, bytes | int] = self.often((2, 1), (2, 0), (2, 2), (3, b"stable"))
        model = self.message((1, self.often(b"student", b"teacher", b"", b"\xff")), which)
        asked = (3, self.choice([0, 1, 2, 3, 4, 5, 2**32 - 1, 2**40 + 1])), (4, self.choice([0, 1, 7]))
        return self.message((1, model), (2, self.message((2, pixels))), *asked)

    def infer(self) -> bytes:
        images, kind = self.choice([1, 1, 2, 3, 8, 9]), self.often("UINT8", "FP32", "INT8")
        raw = self.pixels(images)
        if kind == "FP32":
            values = np.frombuffer(raw, np.uint8).astype("<f4")
            values[0] = self.often(values[0], *ODD_NUMBERS)
            raw = values.tobytes()
        shape = [self.often(side, -side, 2**40) if self.fate.random() < 0.05 else side for side in (images, 6, 6, 3)]
        packed = b"".join(self.number(side & 2**64 - 1) for side in shape)
        sides = self.often([(3, packed)], [(3, side) for side in shape])
        tensor = self.message((1, self.often(b"images", b"image")), (2, kind.encode()), *sides)
        outputs = [(6, self.message((1, self.choice([b"scores", b"logits"]))))] * self.choice([0, 0, 1, 2])
        id = self.choice([b"", b"7", b"id-%03d" % self.fate.randrange(999), b"\xc3\xa9", b"\xff\xfe", b"x" * 2000])
        version = self.often(b"1", b"", b"01", b"2", b"one")
        return self.message((1, b"student"), (2, version), (3, id), (5, tensor), *outputs, (7, raw))

    def damaged(self, request: bytes) -> bytes:
        """Another byte somewhere, now and then."""
        if not request or self.fate.random() < 0.8:
            return request
        place = self.fate.randrange(len(request))
        return request[:place] + self.fate.randbytes(1) + request[place + 1 :]


def read(path: str, answer: bytes) -> pb.ClassifyResponse | oip.ModelInferResponse:
    if path == INFER:
        return oip.ModelInferResponse.FromString(answer)
    response = pb.ClassifyResponse.FromString(answer)
    response.answered_by.queue_seconds = response.answered_by.compute_seconds = 0
    return response


@pytest.mark.parametrize(("path", "make"), [(CLASSIFY, Speller.classify), (INFER, Speller.infer)])
def test_what_is_answered_at_once_is_what_the_usual_way_answers(serving, path: str, make: Callable) -> None:
    async def usually(served, request: bytes) -> bytes | None:
        try:
            return await served.usually(path, request)
        except Failure:
            return None

    async def story(served) -> None:
        speller, seen = Speller(seed=1), Counter[str]()
        for _ in range(REQUESTS // 5):
            few = [make(speller) for _ in range(3)]
            requests: Sequence[bytes] = [speller.damaged(speller.choice(few)) for _ in range(5)]
            for request, answer in zip(requests, served.at_once(path, *requests), strict=True):
                usual = await usually(served, request)
                if answer is not None:
                    assert usual is not None, request
                    assert read(path, answer) == read(path, usual), request
                seen[f"{'left' if answer is None else 'answered'}, {'refused' if usual is None else 'right'}"] += 1
        assert min(seen["answered, right"], seen["left, refused"]) > REQUESTS / 10

    serving(story)
