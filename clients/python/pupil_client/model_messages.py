"""Requests built and answers read, of pupil.v1's Models. No input or output here."""

from collections.abc import Iterator, Sequence

from pupil_client.errors import BadRequest
from pupil_client.messages import certificate, model_spec
from pupil_client.results import ModelInfo, Seen, Watch
from pupil_proto.v1 import models_pb2 as pb
from pupil_proto.v1.inference_pb2 import ModelSpec

SEEN_AT_ONCE = 65_536  # images of one request, as the server allows them
STATE_NAMES = {value: name.removeprefix("STATE_").lower() for name, value in pb.State.items()}


def load_request(model: str, *, keep_others: bool, aside: bool) -> pb.LoadModelRequest:
    """Loads `student/2`, or the newest version of `student`."""
    spec = _name_and_version(model)
    return pb.LoadModelRequest(name=spec.name, version=spec.version, keep_others=keep_others, aside=aside)


def unload_request(model: str) -> pb.UnloadModelRequest:
    """Unloads `student/2`, or every version of `student`."""
    spec = _name_and_version(model)
    return pb.UnloadModelRequest(name=spec.name, version=spec.version)


def _name_and_version(model: str) -> ModelSpec:
    spec = model_spec(model)
    if spec.alias or spec.precision:
        raise BadRequest(f"model {model!r}: name the version (name/version), not an alias or a precision")
    return spec


def model_info(found: pb.ModelInfo) -> ModelInfo:
    """One version in the repository."""
    return ModelInfo(
        name=found.name,
        version=found.version,
        state=STATE_NAMES.get(found.state, "unknown"),  # a newer server may have more of them
        reason=found.reason,
        aliases=tuple(found.aliases),
        classes=tuple(found.classes),
        height=found.height,
        width=found.width,
        channels=found.channels,
        precision=found.precision,
        device=found.device,
        fingerprint=found.fingerprint,
        teacher=found.teacher,
        certificates=tuple(certificate(each) for each in found.certificates),
        created=found.created,
        max_batch_images=found.max_batch_images,
        nodes=dict(found.nodes),
        precisions=tuple(found.precisions),
        by_name=found.by_name,
    )


def watch(found: pb.Watch) -> Watch:
    """What was seen of a student's traffic."""
    return Watch(
        model=found.model,
        version=found.version,
        precision=found.precision,
        fingerprint=found.fingerprint,
        teacher=found.teacher,
        compared=found.compared,
        disagreed=found.disagreed,
        disagreement=(found.disagreement_low, found.disagreement_high),
        mean_kl=found.mean_kl,
        classes={each.label: (each.compared, each.agreed) for each in found.classes},
        images=found.images,
        evidence=dict(sorted(found.evidence.items())),
        alarms=tuple(found.alarms),
        lapsed=found.lapsed,
    )


def seen_requests(model: str, marks: Sequence[int]) -> Iterator[pb.SeenRequest]:
    """Asks about as many images as there are, at least once."""
    for start in range(0, max(1, len(marks)), SEEN_AT_ONCE):
        some = marks[start : start + SEEN_AT_ONCE]
        yield pb.SeenRequest(model=model_spec(model), images=some)


def seen(answers: Sequence[pb.SeenResponse]) -> Seen:
    """The answers to those requests as one."""
    places = [(number * SEEN_AT_ONCE, answer) for number, answer in enumerate(answers)]
    return Seen(
        answers[0].trained_on,
        tuple(start + place for start, answer in places for place in answer.labelled),
        tuple(start + place for start, answer in places for place in answer.unlabelled),
        tuple(answers[0].missing),
    )
