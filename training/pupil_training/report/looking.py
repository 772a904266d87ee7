"""What a student and its teacher look at, on images where they agree and where they differ."""

import numpy as np
import torch
from numpy.typing import NDArray

from pupil_training.judge.judgement import Judgement
from pupil_training.judge.run_candidate import RunCandidate
from pupil_training.models import Classifier
from pupil_training.report.choice import Places, agreeing, differing
from pupil_training.report.gradcam import attention, overlaid
from pupil_training.report.parts import LeftOut, Part
from pupil_training.report.pictures import picture
from pupil_training.runs import load_run

MOST = 6  # images of each kind


def looking_part(judgement: Judgement) -> Part:
    """Pictures beside the heat of teacher and student.

    Raises LeftOut: a bundle, no teacher or its run is gone, a net without a map.
    """
    student, teacher = judgement.candidate, judgement.teacher
    if not isinstance(student, RunCandidate):
        raise LeftOut("A bundle's graph gives no gradients; the run that it was exported from can be looked into.")
    if not student.run.result["teachers"]:
        raise LeftOut("It learned from no teacher.")
    if teacher is None:
        raise LeftOut("The run of its teacher is not where it was.")
    place = student.teacher_places()[0]  # of an ensemble the first
    if not (place / "result.json").exists():
        raise LeftOut("Its teacher is a bundle, whose graph gives no gradients.")
    theirs = teacher.logits.argmax(1).numpy()
    surest = torch.softmax(teacher.logits.double() / teacher.temperature, 1).max(1).values.numpy()
    both = judgement.confidence() + surest
    watched = load_run(place).model
    agree = agreeing(judgement.predicted, theirs, both, MOST)
    differ = differing(judgement.predicted, theirs, both, MOST)
    return {
        "teacher": teacher.name,
        "agree": _rows(judgement, student.run.model, watched, theirs, agree),
        "differ": _rows(judgement, student.run.model, watched, theirs, differ),
    }


def _rows(judgement: Judgement, student: Classifier, teacher: Classifier, theirs: Places, chosen: Places) -> list[Part]:
    """For each image: its true class, and each one's answer with the picture of where it comes from."""
    if not len(chosen):
        return []
    ours, classes = judgement.predicted[chosen], judgement.candidate.classes
    teachers_order = np.array([teacher.classes.index(name) for name in classes])
    images = judgement.images.images[torch.from_numpy(chosen)]
    heat = attention(student, images, ours), attention(teacher, images, teachers_order[theirs[chosen]])
    rows = []
    for i, place in enumerate(chosen.tolist()):
        pixels: NDArray[np.uint8] = images[i].numpy()
        rows.append(
            {
                "true": classes[int(judgement.labels[place])],
                "picture": picture(pixels),
                "student": (classes[ours[i]], picture(overlaid(pixels, heat[0][i]))),
                "teacher": (classes[theirs[place]], picture(overlaid(pixels, heat[1][i]))),
            }
        )
    return rows
