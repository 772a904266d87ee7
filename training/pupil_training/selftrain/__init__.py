"""Self-training: a teacher labels the pool, a student learns from what is accepted and becomes the next teacher."""

from pupil_training.selftrain.rounds import self_train

__all__ = ["self_train"]
