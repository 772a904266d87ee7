"""Logits and scores to the tensors that were asked for."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pupil_proto.oip.v2 import infer_pb2 as pb
from pupil_server.answers import FLOAT, Rows
from pupil_server.errors import BadRequest
from pupil_server.model import LoadedModel
from pupil_server.oip.names import OUTPUTS
from pupil_server.oip.parameters import refuse, whole_number
from pupil_server.session import Outputs
from pupil_server.wire import ahead

CLASSIFICATION = "classification"
NUMBERS = 20  # bytes before the label of a class, and more than there are
ID, RAW = b"\x1a", b"\x32"  # of ModelInferResponse, on the wire


class Wanted(NamedTuple):
    """One output of a request: the whole tensor, or its `best` classes as text."""

    name: str
    best: int = 0


EVERYTHING = tuple(Wanted(name) for name in OUTPUTS)


class Answers:
    """Builds one model's answers. What does not change from one to the next is built once."""

    def __init__(self, model: LoadedModel) -> None:
        names = pb.ModelInferResponse(model_name=model.facts.model, model_version=str(model.facts.version))
        self._names = names.SerializeToString()
        self._classes = model.facts.classes
        self._longest = np.cumsum(sorted((NUMBERS + len(name.encode()) for name in self._classes), reverse=True))
        self._tensors = functools.lru_cache(maxsize=256)(self._build_tensors)

    def wanted(self, outputs: Sequence[pb.ModelInferRequest.InferRequestedOutputTensor]) -> tuple[Wanted, ...]:
        """What a request asks for: everything where it names nothing. Raises BadRequest."""
        return tuple(self._one_wanted(output) for output in outputs) if outputs else EVERYTHING

    def most_bytes(self, wanted: tuple[Wanted, ...]) -> int:
        """How long the numbers and texts about one image may become."""
        whole = FLOAT * len(self._classes)
        return sum(int(self._longest[one.best - 1]) if one.best else whole for one in wanted)

    def message(self, request_id: str, wanted: tuple[Wanted, ...], outputs: Outputs) -> pb.ModelInferResponse:
        logits, scores = Rows(outputs.logits), Rows(outputs.scores)
        written = self.write(request_id.encode(), wanted, logits, scores, 0, len(outputs.scores))
        return pb.ModelInferResponse.FromString(written)

    def write(
        self, request_id: bytes, wanted: tuple[Wanted, ...], logits: Rows, scores: Rows, first: int, last: int
    ) -> bytes:
        """The bytes of a ModelInferResponse with rows first:last."""
        parts = [self._names]
        if request_id:
            parts += ahead(ID, len(request_id)), request_id
        parts.append(self._tensors(last - first, wanted))
        for one in wanted:
            rows = logits if one.name == "logits" else scores
            if one.best:
                raw = _classification(rows.values[first:last], self._classes, one.best)
            else:
                raw = rows.raw(first * len(self._classes), last * len(self._classes))
            parts += ahead(RAW, len(raw)), raw
        return b"".join(parts)

    def _one_wanted(self, output: pb.ModelInferRequest.InferRequestedOutputTensor) -> Wanted:
        if output.name not in OUTPUTS:
            raise BadRequest(f"outputs: {output.name!r}; the model gives {' and '.join(OUTPUTS)}")
        if not output.parameters:
            return Wanted(output.name)
        refuse(output.parameters, of=output.name, but=(CLASSIFICATION,))
        best = whole_number(output.parameters[CLASSIFICATION], CLASSIFICATION)
        return Wanted(output.name, min(best, len(self._classes)))

    def _build_tensors(self, images: int, wanted: tuple[Wanted, ...]) -> bytes:
        """What an answer says of its outputs, without their numbers."""
        tensors = [
            pb.ModelInferResponse.InferOutputTensor(
                name=one.name,
                datatype="BYTES" if one.best else "FP32",
                shape=[images, one.best or len(self._classes)],
            )
            for one in wanted
        ]
        return pb.ModelInferResponse(outputs=tensors).SerializeToString()


def _classification(values: NDArray[np.float32], classes: tuple[str, ...], best: int) -> bytes:
    """A raw BYTES tensor (N, best) of `value:index:label`, best first."""
    places = np.argsort(-values, axis=1, kind="stable")[:, :best]
    chosen = np.take_along_axis(values, places, axis=1)
    pairs = zip(chosen.ravel().tolist(), places.ravel().tolist(), strict=True)
    texts = [f"{value:f}:{place}:{classes[place]}".encode() for value, place in pairs]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
