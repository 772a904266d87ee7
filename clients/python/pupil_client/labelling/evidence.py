"""What a promise about labels stands on: the model's answers on labelled images, told by the server or by a file."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from pupil_client import messages
from pupil_client.client import Client
from pupil_client.errors import NotCertified
from pupil_client.labelling.asking import require_answered_by
from pupil_client.labelling.ledger import Line
from pupil_client.labelling.promise import Promise, in_words, persistent, what_would_do
from pupil_client.labelling.ranking import fdr_certificate
from pupil_client.results import Certificate, ModelInfo
from pupil_client.retries import persistently
from pupil_proto.v1 import inference_pb2 as pb


@dataclass(frozen=True)
class Answers:
    """Confidences, and how many images were given each class, in the order of the model's classes."""

    confidence: Sequence[float]
    predicted: Sequence[int]

    @classmethod
    def of(cls, lines: Iterable[Line], classes: Sequence[str]) -> "Answers":
        """Those of a labelled pool; an image that could not be read has none."""
        confidence, predicted = array("d"), Counter[str]()
        for line in lines:
            if line[3] is not None:
                confidence.append(line[3])
                predicted[line[2]] += 1
        return cls(confidence, [predicted[name] for name in classes])


@dataclass(frozen=True)
class Verdict:
    """What decides about each label: one certificate, or one for each class that has its own."""

    certificate: Certificate
    by_class: Mapping[str, Certificate] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)  # what the labels file says of all of them

    def of(self, label: str | None) -> Certificate:
        """The certificate that a label must keep."""
        return self.by_class.get(label or "", self.certificate)

    def spelled(self, label: str | None) -> dict[str, Any]:
        """The same as a cell of the labels file."""
        nothing = {"signature": None, "shift_p_value": None, "shift_allowed": False}
        return {**asdict(self.of(label)), **nothing, **self.about}

    def in_words(self) -> str:
        """`at precision ≥ 0.99 with confidence 0.95`, and what else is to be known of it."""
        promised = in_words(self.certificate) + (" in each class" if self.by_class else "")
        if not self.about.get("shift_allowed"):
            return promised
        shift = self.about.get("shift_p_value")
        unlike = "nobody knows whether these images are" if shift is None else f"these images are not (p = {shift:.1g})"
        return f"{promised} for images like the calibration images, and {unlike}"


class Evidence(Protocol):
    """Decides about a pool once all of it is labelled."""

    @property
    def answers(self) -> Answers | None:
        """On the calibration set, to compare the pool with; None where nothing is promised."""
        ...

    def decide(self, pool: Answers) -> Verdict:
        """What holds for this pool."""
        ...


@dataclass(frozen=True)
class ServerEvidence:
    """That of the bundle behind a server."""

    promise: Promise
    certificate: Certificate
    answers: Answers | None
    at: Callable[[float], Certificate] = field(repr=False)

    def decide(self, pool: Answers) -> Verdict:
        """FDR is about the pool as a whole; whatever else is promised was known before."""
        if self.promise.guarantee != "fdr":
            return Verdict(self.certificate)
        return Verdict(fdr_certificate(pool.confidence, precision=self.promise.precision, certificate_at=self.at))


def ask_for_evidence(client: Client, model: ModelInfo, promise: Promise, *, patience: float) -> ServerEvidence:
    """What the server can promise before it sees an image. Raises NotCertified, ModelChanged, PupilError."""

    def ask(promise: Promise) -> pb.PseudoLabelResponse:
        plan = messages.label_plan(model=model.exactly, **asdict(promise), scores=False)
        plan.calibration = promise.promises
        requests = [pb.PseudoLabelRequest(plan=plan)]
        found = persistently(lambda: list(client.pseudo_label_messages(iter(requests))), persistent(patience))
        only = messages.only_response(found)
        require_answered_by(model, only.answered_by)
        return only

    def at(threshold: float) -> Certificate:
        return messages.certificate(ask(Promise("fixed", threshold=min(threshold, 1.0))).certificate)

    def lesser(precision: float) -> Certificate:
        return messages.certificate(ask(replace(promise, precision=precision)).certificate)

    try:
        first = ask(promise)
    except NotCertified as error:
        raise NotCertified(f"{error}{what_would_do(promise.precision, lesser)}") from None
    told = first.calibration
    answers = Answers(tuple(told.confidence), tuple(told.predicted)) if first.HasField("calibration") else None
    return ServerEvidence(promise, messages.certificate(first.certificate), answers, at)
