"""Requests built and answers read, of pupil.v1's Inference: the body that `Client` and `AsyncClient` share.

Those of Models are in `model_messages.py`. No input or output in either.
"""

from collections.abc import Sequence

from pupil_client.errors import BadRequest, PupilError, ServerError, from_stream
from pupil_client.images import RawImage, images_message
from pupil_client.results import (
    AnsweredBy,
    Cascade,
    Certificate,
    Comparison,
    Prediction,
    PseudoLabel,
    ScoredClass,
)
from pupil_proto.v1 import inference_pb2 as pb

GUARANTEES = {"pac": pb.GUARANTEE_PAC, "fdr": pb.GUARANTEE_FDR, "fixed": pb.GUARANTEE_FIXED, "none": pb.GUARANTEE_NONE}
GUARANTEE_NAMES = {value: name for name, value in GUARANTEES.items()}
GOALS = {
    "disagreement": pb.CASCADE_GOAL_DISAGREEMENT,
    "worse": pb.CASCADE_GOAL_WORSE,
    "accuracy": pb.CASCADE_GOAL_ACCURACY,
}
ROUTE_NAMES = {value: name.removeprefix("ROUTE_").lower() for name, value in pb.Route.items()}


def model_spec(model: str) -> pb.ModelSpec:
    """Which model answers: `student` (its newest version), `student/2` or `student@stable` (an alias).

    Behind a colon may stand the precision of its weights, as in `student:int8`; without, the server chooses.
    """
    which, colon, precision = model.partition(":")
    if colon and not precision:
        raise BadRequest(f"model {model!r}: a precision is missing after the :")
    name, slash, version = which.partition("/")
    if slash:
        return pb.ModelSpec(name=name, version=_whole_number(model, version), precision=precision)
    name, at, alias = which.partition("@")
    if at and not alias:
        raise BadRequest(f"model {model!r}: an alias is missing after the @")
    return pb.ModelSpec(name=name, alias=alias if at else None, precision=precision)


def _whole_number(model: str, version: str) -> int:
    if not version.isdecimal() or int(version) < 1:
        raise BadRequest(f"model {model!r}: the version after the / is a whole number from 1 on, not {version!r}")
    return int(version)


def classify_request(
    images: Sequence[RawImage], *, model: str, top_k: int, scores: bool, cascade: Cascade | None = None
) -> pb.ClassifyRequest:
    """The best `top_k` classes of a few images, in a cascade by `model` or its teacher."""
    request = pb.ClassifyRequest(model=model_spec(model), images=images_message(images), top_k=top_k, scores=scores)
    if cascade is not None:
        request.cascade.CopyFrom(_cascade(cascade))
    return request


def _cascade(asked: Cascade) -> pb.Cascade:
    if not isinstance(asked, Cascade):  # a bare limit, as the command line takes it
        raise BadRequest(f"cascade: a Cascade is wanted, such as Cascade(limit=0.01), not {asked!r}")
    if asked.goal not in GOALS:
        raise BadRequest(f"cascade goal {asked.goal!r}: one of {', '.join(GOALS)} is wanted")
    teacher = model_spec(asked.teacher) if asked.teacher else None
    return pb.Cascade(
        teacher=teacher,
        goal=GOALS[asked.goal],
        limit=asked.limit,
        delta=asked.delta,
        student_alone=asked.student_alone,
    )


def compare_request(
    images: Sequence[RawImage], *, student: str, teacher: str | None, top_k: int, scores: bool
) -> pb.CompareRequest:
    """Both models on a few images; without a teacher, the one that the student's bundle names."""
    request = pb.CompareRequest(student=model_spec(student), images=images_message(images), top_k=top_k, scores=scores)
    if teacher is not None:
        request.teacher.CopyFrom(model_spec(teacher))
    return request


def label_plan(
    *, model: str, precision: float, delta: float, guarantee: str, threshold: float | None, scores: bool
) -> pb.LabelPlan:
    """Under which promise a label is accepted."""
    if guarantee not in GUARANTEES:
        raise BadRequest(f"guarantee {guarantee!r}: one of {', '.join(GUARANTEES)} is wanted")
    if guarantee == "fixed" and threshold is None:
        raise BadRequest("guarantee 'fixed' accepts from a threshold on: give that too")
    if guarantee != "fixed" and threshold is not None:
        raise BadRequest(f"a threshold goes with guarantee 'fixed', and guarantee {guarantee!r} finds its own")
    plan = pb.LabelPlan(model=model_spec(model), guarantee=GUARANTEES[guarantee], scores=scores)
    if guarantee in ("pac", "fdr"):
        plan.precision = precision
    if guarantee == "pac":
        plan.delta = delta
    if threshold is not None:
        plan.threshold = threshold
    return plan


def predictions(response: pb.ClassifyResponse, images: int) -> list[Prediction]:
    """One prediction for each of so many images, in order."""
    _require_one_each(len(response.predictions), images)
    by = answered_by(response.answered_by)
    if not response.routes:
        return [_prediction(prediction, by) for prediction in response.predictions]
    _require_one_each(len(response.routes), images)
    teacher = answered_by(response.teacher)
    return [
        _prediction(prediction, teacher if route == pb.ROUTE_TEACHER else by, ROUTE_NAMES.get(route, "unknown"))
        for prediction, route in zip(response.predictions, response.routes, strict=True)
    ]


def streamed_prediction(response: pb.ClassifyResponse) -> Prediction | PupilError:
    """The prediction of a request with one image, or the error in its place."""
    if response.HasField("error"):
        return from_stream(response.error.code, response.error.message)
    return predictions(response, 1)[0]


def comparisons(response: pb.CompareResponse, images: int) -> list[Comparison]:
    """One comparison for each of so many images, in order."""
    _require_one_each(len(response.comparisons), images)
    student, teacher = answered_by(response.student), answered_by(response.teacher)
    return [
        Comparison(_prediction(each.student, student), _prediction(each.teacher, teacher), each.agree, each.kl)
        for each in response.comparisons
    ]


def _require_one_each(answers: int, images: int) -> None:
    if answers != images:  # whose answer each one is, nobody could say
        raise ServerError(f"{answers} answers came back for {images} images; is this a Pupil server?")


def pseudo_labels(response: pb.PseudoLabelResponse, promise: Certificate) -> list[PseudoLabel]:
    """One label an image, in order."""
    by = answered_by(response.answered_by)
    return [_pseudo_label(label, promise, by) for label in response.labels]


def _pseudo_label(label: pb.PseudoLabel, promise: Certificate, by: AnsweredBy) -> PseudoLabel:
    if label.HasField("error"):
        return PseudoLabel(prediction=None, accepted=False, certificate=promise, error=label.error.message)
    return PseudoLabel(_prediction(label.prediction, by), label.accepted, promise, error=None)


def answered_by(by: pb.AnsweredBy) -> AnsweredBy:
    """Who answered."""
    return AnsweredBy(by.model, by.version, by.precision, by.fingerprint, by.queue_seconds, by.compute_seconds)


def certificate(found: pb.Certificate) -> Certificate:
    """The promise and its counts."""
    return Certificate(
        guarantee=GUARANTEE_NAMES.get(found.guarantee, "none"),
        precision=found.precision,
        delta=found.delta,
        threshold=found.threshold,
        calibration=found.calibration,
        accepted=found.accepted,
        wrong=found.wrong,
        p_value=found.p_value,
        coverage=found.coverage,
        fingerprint=found.fingerprint,
    )


def only_response(responses: Sequence[pb.PseudoLabelResponse]) -> pb.PseudoLabelResponse:
    """What a stream without images is answered by."""
    if not responses:
        raise ServerError("no certificate came back: the server is older than this client")
    return responses[0]


def best_class(found: pb.Prediction) -> pb.ScoredClass:
    """The first of a prediction's classes. Raises ServerError where there is none."""
    if not found.top:
        raise ServerError("a prediction without a class came back; is this a Pupil server?")
    return found.top[0]


def _prediction(found: pb.Prediction, by: AnsweredBy, route: str = "") -> Prediction:
    best = best_class(found)
    top = tuple(ScoredClass(each.label, each.index, each.score) for each in found.top)
    return Prediction(best.label, best.score, top, tuple(found.scores), by, route)
