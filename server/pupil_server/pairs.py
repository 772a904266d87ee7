"""A student and its teacher."""

import numpy as np
from numpy.typing import NDArray

from pupil_proto.v1 import inference_pb2 as pb
from pupil_server.errors import BadRequest, NotPossible
from pupil_server.model import LoadedModel


def teacher_of(student: LoadedModel, asked: pb.CompareRequest | pb.Cascade) -> pb.ModelSpec:
    """The teacher that was asked for, or else the one that the student's bundle names, by its newest version.

    Raises NotPossible where it names none.
    """
    if asked.HasField("teacher"):
        return asked.teacher
    if student.facts.teacher is None:
        raise NotPossible(f"{student} names no teacher; say which model is to be it")
    return pb.ModelSpec(name=student.facts.teacher.name)


def require_same_classes(student: LoadedModel, teacher: LoadedModel) -> None:
    if student.facts.classes != teacher.facts.classes:
        raise BadRequest(
            f"{student} has classes {list(student.facts.classes)}, {teacher} has {list(teacher.facts.classes)}; "
            "only models with the same classes in the same order can be student and teacher"
        )


def kl_divergence(teacher: NDArray[np.float32], student: NDArray[np.float32]) -> NDArray[np.float64]:
    """KL(teacher || student) in nats, of each row (N,) of two score arrays (N, K)."""
    tiny = np.finfo(np.float32).tiny  # a score that underflowed to 0 must not make the answer infinite
    t, s = (np.maximum(scores.astype(np.float64), tiny) for scores in (teacher, student))
    divergence: NDArray[np.float64] = (t * (np.log(t) - np.log(s))).sum(axis=1)
    return np.maximum(divergence, 0.0)
