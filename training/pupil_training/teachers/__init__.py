"""Who teaches: finished runs."""

from pupil_training.teachers.ensemble import load_teachers, together
from pupil_training.teachers.teacher import Teacher, logits_of_teacher

__all__ = ["Teacher", "load_teachers", "logits_of_teacher", "together"]
