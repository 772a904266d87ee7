"""A net, layer by layer: what comes out, what it sees, what it costs."""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pupil_training.models.classifier import InputSize
from pupil_training.models.cost import parameters
from pupil_training.models.receptive import Field, ReceptiveFields


class Layer(NamedTuple):
    """One call of a layer: of a module that calls no other, or that multiplies beside what it calls."""

    name: str
    kind: str
    output: tuple[int, ...]  # without the batch
    field: Field | None  # None where it is not known
    parameters: int  # 0 at a second call
    multiply_adds: int

    @property
    def spatial(self) -> bool:
        """Whether its output is a map, of more than one place."""
        return len(self.output) == 3 and self.output[1:] != (1, 1)


class Description(NamedTuple):
    """Its layers in the order of their calls; the totals hold whatever lies outside of layers too."""

    layers: list[Layer]
    parameters: int
    multiply_adds: int


def describe(net: nn.Module, size: InputSize) -> Description:
    """What `net` does with a picture. Nothing is computed, so size costs no time; but the weights of `net` are lost."""
    net = net.eval().to("meta")
    pixels = torch.zeros(1, size.channels, size.height, size.width, device="meta")
    with torch.no_grad(), ReceptiveFields(pixels) as fields, FlopCounterMode(display=False) as flops:
        watch = _Watch(fields, flops)
        for name, module in net.named_modules():
            module.register_forward_pre_hook(watch.begin)
            module.register_forward_hook(partial(watch.end, name))
        net(pixels)
    return Description(watch.layers, parameters(net), flops.get_total_flops() // 2)


class _Call:
    """A module at work."""

    def __init__(self, flops: int) -> None:
        self.flops = flops  # before it began
        self.inner = 0  # flops of the modules that it called
        self.alone = True  # it called none


class _Watch:
    """Sees every call begin and end, and notes those that are a layer's."""

    def __init__(self, fields: ReceptiveFields, flops: FlopCounterMode) -> None:
        self.layers: list[Layer] = []
        self._fields = fields
        self._flops = flops
        self._open: list[_Call] = []
        self._counted: set[int] = set()

    def begin(self, *_: Any) -> None:
        for caller in self._open[-1:]:
            caller.alone = False
        self._open.append(_Call(self._flops.get_total_flops()))

    def end(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        call = self._open.pop()
        spent = self._flops.get_total_flops() - call.flops
        for caller in self._open[-1:]:
            caller.inner += spent
        output = output[0] if isinstance(output, tuple) else output
        if isinstance(output, Tensor) and (call.alone or spent > call.inner):
            field = self._fields.of(output)
            own = self._fresh(module, deep=call.alone)
            shape = tuple(output.shape[1:])
            self.layers.append(Layer(name, type(module).__name__, shape, field, own, (spent - call.inner) // 2))

    def _fresh(self, module: nn.Module, *, deep: bool) -> int:
        """How many parameters of the module were not counted yet."""
        fresh = {id(each): each.numel() for each in module.parameters(recurse=deep) if id(each) not in self._counted}
        self._counted |= fresh.keys()
        return sum(fresh.values())
