"""One shard over one stream: messages out, a line an image back, tried again where that helps."""

import hashlib
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pupil_client import messages
from pupil_client.client import Client
from pupil_client.errors import BadRequest, DeadlineExceeded, Overloaded, PupilError, ServerError, Unavailable
from pupil_client.images import Packer, RawImage
from pupil_client.labelling.ledger import Line
from pupil_client.labelling.pace import Pace
from pupil_client.labelling.pictures import Picture, Unreadable
from pupil_client.labelling.png import png
from pupil_client.labelling.promise import TRIES, Promise
from pupil_client.results import ModelInfo
from pupil_client.retries import Attempts, RetryBudget
from pupil_proto.v1 import inference_pb2 as pb

RETRIES = 1000.0  # of one job, beside a tenth of its shards


class ModelChanged(PupilError):
    """Another model answers than the one that the job was begun with."""


def require_answered_by(model: ModelInfo, by: pb.AnsweredBy) -> None:
    """Raises ModelChanged where it was another model."""
    if by.fingerprint != model.fingerprint:
        raise ModelChanged(
            f"{model.name}/{model.version} was replaced while it labelled: begun with fingerprint "
            f"{model.fingerprint[:12]}, answered by {by.fingerprint[:12]}; load the one before again"
        )


class Sent(NamedTuple):
    """An image that is on its way, or was never sent because it cannot be read."""

    name: str
    sha256: str | None
    error: str | None


class Asker:
    """Labels shards; its only state is what the server can take. Used by many threads."""

    def __init__(
        self,
        client: Client,
        model: ModelInfo,
        promise: Promise,
        *,
        patience: float,
        progress: Callable[[int], object],
        say: Callable[[str], object] = lambda words: None,
    ) -> None:
        self.pace = Pace()
        self.stopped = threading.Event()
        self._client = client
        self._model = model
        self._plan = _plan(model, promise)
        self._patience = patience
        self._progress = progress
        self._say = say
        self._one_at_a_time = threading.Lock()
        self._budget = RetryBudget(RETRIES)
        self._again = threading.Lock()

    def progress(self, images: int) -> None:
        """So many more images are done; fewer than none where they are asked for again."""
        with self._one_at_a_time:
            self._progress(images)

    def label(self, pictures: Sequence[Picture]) -> list[Line]:
        """A line for each picture, in order: name, SHA-256, label, confidence, accepted, scores, error.

        Raises PupilError once asking again is in vain.
        """
        try:
            return self._measured(pictures)
        except PupilError as problem:
            with self._again:  # one stream finds out whether a server is back, not all of them at once
                return self._ask_again(pictures, problem)

    def _ask_again(self, pictures: Sequence[Picture], problem: PupilError) -> list[Line]:
        attempts = Attempts(tries=TRIES, timeout=self._patience, budget=self._budget)
        told = False
        while True:
            self._wait_after(problem, attempts)
            try:
                return self._measured(pictures)
            except PupilError as another:
                problem = another
            if not told and isinstance(problem, Unavailable):
                self._say(f"{problem}; asking again for at most {attempts.left():.0f} s")
                told = True

    def _measured(self, pictures: Sequence[Picture]) -> list[Line]:
        started = time.monotonic()
        lines = self._ask(pictures)
        self._budget.earn()
        self.pace.labelled(len(lines), time.monotonic() - started)
        return lines

    def _wait_after(self, problem: PupilError, attempts: Attempts) -> None:
        if self.stopped.is_set():
            raise problem
        if isinstance(problem, Unavailable | Overloaded | DeadlineExceeded):
            self.pace.refused()
        if isinstance(problem, BadRequest | DeadlineExceeded) and self.pace.send_fewer():
            return  # what is refused, or late, in a large message may pass in a small one
        pause = attempts.pause_after(problem)
        if pause is None:
            raise problem
        self.stopped.wait(pause)

    def _ask(self, pictures: Sequence[Picture]) -> list[Line]:
        sent: deque[Sent] = deque()  # filled in gRPC's thread, emptied here
        lines: list[Line] = []
        try:
            for response in self._client.pseudo_label_messages(self._requests(pictures, sent)):
                require_answered_by(self._model, response.answered_by)
                for label in response.labels:
                    while sent and sent[0].error is not None:
                        lines.append(_line(sent.popleft(), None))
                    if not sent:
                        raise ServerError("the server sent more labels than it was sent images")
                    lines.append(_line(sent.popleft(), label))
                self.progress(len(response.labels))
        except PupilError:
            self.progress(-sum(line[1] is not None for line in lines))
            raise
        if self.stopped.is_set() or any(each.error is None for each in sent):
            raise Unavailable("the stream ended before its last answer")
        lines += [_line(each, None) for each in sent]
        self.progress(sum(line[1] is None for line in lines))
        return lines

    def _requests(self, pictures: Sequence[Picture], sent: "deque[Sent]") -> Iterator[pb.PseudoLabelRequest]:
        yield pb.PseudoLabelRequest(plan=self._plan)
        packer = Packer(self.pace.message_images)
        for picture in pictures:
            if self.stopped.is_set():
                return
            try:
                image = picture.read()
                fitting = self._fitting(image)
            except Unreadable as error:
                sent.append(Sent(picture.name, None, str(error)))
                continue
            sent.append(Sent(picture.name, hashlib.sha256(image.data).hexdigest(), None))
            for full in packer.add(fitting):
                yield pb.PseudoLabelRequest(images=full)
        for full in packer.rest():
            yield pb.PseudoLabelRequest(images=full)

    def _fitting(self, image: RawImage) -> RawImage:
        """Pixels travel as they are where they have the model's size, and else as a file."""
        size = (self._model.height, self._model.width, self._model.channels)
        return image if image.shape in (None, size) else png(image)


def _plan(model: ModelInfo, promise: Promise) -> pb.LabelPlan:
    """What a shard is asked under: FDR is decided over all shards, so each of them accepts everything."""
    return messages.label_plan(
        model=model.exactly,
        guarantee="none" if promise.guarantee == "fdr" else promise.guarantee,
        precision=promise.precision,
        delta=promise.delta,
        threshold=promise.threshold,
        scores=True,
    )


def _line(image: Sent, label: pb.PseudoLabel | None) -> Line:
    name = image.name.encode(errors="surrogateescape").decode(errors="replace")  # a path may be no text in UTF-8
    if label is None or label.HasField("error"):
        error = label.error.message if label else image.error
        return [name, image.sha256, None, None, False, None, error]
    found = label.prediction
    best = messages.best_class(found)
    scores = array("f", found.scores).tobytes().hex()  # exact, and ten times faster than as decimals
    return [name, image.sha256, best.label, best.score, label.accepted, scores, None]
