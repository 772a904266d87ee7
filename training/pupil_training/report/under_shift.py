"""Accuracies under the shifts, ordered as a figure shows them."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pupil_training.evaluate import Counted
from pupil_training.judge.judgement import Judgement
from pupil_training.shifts import SHIFTS, Shift, Shifted


class ShiftRow(NamedTuple):
    """One shift from no strength at all to the strongest."""

    shift: Shift
    written: list[str]  # the strengths in words
    models: list[list[Counted]]  # of each model, at each strength
    examples: list[NDArray[np.uint8]]  # an image (H, W, C) at each strength


def shift_rows(judgements: Sequence[Judgement], shifted: Sequence[Sequence[Shifted]]) -> Iterator[ShiftRow]:
    """A row for each shift; the examples are the first model's first image."""
    by_shift = [[list(group) for _, group in groupby(each, lambda one: one.shift)] for each in shifted]
    image = judgements[0].images.images[:1]
    for shift, *models in zip(SHIFTS, *by_shift, strict=True):
        counted = [
            [judgement.accuracy, *(each.accuracy for each in found)]
            for judgement, found in zip(judgements, models, strict=True)
        ]
        examples = [image, *(shift(image, strength) for strength in shift.strengths)]
        written = ["as is", *map(shift.wording, shift.strengths)]
        yield ShiftRow(shift, written, counted, [each[0].numpy() for each in examples])
