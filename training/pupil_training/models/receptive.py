"""Which pixels an output of a layer can see: its receptive field, worked out while a net runs.

Every map carries the field of its first place, along height and along width. A layer with a kernel of k places in
steps of s makes it (k - 1) · jump larger and the jump s times as long (Araujo, Norris, Sim 2019); where branches
meet, the field is the smallest that holds all of theirs.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Axis(NamedTuple):
    """Along one direction, in pixels of the input."""

    size: int  # of the field of one place
    jump: int  # between the fields of two neighbouring places: the strides of all layers multiplied
    start: int  # the first pixel of the first place's field; below 0 where padding lies

    def through(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> "Axis":
        """After a layer with this kernel."""
        larger = (kernel - 1) * dilation * self.jump
        return Axis(self.size + larger, self.jump * stride, self.start - padding * self.jump)

    def at(self, place: int) -> range:
        """The pixels of one place's field, those beyond the picture included."""
        first = self.start + place * self.jump
        return range(first, first + self.size)


class Field(NamedTuple):
    """The receptive field of a map."""

    height: Axis
    width: Axis


class ReceptiveFields(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """`with ReceptiveFields(pixels) as fields: net(pixels)`; there and afterwards `fields.of(tensor)`.

    It follows convolutions, pools, and everything that leaves height and width of a map as they are; a vector sees
    what its map saw. Of the rest, such as a transformer's rows of patches, nothing is known.
    """

    def __init__(self, pixels: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = {id(pixels): (pixels, Field(Axis(1, 1, 0), Axis(1, 1, 0)))}  # a kept tensor keeps its id

    def of(self, tensor: Tensor) -> Field | None:
        """The field of the tensor's first place, or None where it is not known."""
        return self._known[id(tensor)][1] if id(tensor) in self._known else None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        results = func(*args, **(kwargs or {}))
        inputs = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        seen = [(each, field) for each in inputs if (field := self.of(each)) is not None]
        for result in tree_leaves(results):
            if seen and isinstance(result, Tensor) and (field := _after(func.overloadpacket, args, seen, result)):
                self._known[id(result)] = (result, field)
        return results


def _after(op: Any, args: Sequence[Any], seen: Sequence[tuple[Tensor, Field]], result: Tensor) -> Field | None:
    kernel = KERNELS.get(op)
    if kernel is not None:
        layers = kernel(*args)
        field = seen[0][1]
        return Field(*(axis.through(*layer) for axis, layer in zip(field, layers, strict=True))) if layers else None
    if result.ndim <= 2 or (result.ndim == 4 and result.shape[2:] == (1, 1)):
        return _joined(_whole(*each) for each in seen)
    if result.ndim >= 4 and any(tensor.shape[-2:] == result.shape[-2:] for tensor, _ in seen):
        return _joined(field for _, field in seen)
    return None


def _whole(tensor: Tensor, field: Field) -> Field:
    """Of what sees every place of the tensor."""
    if tensor.ndim < 4:
        return field
    return Field(*(axis.through(places) for axis, places in zip(field, tensor.shape[-2:], strict=True)))


def _joined(fields: Iterable[Field]) -> Field:
    return Field(*(_hull(axes) for axes in zip(*fields, strict=True)))


def _hull(axes: Sequence[Axis]) -> Axis:
    start = min(axis.start for axis in axes)
    return Axis(max(axis.start + axis.size for axis in axes) - start, max(axis.jump for axis in axes), start)


Layer = tuple[int, ...]  # kernel, stride, padding, dilation; in one direction


def _convolution(
    x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, *more: Any
) -> list[Layer] | None:
    if x.ndim != 4 or transposed:
        return None
    return list(zip(weight.shape[2:], _two(stride), _two(padding), _two(dilation), strict=True))


def _pool(
    x: Tensor, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, *more: Any
) -> list[Layer] | None:
    return list(zip(_two(kernel), _two(stride or kernel), _two(padding), _two(dilation), strict=True))


def _mean_pool(x: Tensor, kernel: Any, stride: Any = (), padding: Any = 0, *more: Any) -> list[Layer] | None:
    return _pool(x, kernel, stride, padding)


def _adaptive_pool(x: Tensor, size: Any) -> list[Layer] | None:
    """Known where all its windows are of one size."""
    if any(before % after for before, after in zip(x.shape[-2:], _two(size), strict=True)):
        return None
    return [(before // after, before // after) for before, after in zip(x.shape[-2:], _two(size), strict=True)]


def _two(value: Any) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])


KERNELS: dict[Any, Any] = {
    torch.ops.aten.convolution: _convolution,
    torch.ops.aten.max_pool2d_with_indices: _pool,
    torch.ops.aten.avg_pool2d: _mean_pool,
    torch.ops.aten._adaptive_avg_pool2d: _adaptive_pool,
    torch.ops.aten.adaptive_max_pool2d: _adaptive_pool,
}
