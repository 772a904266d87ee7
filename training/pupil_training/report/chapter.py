"""One model's chapter of the page."""

from pupil_training.judge.candidate import Candidate
from pupil_training.judge.judgement import Judgement
from pupil_training.judge.run_candidate import RunCandidate
from pupil_training.judge.table import HONESTY
from pupil_training.report.choice import confident_mistakes
from pupil_training.report.confusion import class_part, confusion, confusion_part
from pupil_training.report.figures import accuracy_curve, loss_curve, rate_curve, reliability_diagram
from pupil_training.report.learning import read_log
from pupil_training.report.looking import looking_part
from pupil_training.report.parts import LeftOut, Part, part
from pupil_training.report.pictures import picture
from pupil_training.report.svg import inline
from pupil_training.report.weights import weights_part
from pupil_trust import equal_width_bins

MOST_MISTAKES = 12


def chapter(candidate: Candidate, judgement: Judgement | None) -> Part:
    """Every part of it; of a model that could not be judged, those that need no images."""
    parts = {
        "candidate": candidate,
        "learning": part(lambda: learning_part(candidate)),
        "weights": part(lambda: _weights(candidate)),
    }
    if judgement is None:
        return parts
    counts = confusion(judgement.labels.numpy(), judgement.predicted, len(candidate.classes))
    return parts | {
        "judgement": judgement,
        "calibration": calibration_part(judgement),
        "classes": class_part(counts, candidate.classes),
        "confusion": confusion_part(counts, candidate.classes),
        "mistakes": part(lambda: mistakes_part(judgement)),
        "looking": part(lambda: looking_part(judgement)),
    }


def learning_part(candidate: Candidate) -> Part:
    """The curves of a run. Raises LeftOut for a bundle, for a net without steps, and where the run's log is gone."""
    if not isinstance(candidate, RunCandidate):
        raise LeftOut("A bundle does not keep the curves of its training; the run that it was exported from does.")
    series = read_log(candidate.path)
    if "loss" not in series:
        raise LeftOut("It learned in no steps: it keeps its training images.")
    curves = {"loss": loss_curve(series), "learning rate": rate_curve(series["learning_rate"])}
    if "validation_accuracy" in series:
        curves["validation accuracy"] = accuracy_curve(series["validation_accuracy"])
    result = candidate.run.result
    return {
        "curves": [inline(figure, f"{name} over the steps") for name, figure in curves.items()],
        "steps": result["steps"],
        "seconds": result["seconds"],
        "images": result["images"],
    }


def calibration_part(judgement: Judgement) -> Part:
    """Reliability diagrams and errors, without the temperature and with it."""
    temperature = judgement.candidate.temperature
    diagrams = []
    for words, each in (("without temperature", 1.0), (f"with temperature {temperature:.3g}", temperature)):
        bins = equal_width_bins(judgement.confidence(each), judgement.correct)
        diagrams.append((words, inline(reliability_diagram(bins), f"Accuracy against confidence, {words}")))
    rows = [(name, judgement.uncalibrated[key], judgement.calibrated[key]) for key, name in HONESTY.items()]
    return {"diagrams": diagrams, "rows": rows, "temperature": temperature}


def mistakes_part(judgement: Judgement) -> Part:
    """The wrong answers of which the model is surest. Raises LeftOut where there are none."""
    confidence = judgement.confidence()
    chosen = confident_mistakes(confidence, judgement.correct, MOST_MISTAKES).tolist()
    if not chosen:
        raise LeftOut(f"It makes no mistake on these {len(judgement.images):,} images.")
    classes = judgement.candidate.classes
    shown = [
        {
            "picture": picture(judgement.images.images[place].numpy()),
            "true": classes[int(judgement.labels[place])],
            "given": classes[judgement.predicted[place]],
            "confidence": float(confidence[place]),
        }
        for place in chosen
    ]
    return {"shown": shown, "of": judgement.accuracy.of - judgement.accuracy.right}


def _weights(candidate: Candidate) -> Part:
    if not isinstance(candidate, RunCandidate):
        raise LeftOut("A bundle keeps its weights inside the graph; the run that it was exported from shows them.")
    return weights_part(candidate.run.model)
