"""An exported bundle as a candidate."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from pupil_training.bundles import Bundle, load_bundle
from pupil_training.errors import BundleError
from pupil_training.judge.candidate import Candidate, TeacherAnswers
from pupil_training.recipe import parse_recipe


@dataclass(frozen=True)
class BundleCandidate(Candidate):
    """ONNX Runtime answers, on the CPU, by the very graph that is served."""

    kind = "bundle"
    engine = "ONNX Runtime"

    bundle: Bundle = field(repr=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises BundleError: no bundle of our format, a changed graph, facts that are missing."""
        bundle = load_bundle(folder, torch.device("cpu"))
        facts = bundle.facts
        try:
            recipe = parse_recipe({"data": _data(bundle)}, str(folder / "bundle.json"))
            return cls(
                path=folder,
                name=facts["model"],
                net=facts["graph"]["file"] if bundle.imported else facts["recipe"]["model"]["name"],
                classes=bundle.classes,
                data=recipe.data,
                temperature=facts["temperature"],
                parameters=None if bundle.imported else facts["parameters"],
                multiply_adds=None if bundle.imported else facts["multiply_adds"],
                bytes=bundle.bytes,
                bundle=bundle,
            )
        except KeyError as error:
            raise BundleError(f"{folder / 'bundle.json'}: says nothing of {error}; export it again") from None

    def logits(self, images: Tensor) -> Tensor:
        return self.bundle.logits(images)

    def teacher_answers(self, images: Tensor) -> TeacherAnswers | None:
        teacher = self._teacher()
        if teacher is None:
            return None
        order = [teacher.classes.index(name) for name in self.classes]
        return TeacherAnswers(teacher.name, teacher.logits(images)[:, order], teacher.temperature)

    def _teacher(self) -> "BundleCandidate | None":
        """The teacher's bundle in the same repository, if it is still the same and can look at the same pictures."""
        named = self.bundle.facts.get("teacher") or {}
        folder = self.path.resolve().parents[1] / str(named.get("name")) / str(named.get("version"))
        if not (folder / "bundle.json").is_file():
            return None
        teacher = BundleCandidate.load(folder)
        same = teacher.bundle.facts["fingerprint"] == named["fingerprint"] and teacher.bundle.input == self.bundle.input
        return teacher if same and set(teacher.classes) == set(self.classes) else None


def _data(bundle: Bundle) -> dict[str, Any]:
    """The settings of its data; of one that was trained elsewhere only how a picture is fitted is known."""
    facts = bundle.facts
    if not bundle.imported:
        data: dict[str, Any] = facts["recipe"]["data"]
        return data
    return {**facts["input"], **{name: facts["resize"][name] for name in ("shortest_side", "interpolation")}}
