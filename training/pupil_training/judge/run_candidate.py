"""A finished run as a candidate."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from pupil_training.devices import pick_device
from pupil_training.evaluate import logits_of
from pupil_training.judge.candidate import Candidate, TeacherAnswers
from pupil_training.runs import Run, load_run
from pupil_training.teachers import load_teachers, logits_of_teacher, together


@dataclass(frozen=True)
class RunCandidate(Candidate):
    """PyTorch answers, on CUDA where there is a device."""

    kind = "run"
    engine = f"PyTorch {torch.__version__.partition('+')[0]}"

    run: Run = field(repr=False)

    def logits(self, images: Tensor) -> Tensor:
        return logits_of(self.run.model, images)

    def teacher_answers(self, images: Tensor) -> TeacherAnswers | None:
        places = self.teacher_places()
        if not places:
            return None
        device = self.run.model.mean.device
        teacher = together(load_teachers([str(place) for place in places], self.run.model, device))
        logits = logits_of_teacher(teacher, images, device).cpu()
        return TeacherAnswers(teacher.name, logits, teacher.temperature)

    def teacher_places(self) -> list[Path]:
        """The runs and bundles that it learned from, where all of them are still there."""
        described = self.run.result["teachers"]
        places = [self.path / (teacher.get("run") or teacher.get("bundle") or "no folder") for teacher in described]
        return places if all(_still_there(place) for place in places) else []


def run_candidate(folder: Path) -> RunCandidate:
    """The run in a folder. Raises RunError where there is no finished one."""
    run = load_run(folder)
    model = run.model.to(pick_device("auto"))
    return RunCandidate(
        path=folder,
        name=run.recipe.name,
        net=run.recipe.model.name,
        classes=run.classes,
        data=run.recipe.data,
        temperature=model.temperature.item(),
        parameters=run.result["parameters"],
        multiply_adds=run.result["multiply_adds"],
        bytes=sum(weights.numel() * weights.element_size() for weights in model.state_dict().values()),
        run=run,
    )


def _still_there(place: Path) -> bool:
    return (place / "result.json").exists() or (place / "bundle.json").exists()
