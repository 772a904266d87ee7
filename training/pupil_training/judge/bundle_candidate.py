"""An exported bundle as a candidate: docs/files.md describes the folder."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from pupil_training.commands import brought_by
from pupil_training.errors import BundleError
from pupil_training.evaluate import batch_for
from pupil_training.judge.candidate import Candidate, TeacherAnswers
from pupil_training.recipe import parse_recipe
from pupil_training.runs import read_json

FORMAT = 1  # of bundle.json


@dataclass(frozen=True)
class BundleCandidate(Candidate):
    """ONNX Runtime answers, on the CPU, by the very graph that is served."""

    kind = "bundle"
    engine = "ONNX Runtime"

    facts: dict[str, Any] = field(repr=False)  # bundle.json
    session: Any = field(repr=False)  # onnxruntime.InferenceSession

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises BundleError: no bundle of our format, a changed graph, facts that are missing."""
        facts = _read_facts(folder)
        graph = _read_graph(folder, facts)
        try:
            recipe = parse_recipe({"data": facts["recipe"]["data"]}, str(folder / "bundle.json"))
            return cls(
                path=folder,
                name=facts["model"],
                net=facts["recipe"]["model"]["name"],
                classes=tuple(facts["classes"]),
                data=recipe.data,
                temperature=facts["temperature"],
                parameters=facts["parameters"],
                multiply_adds=facts["multiply_adds"],
                bytes=len(graph),
                facts=facts,
                session=_session(graph),
            )
        except KeyError as error:
            raise BundleError(f"{folder / 'bundle.json'}: says nothing of {error}; export it again") from None

    def logits(self, images: Tensor) -> Tensor:
        batches = torch.split(images, batch_for(images))
        answers = [self.session.run(["logits"], {"images": batch.numpy()})[0] for batch in batches]
        return torch.cat([torch.from_numpy(logits) for logits in answers])

    def teacher_answers(self, images: Tensor) -> TeacherAnswers | None:
        teacher = self._teacher()
        if teacher is None:
            return None
        order = [teacher.classes.index(name) for name in self.classes]
        return TeacherAnswers(teacher.name, teacher.logits(images)[:, order], teacher.temperature)

    def _teacher(self) -> "BundleCandidate | None":
        """The teacher's bundle in the same repository, if it is still the same and can look at the same pictures."""
        named = self.facts.get("teacher") or {}
        folder = self.path.resolve().parents[1] / str(named.get("name")) / str(named.get("version"))
        if not (folder / "bundle.json").is_file():
            return None
        teacher = BundleCandidate.load(folder)
        same = teacher.facts["fingerprint"] == named["fingerprint"] and teacher.facts["input"] == self.facts["input"]
        return teacher if same and set(teacher.classes) == set(self.classes) else None


def _read_facts(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = read_json(folder / "bundle.json")
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise BundleError(f"{folder / 'bundle.json'}: not of format {FORMAT}, the only one that this version reads")
    return facts


def _read_graph(folder: Path, facts: dict[str, Any]) -> bytes:
    file = folder / "model.onnx"
    graph = file.read_bytes()
    if hashlib.sha256(graph).hexdigest() != facts.get("files", {}).get("model.onnx"):
        raise BundleError(f"{file}: not the file that bundle.json was written for; export the bundle again")
    return graph


def _session(graph: bytes) -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read while the library loads
    with brought_by("export", "a bundle"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # its own default ignores the cores that we may use
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would starve PyTorch's threads
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
