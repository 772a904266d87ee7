"""What a student follows: functions of tensors."""

import torch.nn.functional as F
from torch import Tensor


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None,
    *,
    temperature: float,
    hard_weight: float,
    soft_weight: float,
) -> Tensor:
    """hard_weight · CE(labels) + soft_weight · T² · KL(teacher ‖ student at T) (Hinton et al. 2015, section 2).

    Softening by the temperature T shrinks the gradients by T², so the teacher's term is multiplied back:
    `soft_weight` then means the same at every temperature. `labels` are classes (N,), distributions (N, K),
    or None, which leaves the teacher alone.
    """
    follow_teacher = F.kl_div(
        F.log_softmax(student_logits / temperature, dim=1),
        F.log_softmax(teacher_logits / temperature, dim=1),
        log_target=True,
        reduction="batchmean",  # "mean" would also divide by the number of classes
    )
    loss = soft_weight * temperature**2 * follow_teacher
    if labels is None:
        return loss
    return loss + hard_weight * F.cross_entropy(student_logits, labels)
