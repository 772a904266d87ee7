"""A graph whose net computes in 16-bit floats; normalisation, temperature and softmax stay in 32 bits."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pupil_export.answers import BATCH
from pupil_export.cost import Cost
from pupil_export.errors import ExportError
from pupil_export.graph import Served, export_graph

MOST = float(torch.finfo(torch.float16).max)  # 65,504
TOLERANCE = 1e-2  # between two scores; a logit of 16 alone is rounded by up to 8e-3


class HalfNet(nn.Module):
    """A net that computes in half precision between single-precision pixels and logits."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.half()

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.net(pixels.half())
        return logits.float()


def to_fp16(served: Served, images: NDArray[np.uint8]) -> bytes:
    """The graph of `served` in half precision.

    Raises ExportError where a weight, or what a layer gives on these images (N, H, W, C), exceeds 65,504.
    """
    _check_weights(served.classifier.net)
    _check_outputs(served, images)
    half = copy.deepcopy(served)
    half.classifier.net = HalfNet(half.classifier.net)
    return export_graph(half)


def check_cost(cost: Cost) -> None:
    """Raises ExportError where a score moved by more than 0.01 from fp32's."""
    if not cost.largest_difference <= TOLERANCE:  # NaN is refused too
        raise ExportError(
            f"fp16: scores differ from fp32's by up to {cost.largest_difference:.2g} ({TOLERANCE:g} is allowed), the "
            f"best class of {cost.of - cost.same} of {cost.of} validation images; leave fp16 out of --precision"
        )


def _check_weights(net: nn.Module) -> None:
    for name, weights in net.state_dict().items():
        if weights.is_floating_point():  # counts of batches stay whole numbers
            _check_range(f"the weights {name} reach", weights)


def _check_outputs(served: Served, images: NDArray[np.uint8]) -> None:
    """Looks in single precision, where nothing overflows. ONNX Runtime on a CPU computes so too, and would hide it."""

    def check(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(_layer: nn.Module, _inputs: Any, outputs: Any) -> None:
            if isinstance(outputs, Tensor):  # attention gives its weights too
                _check_range(f"layer {name} gives", outputs)

        return look

    layers = served.classifier.net.named_modules()
    hooks = [layer.register_forward_hook(check(name or "the last")) for name, layer in layers]
    try:
        with torch.inference_mode():
            for batch in torch.split(torch.from_numpy(images), BATCH):
                served(batch)
    finally:
        for hook in hooks:
            hook.remove()


def _check_range(what: str, values: Tensor) -> None:
    if (largest := values.abs().max().item()) > MOST:
        raise ExportError(
            f"fp16: {what} up to {largest:,.0f}, and half precision ends at {MOST:,.0f}; leave fp16 out of --precision"
        )
