"""Stochastic depth: whole residual branches are left out while a net learns (Huang et al. 2016)."""

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """A branch, set to zero for a share of the images in training; the others are raised so that the mean stays.

    (The paper scales at test time instead, which is the same up to a factor in the weights.)
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, branch: Tensor) -> Tensor:
        if not self.training or self.share == 0:
            return branch
        kept = torch.rand(len(branch), *[1] * (branch.ndim - 1), device=branch.device) >= self.share
        return branch * kept / (1 - self.share)

    def extra_repr(self) -> str:
        return f"{self.share:.3g}"


def rising(last: float, blocks: int) -> list[float]:
    """The share of each block: along a line from the input, which is never left out, up to `last` (equation 4)."""
    return [last * block / blocks for block in range(1, blocks + 1)]
