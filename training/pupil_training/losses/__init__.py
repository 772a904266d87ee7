"""What a student follows: functions of tensors."""

from pupil_training.losses.dist import relation_loss
from pupil_training.losses.dkd import decoupled_loss
from pupil_training.losses.features import attention_loss, hint_loss
from pupil_training.losses.kd import best_class_loss, distillation_loss, soft_loss, standardised

__all__ = [
    "attention_loss",
    "best_class_loss",
    "decoupled_loss",
    "distillation_loss",
    "hint_loss",
    "relation_loss",
    "soft_loss",
    "standardised",
]
