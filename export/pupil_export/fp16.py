"""A graph whose net computes in 16-bit floats; normalisation, temperature and softmax stay in 32 bits."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pupil_export.answers import BATCH, Answers
from pupil_export.errors import ExportError
from pupil_export.graph import Served, export_graph
from pupil_export.parity import pytorch_answers

MOST = float(torch.finfo(torch.float16).max)  # 65,504


class HalfNet(nn.Module):
    """A net that computes in half precision between single-precision pixels and logits."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.half()

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.net(pixels.half())
        return logits.float()


def to_fp16(served: Served) -> bytes:
    """The graph of `served` in half precision. Raises ExportError where a weight exceeds 65,504."""
    for name, weights in served.classifier.net.state_dict().items():
        if weights.is_floating_point():  # counts of batches stay whole numbers
            _check_range(f"the weights {name} reach", weights)
    half = copy.deepcopy(served)
    half.classifier.net = HalfNet(half.classifier.net)
    return export_graph(half)


def answers_in_half(served: Served, images: NDArray[np.uint8]) -> Answers:
    """What a GPU answers in half precision to images (N, H, W, C).

    It rounds to 16 bits after each layer. On a CPU ONNX Runtime computes the same graph in 32 bits, which would hide
    what that costs. Raises ExportError where a layer gives more than 65,504.
    """
    rounding = copy.deepcopy(served)
    net = rounding.classifier.net.half().float()  # its weights as 16 bits hold them, and arithmetic that is fast here
    for name, layer in net.named_modules():
        layer.register_forward_pre_hook(_round_inputs)
        layer.register_forward_hook(_round_outputs(name or "the last"))
    return pytorch_answers(rounding, images, BATCH)


def _round_inputs(_layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_rounded(each) for each in inputs)


def _round_outputs(name: str) -> Callable[[nn.Module, Any, Any], Any]:
    def rounded(_layer: nn.Module, _inputs: Any, outputs: Any) -> Any:
        if isinstance(outputs, Tensor):  # attention gives its weights too
            _check_range(f"layer {name} gives", outputs)
        return _rounded(outputs)

    return rounded


def _rounded(values: Any) -> Any:
    return values.half().float() if isinstance(values, Tensor) and values.is_floating_point() else values


def _check_range(what: str, values: Tensor) -> None:
    if (largest := values.abs().max().item()) > MOST:
        raise ExportError(
            f"fp16: {what} up to {largest:,.0f}, and half precision ends at {MOST:,.0f}; leave fp16 out of --precision"
        )
