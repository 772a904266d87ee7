"""Maps of the plane, one a picture, and pictures seen through them.

A map (3, 3) takes a place in the view to the place in the picture that shows there, both homogeneous and in pixels
from the centre. A picture that goes through one change and then another is seen through first @ second.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from pupil_training.settings import Padding

SAMPLED = {"edge": "border", "reflect": "reflection"}  # as `grid_sample` calls them


def warp(pixels: Tensor, maps: Tensor, padding: Padding = "edge") -> Tensor:
    """Each picture of pixels (N, C, H, W) in [0, 1] through its map of (N, 3, 3), bilinear between pixels."""
    height, width = pixels.shape[2:]
    right = torch.arange(width, device=pixels.device) - (width - 1) / 2
    down = (torch.arange(height, device=pixels.device) - (height - 1) / 2)[:, None]
    # `grid_sample` has the centres of the corner pixels at -1 and 1: then a reflection shows the edge once, not twice
    unit = torch.tensor([2 / max(width - 1, 1), 2 / max(height - 1, 1), 1])[:, None]
    rows = (maps * unit).to(pixels)[..., None, None].unbind(1)  # 3 of (N, 3, 1, 1)
    x, y, w = (row[:, 0] * right + (row[:, 1] * down + row[:, 2]) for row in rows)  # (N, H, W)
    grid = torch.stack([x / w, y / w], 3)
    view = F.grid_sample(pixels, grid, padding_mode=SAMPLED[padding], align_corners=True)
    return view.clamp_(0, 1)  # its weights may add up to a little more than 1


def affine(*rows: Tensor | float) -> Tensor:
    """Maps to a·x + b·y + c and d·x + e·y + f, from the six in this order."""
    values = [torch.as_tensor(value, dtype=torch.float64) for value in (*rows, 0.0, 0.0, 1.0)]
    return torch.stack(torch.broadcast_tensors(*values), -1).reshape(-1, 3, 3)  # type: ignore[no-untyped-call]


def turned(degrees: Tensor) -> Tensor:
    """Counter-clockwise about the centre."""
    angle = degrees.double().deg2rad()
    return affine(angle.cos(), -angle.sin(), 0, angle.sin(), angle.cos(), 0)


def sheared(tangent: Tensor) -> Tensor:
    """What is a pixel further down moves `tangent` pixels further to the left."""
    return affine(1, tangent, 0, 0, 1, 0)


def zoomed(factor: Tensor) -> Tensor:
    """So many times as large."""
    return affine(1 / factor.double(), 0, 0, 0, 1 / factor.double(), 0)


def moved(right: Tensor | float, down: Tensor | float) -> Tensor:
    """By pixels."""
    return affine(1, 0, -right, 0, 1, -down)


def mirrored(which: Tensor) -> Tensor:
    """Left to right, where `which` (N,) is true."""
    return affine(1 - 2 * which.double(), 0, 0, 0, 1, 0)


def between_corners(seen: Tensor, shown: Tensor) -> Tensor:
    """The maps that take four places (N, 4, 2) in the view to the four in the picture that show there."""
    (x, y), (u, v) = seen.double().unbind(2), shown.double().unbind(2)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    across = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], 2)
    along = torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], 2)
    solved = torch.linalg.solve(torch.cat([across, along], 1), torch.cat([u, v], 1))  # (N, 8)
    return torch.cat([solved, one[:, :1]], 1).reshape(-1, 3, 3)
