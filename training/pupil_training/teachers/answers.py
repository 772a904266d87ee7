"""A teacher's answers about known views of known images, kept small and looked up (Shen, Xing 2022).

An answer keeps the teacher's best classes with the logarithms of their scores, in float16; the scores of all others
are taken to be equal, as the authors' marginal smoothing does.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr  # long hashes and class lists in a few words
from typing import Any, Self

import torch
from torch import Tensor

from pupil_training.checkpoint import write_state
from pupil_training.errors import TeacherError

FORMAT = 1
LEAST = -6e4  # float16 ends there, and an infinite logarithm would make a divergence NaN


@dataclass(frozen=True)
class Answers:
    """One row for each view of each image: those of the first view, then those of the second, …"""

    images: int
    classes: int
    scores: Tensor  # float16 (views · images, top), logarithms; one column more, of each other class, where top < K
    places: Tensor | None  # integers (views · images, top): which classes; None where all are kept, in their order

    @classmethod
    def room(cls, images: int, views: int, classes: int, top: int) -> Self:
        """For so many answers, none of which is there yet."""
        if top == classes:
            return cls(images, classes, torch.zeros(views * images, top, dtype=torch.half), None)
        integers = torch.uint8 if classes <= 2**8 else torch.int16 if classes <= 2**15 else torch.int32
        scores = torch.zeros(views * images, top + 1, dtype=torch.half)
        return cls(images, classes, scores, torch.zeros(views * images, top, dtype=integers))

    def put(self, chosen: Tensor, epochs: Tensor, logits: Tensor) -> None:
        """Keeps logits (B, K) about images (B,) in passes over the set (B,)."""
        rows, scores = self._rows(chosen, epochs), logits.log_softmax(1)
        if self.places is not None:
            best, places = scores.topk(self.places.shape[1])
            others = scores.scatter(1, places, -torch.inf).logsumexp(1, keepdim=True)
            scores = torch.cat([best, others - math.log(self.classes - places.shape[1])], 1)
            self.places[rows] = places.to(self.places)
        self.scores[rows] = scores.clamp_min(LEAST).to(self.scores)

    def of(self, chosen: Tensor, epochs: Tensor) -> Tensor:
        """Logits (B, K), up to a constant, of images (B,) in passes over the set (B,)."""
        rows = self._rows(chosen, epochs)
        scores = self.scores[rows].float()
        if self.places is None:
            return scores
        return scores[:, -1:].repeat(1, self.classes).scatter_(1, self.places[rows].long(), scores[:, :-1])

    def to(self, device: torch.device) -> Self:
        places = None if self.places is None else self.places.to(device)
        return replace(self, scores=self.scores.to(device), places=places)

    def _rows(self, chosen: Tensor, epochs: Tensor) -> Tensor:
        views = len(self.scores) // self.images
        return (epochs % views * self.images + chosen).to(self.scores.device)


def save(path: Path, answers: Answers, origin: dict[str, Any]) -> None:
    """Writes them whole, with all that decides them. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_state(path, {"format": FORMAT, "origin": origin, **vars(answers)})


def load(path: Path, origin: dict[str, Any]) -> Answers:
    """The answers in a file, mapped into memory. Raises TeacherError: damaged, or of another origin, and how."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        found, form = state.pop("origin"), state.pop("format")
    except Exception as error:  # torch.load raises half a dozen types for a damaged file
        raise TeacherError(f"{path}: damaged, or not a teacher's answers ({type(error).__name__}); delete it") from None
    if form != FORMAT:
        raise TeacherError(f"{path}: answers of format {form}, this version reads {FORMAT}; delete it")
    if differ := [name for name, value in origin.items() if found.get(name) != value]:
        words = "; ".join(f"{name} {repr(found.get(name))}, not {repr(origin[name])}" for name in differ)
        raise TeacherError(f"{path}: kept for something else: {words}; delete it, or set another distill.cache")
    return Answers(**state)
