"""Following how a teacher's scores relate to each other, not what they are (Huang et al. 2022)."""

import torch.nn.functional as F
from torch import Tensor

HARDLY = 1e-4  # the least length of a row around its mean, to be divided by


def relation_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float, beta: float, gamma: float
) -> Tensor:
    """beta · inter + gamma · intra of scores at T, from logits (N, K).

    Inter is 1 - Pearson's correlation of student and teacher over the classes of an image, the mean over images;
    intra that over the images of the batch, the mean over classes. A correlation forgives any scale, so softening
    does not shrink its gradients, and there is no T² here.
    """
    ours, theirs = ((logits / temperature).softmax(1) for logits in (student_logits, teacher_logits))
    return beta * (1 - correlation(ours, theirs).mean()) + gamma * (1 - correlation(ours.T, theirs.T).mean())


def correlation(ours: Tensor, theirs: Tensor) -> Tensor:
    """Pearson's correlation (N,) of each row of two (N, M), going to 0 for rows that hardly vary.

    Otherwise the scores of a head of zeros, which are all equal, would have gradients of 10⁷ at the first step.
    """
    ours, theirs = (scores - scores.mean(1, keepdim=True) for scores in (ours, theirs))
    return F.cosine_similarity(ours, theirs, dim=1, eps=HARDLY)
