"""The client for programs with threads; `AsyncClient` in `aio.py` is its other face."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypedDict, Unpack, overload

from pupil_client import messages, model_messages
from pupil_client.caller import Caller
from pupil_client.errors import PupilError
from pupil_client.images import Image, Packer, is_one, raw_image, raw_images
from pupil_client.results import Cascade, Certificate, Comparison, ModelInfo, Prediction, PseudoLabel, Seen, Watch
from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import models_pb2 as models_pb

LOAD_SECONDS = 120.0  # reading, checking and warming a large model takes its time


class Classify(TypedDict, total=False):
    """The options of `classify`, which says what each means."""

    top_k: int
    scores: bool
    cascade: Cascade | None
    timeout: float | None


class Compare(TypedDict, total=False):
    """The options of `compare`."""

    teacher: str | None
    top_k: int
    scores: bool
    timeout: float | None


class Client(Caller):
    """Asks a Pupil server to classify, label and compare images.

    A model is named `student` (its newest version), `student/2` or `student@stable` (an alias). An image is the
    bytes of a file, its `Path`, or an array of uint8 pixels (height × width, or height × width × channels). One
    image in gives one answer, a list gives a list. Every call ends: with its answer, or with a `PupilError` after
    at most `timeout` seconds; on a stream that many seconds of silence. Calls that change nothing are tried up to
    `tries` times where the server is unavailable or overloaded. `token` goes with each call; without TLS, in the
    clear. `tls` is `True`, or a PEM file with authorities; `certificate` and `key` are the client's own.

        with Client("localhost:50051") as client:
            print(client.classify(Path("cat.jpg"), model="student").label)
    """

    @overload
    def classify(self, images: Image, *, model: str, **how: Unpack[Classify]) -> Prediction: ...

    @overload
    def classify(self, images: Sequence[Image], *, model: str, **how: Unpack[Classify]) -> list[Prediction]: ...

    def classify(
        self,
        images: Image | Sequence[Image],
        *,
        model: str,
        top_k: int = 5,
        scores: bool = False,
        cascade: Cascade | None = None,
        timeout: float | None = None,
    ) -> Prediction | list[Prediction]:
        """The best `top_k` classes of one image or of several; with `scores` also the whole distribution.

        In a `cascade`, `model` is the student, and each prediction's `route` says who answered and why.
        Raises `NotPossible` where too little is proven of the two models.
        """
        asked = raw_images(images)
        request = messages.classify_request(asked, model=model, top_k=top_k, scores=scores, cascade=cascade)
        found = messages.predictions(self._ask(self._inference.Classify, request, timeout), len(asked))
        return found[0] if is_one(images) else found

    def classify_stream(
        self,
        images: Iterable[Image],
        *,
        model: str,
        top_k: int = 5,
        scores: bool = False,
        cascade: Cascade | None = None,
        timeout: float | None = None,
    ) -> Iterator[Prediction | PupilError]:
        """One answer an image, in order, while images still go out; an image that fails gives its error instead."""
        requests = (
            messages.classify_request([raw_image(image)], model=model, top_k=top_k, scores=scores, cascade=cascade)
            for image in images
        )
        for response in self._converse(self._inference.ClassifyStream, requests, timeout):
            yield messages.streamed_prediction(response)

    def pseudo_label(
        self,
        images: Iterable[Image],
        *,
        model: str,
        precision: float = 0.99,
        delta: float = 0.05,
        guarantee: str = "pac",
        threshold: float | None = None,
        scores: bool = False,
        timeout: float | None = None,
    ) -> Iterator[PseudoLabel]:
        """A label or an abstention for every image, in order, all under one promise.

        `guarantee` is `pac` (with probability 1 - `delta`, at least `precision` of the accepted labels are right),
        `fdr` (in expectation at least `precision` of this pool's accepted labels are right; the answers come when
        all images are out), `fixed` (accepted from `threshold` on) or `none`. Raises `NotCertified` where the
        model's calibration images cannot carry the promise.
        """
        plan = messages.label_plan(
            model=model, precision=precision, delta=delta, guarantee=guarantee, threshold=threshold, scores=scores
        )
        promise = None
        for response in self._converse(self._inference.PseudoLabel, _label_requests(plan, images), timeout):
            promise = promise or messages.certificate(response.certificate)
            yield from messages.pseudo_labels(response, promise)

    def pseudo_label_messages(self, requests: Iterator[pb.PseudoLabelRequest]) -> Iterator[pb.PseudoLabelResponse]:
        """The stream behind `pseudo_label`, for those who pack and read its messages themselves."""
        return self._converse(self._inference.PseudoLabel, requests, None)

    def certificate(
        self,
        *,
        model: str,
        precision: float = 0.99,
        delta: float = 0.05,
        guarantee: str = "pac",
        threshold: float | None = None,
    ) -> Certificate:
        """What the labels of `pseudo_label` would promise; no image is sent. Raises `NotCertified`.

        Under `fdr` the threshold depends on the pool, and is 2 here: nothing is accepted of an empty one.
        """
        plan = messages.label_plan(
            model=model, precision=precision, delta=delta, guarantee=guarantee, threshold=threshold, scores=False
        )
        responses = list(self.pseudo_label_messages(_label_requests(plan, [])))
        return messages.certificate(messages.only_response(responses).certificate)

    @overload
    def compare(self, images: Image, *, student: str, **how: Unpack[Compare]) -> Comparison: ...

    @overload
    def compare(self, images: Sequence[Image], *, student: str, **how: Unpack[Compare]) -> list[Comparison]: ...

    def compare(
        self,
        images: Image | Sequence[Image],
        *,
        student: str,
        teacher: str | None = None,
        top_k: int = 5,
        scores: bool = False,
        timeout: float | None = None,
    ) -> Comparison | list[Comparison]:
        """Both models on the same images; without `teacher`, the one that the student's bundle names."""
        asked = raw_images(images)
        request = messages.compare_request(asked, student=student, teacher=teacher, top_k=top_k, scores=scores)
        found = messages.comparisons(self._ask(self._inference.Compare, request, timeout), len(asked))
        return found[0] if is_one(images) else found

    def models(self) -> list[ModelInfo]:
        """Every version in the repository, by name, then version."""
        found = self._ask(self._models.List, models_pb.ListModelsRequest())
        return [model_messages.model_info(info) for info in found.models]

    def model(self, model: str) -> ModelInfo:
        """One loaded version in full."""
        request = models_pb.GetModelRequest(model=messages.model_spec(model))
        return model_messages.model_info(self._ask(self._models.Get, request))

    def load(
        self, model: str, *, keep_others: bool = False, aside: bool = False, timeout: float = LOAD_SECONDS
    ) -> ModelInfo:
        """Loads and checks `student/2` (or the newest `student`), then points the name at it; never tried twice.

        With `keep_others` no version is unloaded; `aside` leaves the name, too, where it is.
        """
        request = model_messages.load_request(model, keep_others=keep_others, aside=aside)
        return model_messages.model_info(self._ask(self._models.Load, request, timeout, tries=1))

    def unload(self, model: str, *, timeout: float = LOAD_SECONDS) -> None:
        """Finishes what is in flight on `student/2` (or on every `student`), then frees it; never tried twice."""
        self._ask(self._models.Unload, model_messages.unload_request(model), timeout, tries=1)

    def set_alias(self, name: str, alias: str, version: int | None) -> None:
        """Points `name@alias` at a loaded version; `None` removes the alias. Never tried twice."""
        request = models_pb.SetAliasRequest(name=name, alias=alias, version=version or 0)
        self._ask(self._models.SetAlias, request, tries=1)

    def watch(self, model: str) -> Watch:
        """What was seen of a student's traffic. Raises `NotFound` for a model that is not watched."""
        request = models_pb.GetWatchRequest(model=messages.model_spec(model))
        return model_messages.watch(self._ask(self._models.GetWatch, request))

    def reset_watch(self, model: str) -> Watch:
        """Forgets that, and the alarms; never tried twice."""
        request = models_pb.ResetWatchRequest(model=messages.model_spec(model))
        return model_messages.watch(self._ask(self._models.ResetWatch, request, tries=1))

    def seen(self, marks: Sequence[int], *, model: str) -> Seen:
        """Which images a model was trained on; a mark is what `pupil_trust.mark` makes of an image's SHA-256."""
        requests = model_messages.seen_requests(model, marks)
        return model_messages.seen([self._ask(self._models.Seen, request) for request in requests])

    def health(self, model: str = "") -> bool:
        """Whether the model, or without a name the server, answers requests now (`grpc.health.v1`)."""
        return self._ask(self._check, model)


def _label_requests(plan: pb.LabelPlan, images: Iterable[Image]) -> Iterator[pb.PseudoLabelRequest]:
    yield pb.PseudoLabelRequest(plan=plan)
    packer = Packer()
    for image in images:
        for full in packer.add(raw_image(image)):
            yield pb.PseudoLabelRequest(images=full)
    for full in packer.rest():
        yield pb.PseudoLabelRequest(images=full)
