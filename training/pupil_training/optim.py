"""The optimiser, and the learning rate as a function of the step alone, so that nothing of it needs resuming."""

import math
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from torch.optim import Optimizer

from pupil_training.muon import Muon
from pupil_training.settings import OptimSettings


@runtime_checkable
class Bounded(Protocol):
    """A layer that brings its weights back into bounds after every step of the optimiser."""

    def after_step(self) -> None: ...


def learning_rate(step: int, steps: int, optim: OptimSettings) -> float:
    """The rate of step 1 … `steps`: up along half a cosine for `warmup` of them, then along `schedule`.

    `cosine` with `warmup = 0.25` is one-cycle (Smith, Topin 2018), with 0 it is plain (Loshchilov, Hutter 2017).
    """
    done = (step - 1) / steps
    if done < optim.warmup:
        return optim.learning_rate * max(0.04, (1 - math.cos(math.pi * done / optim.warmup)) / 2)
    fallen = (done - optim.warmup) / (1 - optim.warmup)
    left = {"cosine": (1 + math.cos(math.pi * fallen)) / 2, "linear": 1 - fallen, "constant": 1.0}
    return optim.learning_rate * left[optim.schedule]


def build_optimizer(modules: Iterable[tuple[nn.Module, float]], optim: OptimSettings) -> Optimizer:
    """AdamW or SGD with Nesterov momentum over modules, each with the factor of its rate.

    Weights decay; biases and norms do not, and learn `bias_rate` times as fast. Each group keeps its `factor`.
    After each step bounded layers are brought back into their bounds.
    """
    groups = []
    bounded: list[Bounded] = []
    for module, factor in modules:
        bounded += [layer for layer in module.modules() if isinstance(layer, Bounded)]
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        weights = [parameter for parameter in trained if parameter.ndim > 1]
        others = [parameter for parameter in trained if parameter.ndim <= 1]
        groups.append({"params": weights, "weight_decay": optim.weight_decay, "factor": factor})
        groups.append({"params": others, "weight_decay": 0.0, "factor": factor * optim.bias_rate})
    optimizer = _optimizer([group for group in groups if group["params"]], optim)

    def back_into_bounds(*_: Any) -> None:
        for layer in bounded:
            layer.after_step()

    optimizer.register_step_post_hook(back_into_bounds)
    return optimizer


def _optimizer(groups: list[dict[str, Any]], optim: OptimSettings) -> Optimizer:
    if optim.name == "muon":
        return Muon(groups, lr=optim.learning_rate, momentum=optim.momentum)
    if optim.name == "sgd":
        momentum = optim.momentum
        return torch.optim.SGD(groups, lr=optim.learning_rate, momentum=momentum, nesterov=momentum > 0)
    return torch.optim.AdamW(groups, lr=optim.learning_rate)


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Every group learns at `rate` times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
