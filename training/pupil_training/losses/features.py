"""Following what a teacher's inner layers put out: functions of feature maps (N, C, H, W)."""

import torch.nn.functional as F
from torch import Tensor


def hint_loss(guided: Tensor, hint: Tensor) -> Tensor:
    """Mean squared difference to a teacher's map of as many channels (Romero et al. 2015, equation 3)."""
    return F.mse_loss(*of_one_size(guided, hint))


def attention_loss(ours: Tensor, theirs: Tensor) -> Tensor:
    """Mean squared difference of the attention that two layers pay to the places of a picture.

    A layer's attention is the sum of its squared channels, scaled to length 1 (Zagoruyko, Komodakis 2017, equation 2
    with p = 2), so that the channels need not match. The mean goes over images and places, as in the authors' 10³.
    """
    ours, theirs = of_one_size(ours, theirs)
    return F.mse_loss(attention(ours), attention(theirs))


def attention(features: Tensor) -> Tensor:
    """(N, H · W), each row of length 1."""
    return F.normalize(features.square().sum(1).flatten(1))


def of_one_size(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps, the larger one averaged down to the smaller one's height and width."""
    height, width = (min(sides) for sides in zip(ours.shape[2:], theirs.shape[2:], strict=True))
    return F.adaptive_avg_pool2d(ours, (height, width)), F.adaptive_avg_pool2d(theirs, (height, width))
