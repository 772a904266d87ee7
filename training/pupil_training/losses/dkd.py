"""Distillation in two parts: how sure of the target, and how the rest is shared (Zhao et al. 2022)."""

import torch
from torch import Tensor

from pupil_training.losses.kd import soft_loss


def decoupled_loss(
    student_logits: Tensor, teacher_logits: Tensor, target: Tensor, temperature: float, alpha: float, beta: float
) -> Tensor:
    """T² · (alpha · TCKD + beta · NCKD) (equation 8), the mean over images of logits (N, K), K ≥ 3.

    TCKD is KL(teacher ‖ student) of "the class in `target` (N,) or another one", NCKD that of the other classes among
    themselves. Plain distillation is TCKD + (1 - p) · NCKD, where p is the teacher's score of the target (equation 7):
    a sure teacher hides what it knows of the others, which a constant beta brings back.
    """
    classes = student_logits.shape[1]
    if classes < 3:
        raise ValueError(f"{classes} classes: two have no others to compare, decoupled distillation needs 3")
    others = (target[:, None] + torch.arange(1, classes, device=target.device)) % classes  # (N, K - 1)
    (ours, our_rest), (theirs, their_rest) = (
        _parted(logits / temperature, target, others) for logits in (student_logits, teacher_logits)
    )
    return temperature**2 * (alpha * soft_loss(ours, theirs, 1.0) + beta * soft_loss(our_rest, their_rest, 1.0))


def _parted(logits: Tensor, target: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, 2) of target or not, and (N, K - 1) of the other classes.

    The sum of the others is taken among logits, since 1 - p is 0 as soon as the teacher is certain.
    """
    rest = logits.gather(1, others)
    return torch.cat([logits.gather(1, target[:, None]), rest.logsumexp(1, keepdim=True)], dim=1), rest
