"""Cuts labelled images into splits, so that every class has its share in each."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pupil_training.errors import DataError


def cut(
    labels: ArrayLike, classes: Sequence[str], shares: Mapping[str, float], seed: int
) -> dict[str, NDArray[np.int64]]:
    """Disjoint indices for each name in `shares`, and the rest as "train"; each ascending.

    Labels are places in `classes`. Every class gives round(share × its images) to each split. Raises DataError where
    that leaves a class without an image in a split that was asked for.
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
                raise DataError(
                    f"class '{classes[label]}' has {whole} images, too few for one in {name} at data.{name} = {share}: "
                    "add some, raise the share, or leave the class out with data.only"
                )
            parts[name].append(mine[:count])
            mine = mine[count:]
        if len(mine) == 0:
            raise DataError("the shares of validation, calibration and pool leave nothing for training")
        parts["train"].append(mine)
    return {name: np.sort(np.concatenate(chosen)) for name, chosen in parts.items()}


def cut_groups(
    labels: ArrayLike, groups: Sequence[str], shares: Mapping[str, float], seed: int
) -> dict[str, NDArray[np.int64]]:
    """As `cut`, but the images of one group stay together; each split misses its share by at most one group.

    One group after the other, in random order, goes where the classes that it holds are missed most, among the
    splits that have room for it; where none has, to the one with the most room. Raises DataError where a split
    that was asked for stays empty, or training without a class.
    """
    classes, numbers = np.unique(np.asarray(labels, dtype=np.int64), return_inverse=True)
    whole = np.bincount(numbers)
    names = [*shares, "train"]
    missed = np.outer([*shares.values(), 1 - sum(shares.values())], whole)  # images by split and class
    members = _members(groups)
    places = np.empty(len(numbers), dtype=np.int64)
    for group in np.random.default_rng(seed).permutation(len(members)):
        mine = members[group]
        held = np.bincount(numbers[mine], minlength=len(classes))
        room = missed.sum(axis=1)
        fitting = np.flatnonzero(room >= len(mine) - 1e-9)
        place = fitting[np.argmax(missed[fitting] @ held)] if len(fitting) else np.argmax(room)
        missed[place] -= held
        places[mine] = place
    parts = {name: np.flatnonzero(places == place) for place, name in enumerate(names)}
    for name, share in shares.items():
        if share > 0 and len(parts[name]) == 0:
            raise DataError(f"{len(members)} groups leave none for a {name} share of {share}")
    if len(np.unique(numbers[parts["train"]])) < len(classes):
        raise DataError(f"{len(members)} groups are too few: one class has no image left for training")
    return parts


def _members(groups: Sequence[str]) -> list[NDArray[np.int64]]:
    """The images of each group, in the order in which the groups come first."""
    number: dict[str, int] = {}
    of_image = np.array([number.setdefault(group, len(number)) for group in groups])
    ends = np.cumsum(np.bincount(of_image))[:-1]
    return np.split(np.argsort(of_image, kind="stable"), ends)


def label_some(labels: ArrayLike, count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of `count` images, of each class as many (one more or less), and of the rest; each ascending.

    Raises DataError where a class has too few.
    """
    numbers = np.asarray(labels, dtype=np.int64)
    random = np.random.default_rng((seed, count))
    classes = np.unique(numbers)
    wanted = {label: count // len(classes) + (i < count % len(classes)) for i, label in enumerate(classes.tolist())}
    some = []
    for label, images in wanted.items():
        mine = random.permutation(np.flatnonzero(numbers == label))
        if len(mine) < images or images == 0:
            raise DataError(f"{count} labelled images are {images} of each class, but one class has {len(mine)}")
        some.append(mine[:images])
    chosen = np.sort(np.concatenate(some))
    return chosen, np.setdiff1d(np.arange(len(numbers)), chosen)
