"""Asks a Pupil server to classify, label and compare images: `Client` for threads, `AsyncClient` for asyncio."""

from pupil_client.aio import AsyncClient
from pupil_client.client import Client
from pupil_client.errors import (
    BadRequest,
    DeadlineExceeded,
    NotCertified,
    NotFound,
    NotPossible,
    Overloaded,
    PermissionDenied,
    PupilError,
    ServerError,
    ServerTooOld,
    Unauthenticated,
    Unavailable,
)
from pupil_client.images import Image
from pupil_client.results import (
    AnsweredBy,
    Cascade,
    Certificate,
    Comparison,
    ModelInfo,
    Prediction,
    PseudoLabel,
    ScoredClass,
    Seen,
    Watch,
)

__all__ = [  # noqa: RUF022  # in order of use
    "Client",
    "AsyncClient",
    "Image",
    "Prediction",
    "ScoredClass",
    "AnsweredBy",
    "Cascade",
    "PseudoLabel",
    "Certificate",
    "Comparison",
    "ModelInfo",
    "Watch",
    "Seen",
    "PupilError",
    "BadRequest",
    "NotFound",
    "NotPossible",
    "NotCertified",
    "Unauthenticated",
    "PermissionDenied",
    "Overloaded",
    "DeadlineExceeded",
    "Unavailable",
    "ServerError",
    "ServerTooOld",
]
