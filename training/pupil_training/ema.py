"""The average of a model's weights along its training (Polyak, Juditsky 1992; Tarvainen, Valpola 2017)."""

import copy

import torch

from pupil_training.models import Classifier


class Ema:
    """A copy of `model` that follows it slowly, statistics of batch norms included; in eval mode, without gradients."""

    def __init__(self, model: Classifier, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Moves towards the model after step 1, 2, …

        The decay starts low, min(decay, (1 + step) / (10 + step)), or a short run would end near its first weights.
        It follows from the step, so that there is no counter to save.
        """
        decay = min(self._decay, (1 + step) / (10 + step))
        averages, values = ([pair[i] for pair in self._averaged] for i in (0, 1))
        torch._foreach_lerp_(averages, values, 1 - decay)
        for average, value in self._copied:
            average.copy_(value)
