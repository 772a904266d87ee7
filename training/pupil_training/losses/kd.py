"""Following a teacher's scores: functions of logits."""

import torch.nn.functional as F
from torch import Tensor


def soft_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student at T) (Hinton et al. 2015, section 2), the mean over images of logits (N, K).

    Softening by the temperature T shrinks the gradients by T², so the term is multiplied back and its weight means
    the same at every temperature.
    """
    return temperature**2 * F.kl_div(
        F.log_softmax(student_logits / temperature, dim=1),
        F.log_softmax(teacher_logits / temperature, dim=1),
        log_target=True,
        reduction="batchmean",  # "mean" would also divide by the number of classes
    )


def best_class_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cross-entropy with the teacher's best class (Touvron et al. 2021, equation 3), the mean over images."""
    return F.cross_entropy(student_logits, teacher_logits.argmax(1))


def standardised(logits: Tensor) -> Tensor:
    """Each row of logits (N, K) with mean 0 and standard deviation 1 (Sun et al. 2024).

    A student that follows these takes over the order and the distances of the teacher's logits and is free in their
    size. A row of equal logits, as a head of zeros gives, stays a row of zeros with a finite gradient.
    """
    return F.layer_norm(logits, logits.shape[1:])


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None,
    *,
    temperature: float,
    hard_weight: float,
    soft_weight: float,
) -> Tensor:
    """hard_weight · CE(labels) + soft_weight · `soft_loss`.

    `labels` are classes (N,), distributions (N, K), or None, which leaves the teacher alone.
    """
    loss = soft_weight * soft_loss(student_logits, teacher_logits, temperature)
    if labels is None:
        return loss
    return loss + hard_weight * F.cross_entropy(student_logits, labels)
