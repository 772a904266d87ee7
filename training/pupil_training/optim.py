"""The optimiser, and the learning rate as a function of the step alone, so that nothing of it needs resuming."""

import math

import torch
from torch import nn
from torch.optim import Optimizer

from pupil_training.recipe import OptimSettings


def learning_rate(step: int, steps: int, optim: OptimSettings) -> float:
    """The rate of step 1 … `steps`: up along half a cosine for `warmup` of them, then down to nothing.

    `warmup = 0.25` is one-cycle (Smith, Topin 2018), `warmup = 0` plain cosine (Loshchilov, Hutter 2017).
    """
    done = (step - 1) / steps
    if done < optim.warmup:
        return optim.learning_rate * max(0.04, (1 - math.cos(math.pi * done / optim.warmup)) / 2)
    return optim.learning_rate * (1 + math.cos(math.pi * (done - optim.warmup) / (1 - optim.warmup))) / 2


def build_optimizer(model: nn.Module, optim: OptimSettings) -> Optimizer:
    """AdamW or SGD with Nesterov momentum; weights decay, biases and norms do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": optim.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if optim.name == "sgd":
        momentum = optim.momentum
        return torch.optim.SGD(groups, lr=optim.learning_rate, momentum=momentum, nesterov=momentum > 0)
    return torch.optim.AdamW(groups, lr=optim.learning_rate)
