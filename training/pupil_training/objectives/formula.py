"""What a distillation minimises, in words."""

from collections.abc import Callable, Mapping

from pupil_training.settings import DistillSettings


def formula(how: DistillSettings, smoothing: float = 0.0) -> str:
    """The sum of the terms that have a weight, and where the teacher's answers come from."""
    terms = []
    if how.hard_weight:
        labels = f"labels smoothed by {smoothing}" if smoothing else "labels"
        terms.append(f"{how.hard_weight} · CE({labels})")
    if how.soft_weight:
        terms.append(f"{how.soft_weight} · {FORMULAS[how.method](how)}")
    if how.hint:
        terms.append(f"{how.hint_weight} · hint({_pairs(how.hint)})")
    if how.attention:
        terms.append(f"{how.attention_weight} · attention({_pairs(how.attention)})")
    softened = "" if how.method == "hard" else f" at temperature {how.temperature}"
    asked = "live" if how.logits == "live" else "cached"
    logits = "z-scored logits" if how.standardise else "logits"
    views = f" on {how.views} views of each image" if how.logits == "views" else ""
    return f"loss = {' + '.join(terms)}{softened}, {asked} {logits} of {' + '.join(how.teacher)}{views}"


def _kd(how: DistillSettings) -> str:
    return f"{how.temperature}² · KL(teacher ‖ student)"


def _dkd(how: DistillSettings) -> str:
    return f"{how.temperature}² · ({how.dkd.alpha} · KL(target or not) + {how.dkd.beta} · KL(other classes))"


def _dist(how: DistillSettings) -> str:
    return f"({how.dist.beta} · (1 - r over classes) + {how.dist.gamma} · (1 - r over images))"


def _hard(how: DistillSettings) -> str:
    return "CE(teacher's best class)"


FORMULAS: dict[str, Callable[[DistillSettings], str]] = {"kd": _kd, "dkd": _dkd, "dist": _dist, "hard": _hard}


def _pairs(layers: Mapping[str, str]) -> str:
    return ", ".join(f"{ours} → {theirs}" for ours, theirs in layers.items())
