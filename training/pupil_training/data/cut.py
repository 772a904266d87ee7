"""Cuts labelled images into splits, so that every class has its share in each."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pupil_training.errors import DataError


def cut(labels: Sequence[int], shares: Mapping[str, float], seed: int) -> dict[str, NDArray[np.int64]]:
    """Disjoint indices for each name in `shares`, and the rest as "train"; each ascending.

    Every class gives round(share × its images) to each split. Raises DataError where that leaves a class
    without an image in a split that was asked for.
    """
    numbers = np.asarray(labels, dtype=np.int64)
    random = np.random.default_rng(seed)
    parts: dict[str, list[NDArray[np.int64]]] = {name: [] for name in ["train", *shares]}
    for label in np.unique(numbers):
        mine = random.permutation(np.flatnonzero(numbers == label))
        whole = len(mine)
        for name, share in shares.items():
            count = round(share * whole)
            if share > 0 and count == 0:
                raise DataError(f"a class of {whole} images has none for a {name} share of {share}")
            parts[name].append(mine[:count])
            mine = mine[count:]
        if len(mine) == 0:
            raise DataError("the shares of validation, calibration and pool leave nothing for training")
        parts["train"].append(mine)
    return {name: np.sort(np.concatenate(chosen)) for name, chosen in parts.items()}
