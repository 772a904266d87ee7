"""Who teaches: runs, bundles, servers."""

from pupil_training.teachers.ensemble import logits_on, together
from pupil_training.teachers.load import load_teachers
from pupil_training.teachers.teacher import Teacher, fingerprint, logits_of_teacher

__all__ = ["Teacher", "fingerprint", "load_teachers", "logits_of_teacher", "logits_on", "together"]
