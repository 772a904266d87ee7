"""Seen."""

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pupil_proto.v1 import models_pb2 as pb
from pupil_server.bundle import Bundle
from pupil_server.call import Call
from pupil_server.errors import BadRequest, NotPossible
from pupil_server.repository import Repository
from pupil_trust import SEEN, are_among

LABELLED, UNLABELLED = "trained_on.npy", "trained_on.unlabelled.npy"
MOST = 65_536  # images of one request


class SeenHandler:
    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def seen(self, request: pb.SeenRequest, call: Call) -> pb.SeenResponse:
        if len(request.images) > MOST:
            raise BadRequest(f"{len(request.images):,} images in one request, at most {MOST:,} are allowed; send fewer")
        with self._repository.get(request.model) as model:
            return await asyncio.to_thread(_answer, model.bundle, request.images)  # the arrays lie on a disk


def _answer(bundle: Bundle, images: Sequence[int]) -> pb.SeenResponse:
    asked = np.fromiter(images, dtype=SEEN, count=len(images))
    labelled = _marks(bundle, LABELLED)
    return pb.SeenResponse(
        trained_on=len(labelled),
        labelled=np.flatnonzero(are_among(asked, labelled)).tolist(),
        unlabelled=np.flatnonzero(are_among(asked, _marks(bundle, UNLABELLED))).tolist(),
        missing=bundle.facts.trained_on.missing,
    )


def _marks(bundle: Bundle, name: str) -> NDArray[np.uint64]:
    """One of the bundle's arrays (N,), opened anew for each request and read no further than the search goes."""
    if name not in bundle.facts.files:
        return np.empty(0, dtype=SEEN)
    try:
        marks = np.load(bundle.folder / name, mmap_mode="r", allow_pickle=False)
        if (marks.dtype, marks.ndim) != (SEEN, 1):
            raise ValueError(f"{marks.dtype} of {marks.ndim} dimensions")
    except (OSError, EOFError, ValueError, AttributeError) as error:  # the last: an archive of arrays
        problem = f"{bundle.facts.model}/{bundle.facts.version}: {name} cannot be read; export the bundle again"
        raise NotPossible(problem) from error
    found: NDArray[np.uint64] = marks
    return found
