"""Fully connected layers with dropout, as the teachers and students of Hinton, Vinyals and Dean 2015."""

from itertools import pairwise

import torch
from torch import nn

from pupil_training.models.classifier import InputSize
from pupil_training.settings import ModelSettings


def mlp(model: ModelSettings, size: InputSize, classes: int) -> nn.Module:
    """Hidden layers of `model.widths` ReLU units (800, 800 by default); any picture, of which it knows no geometry.

    The teacher of the paper's MNIST experiment: widths 1200, 1200, dropout 0.5, input_dropout 0.2, max_norm; its
    student has the defaults.
    """
    widths = model.widths or (800, 800)
    layers: list[nn.Module] = [nn.Flatten(), nn.Dropout(model.input_dropout)]
    for before, width in pairwise((size.height * size.width * size.channels, *widths)):
        layers += [_hidden(before, width, model.max_norm), nn.ReLU(), nn.Dropout(model.dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


def _hidden(before: int, width: int, max_norm: float) -> nn.Linear:
    return MaxNormLinear(before, width, max_norm) if max_norm else nn.Linear(before, width)


class MaxNormLinear(nn.Linear):
    """Each unit's incoming weights are pulled back to length `longest` where a step made them longer.

    (Hinton et al. 2012, Improving neural networks by preventing co-adaptation of feature detectors.)
    """

    def __init__(self, before: int, width: int, longest: float) -> None:
        super().__init__(before, width)
        self._longest = longest

    @torch.no_grad()
    def after_step(self) -> None:
        if self.weight.requires_grad:  # not frozen
            self.weight.copy_(self.weight.renorm(p=2, dim=0, maxnorm=self._longest))
