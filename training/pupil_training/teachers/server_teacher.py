"""A running server as a teacher: the one place where training talks to anybody."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pupil_client import Client, PupilError
from pupil_client.images import MAX_BATCH_BYTES, MAX_BATCH_IMAGES
from pupil_training.errors import TeacherError
from pupil_training.models import InputSize
from pupil_training.pixels import to_images

SCHEME = "grpc://"
PATIENCE = 60.0  # seconds for one request and its retries; the server may be at work for others
LEAST = torch.finfo(torch.float32).tiny  # a score of 0 counts as this, or its logarithm would be infinite


class ServerTeacher:
    """`grpc://host:port/model`, `…/model@alias` or `…/model/version`; the version is looked up once and kept.

    A server tells calibrated scores, so its logits are their logarithms and their temperature is 1: softening begins
    at the calibrated scores, where that of a run or bundle begins at its own logits. PUPIL_TOKEN and PUPIL_TLS_CA in
    the environment let us in where a server asks for a token, or TLS.
    """

    model = None  # a server shows no layers
    temperature = 1.0

    def __init__(self, name: str) -> None:
        """Raises TeacherError: written otherwise, no such server or model."""
        self._address, _, model = name.removeprefix(SCHEME).partition("/")
        if not (self._address and model):
            raise TeacherError(f"{name}: a server is named {SCHEME}host:port/model, …/model@alias or …/model/version")
        self._where = name
        ca = os.environ.get("PUPIL_TLS_CA")
        token = os.environ.get("PUPIL_TOKEN")  # as the client's verbs take it; a recipe is no place for a secret
        self._client = Client(self._address, timeout=PATIENCE, token=token, tls=Path(ca) if ca else False)
        with self._one_line_errors("cannot teach"):
            info = self._client.model(model)
        self.name = info.name
        self.classes = info.classes
        self.input = InputSize(info.height, info.width, info.channels)
        self._model = f"{info.name}/{info.version}"
        self._about = {"version": info.version, "fingerprint": info.fingerprint}

    def __call__(self, pixels: Tensor) -> Tensor:
        images = to_images(pixels).cpu()
        at_once = min(MAX_BATCH_IMAGES, max(1, MAX_BATCH_BYTES // images[0].numel()))
        scores = [row for batch in torch.split(images, at_once) for row in self._scores(batch)]
        return torch.tensor(scores, device=pixels.device).clamp_min(LEAST).log()

    def described(self) -> dict[str, Any]:
        return {"name": self.name, "server": self._address, **self._about}

    def _scores(self, images: Tensor) -> list[tuple[float, ...]]:
        with self._one_line_errors("stopped teaching (once it is back, go on with --resume)"):
            answers = self._client.classify(list(images.numpy()), model=self._model, top_k=1, scores=True)
        if any(answer.answered_by.fingerprint != self._about["fingerprint"] for answer in answers):
            raise TeacherError(f"the teacher {self._where}: behind {self._model} there is another model by now")
        return [answer.scores for answer in answers]

    @contextmanager
    def _one_line_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except PupilError as error:
            raise TeacherError(f"the teacher {self._where} {what}: {error}") from error
