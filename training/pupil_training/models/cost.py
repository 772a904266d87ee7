"""What a model costs."""

import torch
from torch import nn
from torch.backends import mha
from torch.utils.flop_counter import FlopCounterMode

from pupil_training.models.classifier import Classifier


def parameters(model: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_adds(model: Classifier) -> int:
    """Multiply-adds of convolutions and matrix products for one picture."""
    height, width, channels = model.input
    device = model.mean.device
    training = model.training
    model.eval()
    fused = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)  # it would hide a transformer's products from the counter
    try:
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, channels, height, width, device=device))
    finally:
        mha.set_fastpath_enabled(fused)
    model.train(training)
    return int(counter.get_total_flops()) // 2
