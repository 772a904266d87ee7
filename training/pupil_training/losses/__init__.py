"""What a student follows: functions of tensors."""

from pupil_training.losses.kd import distillation_loss, soft_loss

__all__ = ["distillation_loss", "soft_loss"]
