"""Requests that came in one turn of the event loop and are answered in it: no task, no queue, one run of the model.

That is for plain ones, raw pixels for a small model that is idle. All others are left alone, and counted nowhere, for
the usual way: whatever is wrong with a request is found and told there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pupil_proto.v1.inference_pb2 import ModelSpec
from pupil_server.answers import Rows
from pupil_server.envelopes import Envelopes, Layout
from pupil_server.errors import PupilError
from pupil_server.model import LoadedModel
from pupil_server.reading import whole_pixels
from pupil_server.repository import Repository
from pupil_server.work import Answer

Kind = np.dtype[np.uint8] | np.dtype[np.float32]
Write = Callable[["AnswerRows", int, int, bytes], bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What all requests in one envelope ask: `write` makes the answer's bytes, of rows of an answer and an id."""

    model: ModelSpec
    shape: tuple[int, int, int, int]  # N, H, W, C, as many bytes as there are
    kind: Kind
    write: Write


class AnswerRows:
    """The answer to several requests, whose rows lie one behind the other."""

    _answered_by: bytes | None = None

    def __init__(self, model: LoadedModel, answer: Answer) -> None:
        self.model, self.answer = model, answer
        self.logits, self.scores = Rows(answer.outputs.logits), Rows(answer.outputs.scores)

    def answered_by(self) -> bytes:
        """In a ClassifyResponse, the same for all of them."""
        if self._answered_by is None:
            answer = self.answer
            self._answered_by = self.model.name_writer.write(answer.queue_seconds, answer.compute_seconds)
        return self._answered_by


class _Asked(NamedTuple):
    """One request, and its place among those of the turn."""

    place: int
    question: Question
    request: bytes
    layout: Layout[Question]


class AtOnce:
    """Answers requests of one method, as far as their models can within the turn."""

    def __init__(self, repository: Repository, envelopes: Envelopes[Question]) -> None:
        self._repository, self._envelopes = repository, envelopes

    def __call__(self, requests: Sequence[bytes | None], since: float) -> list[bytes | None]:
        """The answers in order to what came at `since`; None for each request that is left, and for what was none."""
        answers: list[bytes | None] = [None] * len(requests)
        for (model, kind), asked in self._by_model(requests).items():
            while asked and (batch := _first(model, asked, since)):
                if not _answer(model, kind, batch, since, answers):
                    break
                del asked[: len(batch)]
        return answers

    def _by_model(self, requests: Sequence[bytes | None]) -> dict[tuple[LoadedModel, Kind], list[_Asked]]:
        """The requests that can be answered, those together that can share a batch."""
        by_model: dict[tuple[LoadedModel, Kind], list[_Asked]] = {}
        by_question: dict[Question, list[_Asked] | None] = {}
        for place, request in enumerate(requests):
            if not request or not (opened := self._envelopes.open(request)):
                continue
            question, layout = opened
            if question not in by_question:
                model = self._model(question)
                by_question[question] = by_model.setdefault((model, question.kind), []) if model else None
            asked = by_question[question]
            if asked is not None:
                asked.append(_Asked(place, question, request, layout))
        return by_model

    def _model(self, question: Question) -> LoadedModel | None:
        """The one that is asked, if it can take the images."""
        try:
            model = self._repository.get(question.model)
        except PupilError:
            return None
        return model if model.takes_now(question.shape) else None


def _first(model: LoadedModel, asked: Sequence[_Asked], since: float) -> list[_Asked]:
    """The requests at the front that make the next batch; none where there is no time for one."""
    room = model.room_now(sum([one.question.shape[0] for one in asked]), since)
    for number, one in enumerate(asked):
        room -= one.question.shape[0]
        if room < 0:
            return list(asked[:number])
    return list(asked)


def _answer(model: LoadedModel, kind: Kind, batch: Sequence[_Asked], since: float, answers: list[bytes | None]) -> bool:
    """Puts the answers of one batch in their places. False where anything is wrong with it."""
    try:
        values = np.frombuffer(b"".join([one.layout.images(one.request) for one in batch]), kind)
        pixels = whole_pixels(values).reshape(-1, *batch[0].question.shape[1:])
        rows = AnswerRows(model, model.answer_now(pixels, len(batch), since))
    except Exception:  # of the model too: it says it again
        return False
    first = 0
    for place, question, request, layout in batch:
        last = first + question.shape[0]
        answers[place] = question.write(rows, first, last, layout.id(request))
        first = last
    return True
