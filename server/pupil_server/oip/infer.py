"""ModelInfer, and ModelStreamInfer as many of them on one stream."""

import functools
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from pupil_proto.oip.v2 import infer_pb2 as pb
from pupil_proto.v1.inference_pb2 import Images
from pupil_server.answers import written
from pupil_server.at_once import AnswerRows, Question
from pupil_server.call import Call
from pupil_server.errors import PupilError
from pupil_server.model import LoadedModel
from pupil_server.oip.names import OUTPUTS, model_spec
from pupil_server.oip.outputs import EVERYTHING, Answers, Wanted
from pupil_server.oip.parameters import time_limit
from pupil_server.oip.tensors import KINDS, only_input, read_images
from pupil_server.repository import Repository
from pupil_server.streams import in_order
from pupil_server.work import Answer

FINAL = "triton_final_response"


class InferHandlers:
    def __init__(self, repository: Repository, *, default_deadline: float) -> None:
        self._repository = repository
        self._default_deadline = default_deadline
        self._answers: WeakKeyDictionary[LoadedModel, Answers] = WeakKeyDictionary()

    def plain(self, request: bytes, id: bytes) -> Question | None:
        """What a ModelInfer asks that may be answered at once: about pixels, whole tensors, no time limit."""
        read = pb.ModelInferRequest.FromString(request)
        if read.id.encode() != id or time_limit(read.parameters) < math.inf or not all(map(_is_whole, read.outputs)):
            return None
        tensor, raw = only_input(read)
        kind = KINDS.get(tensor.datatype)
        shape = tuple(tensor.shape)
        if kind is None or raw is None or len(shape) != 4 or min(shape) < 1:
            return None
        if len(raw) != math.prod(shape) * kind.itemsize:
            return None
        wanted = tuple(Wanted(output.name) for output in read.outputs) or EVERYTHING
        write = functools.partial(self._write, wanted=wanted)
        return Question(model_spec(read.model_name, read.model_version), shape, kind, write)

    async def infer(self, request: pb.ModelInferRequest, call: Call) -> pb.ModelInferResponse:
        limit = time_limit(request.parameters) if request.parameters else math.inf
        if limit == math.inf:
            return await self._infer(request, call)
        async with call.limited(limit) as limited:
            return await self._infer(request, limited)

    async def stream(
        self, requests: AsyncIterator[pb.ModelInferRequest], call: Call
    ) -> AsyncGenerator[pb.ModelStreamInferResponse, None]:
        """One answer a request, each within the default deadline or the stream's own, whichever comes first."""
        errors_end_it = call.metadata.get("triton_grpc_error") == "true"

        async def one(request: pb.ModelInferRequest) -> pb.ModelStreamInferResponse:
            try:
                async with call.limited(self._default_deadline) as limited:
                    answer = await self.infer(request, limited)
            except PupilError as error:
                if errors_end_it:
                    raise
                unanswered = pb.ModelInferResponse(id=request.id)
                return pb.ModelStreamInferResponse(error_message=str(error), infer_response=unanswered)
            answer.parameters[FINAL].bool_param = True
            return pb.ModelStreamInferResponse(infer_response=answer)

        async with aclosing(in_order(requests, one)) as answers:
            async for answer in answers:
                yield answer

    async def _infer(self, request: pb.ModelInferRequest, call: Call) -> pb.ModelInferResponse:
        with self._repository.get(model_spec(request.model_name, request.model_version)) as model:
            answers = self._answers_of(model)
            wanted = answers.wanted(request.outputs)
            images = read_images(request, model.facts.input)
            size = model.require_sendable(len(images), answers.most_bytes(wanted))
            answer = await _predict(model, images, call)
            return await written(lambda: answers.message(request.id, wanted, answer.outputs), size)

    def _answers_of(self, model: LoadedModel) -> Answers:
        return self._answers.get(model) or self._answers.setdefault(model, Answers(model))

    def _write(self, answer: AnswerRows, first: int, last: int, id: bytes, *, wanted: tuple[Wanted, ...]) -> bytes:
        return self._answers_of(answer.model).write(id, wanted, answer.logits, answer.scores, first, last)


def _is_whole(output: pb.ModelInferRequest.InferRequestedOutputTensor) -> bool:
    return output.name in OUTPUTS and not output.parameters


async def _predict(model: LoadedModel, images: list[bytes] | NDArray[np.uint8], call: Call) -> Answer:
    if isinstance(images, list):
        return await model.predict(Images(encoded=images), call)
    return await model.predict_pixels(images, call)
