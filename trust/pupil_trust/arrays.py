"""Refuses arrays that are not what they should be, in one line each."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def confidences(values: ArrayLike, name: str = "confidence") -> NDArray[np.float64]:
    """`values` as float64 (N,); ValueError unless it is one row of finite numbers (N may be 0)."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} has the shape {array.shape}; one number an image is wanted")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity at index {int(np.argmin(np.isfinite(array)))}")
    return array


def one_each(confidence: NDArray[np.float64], correct: ArrayLike) -> NDArray[np.bool_]:
    """`correct` as bool (N,); ValueError unless it goes with `confidence`."""
    array = np.asarray(correct)
    if array.shape != confidence.shape:
        raise ValueError(f"correct has the shape {array.shape}, confidence {confidence.shape}; one an image is wanted")
    return right_or_wrong(array, "correct")


def right_or_wrong(values: ArrayLike, name: str) -> NDArray[np.bool_]:
    """`values` as bool (N,); ValueError unless they are true or false, one an image (N may be 0)."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} has the shape {array.shape}; one an image is wanted")
    if array.size and array.dtype != np.bool_:
        raise ValueError(f"{name} holds {array.dtype}; true or false is wanted")
    return array.astype(np.bool_)


def places_in(labels: ArrayLike, images: int, classes: int) -> NDArray[np.int64]:
    """`labels` as int64 (N,); ValueError unless they are whole numbers below `classes`, one for each of `images`."""
    array = np.asarray(labels)
    if array.shape != (images,) or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"labels are {array.dtype} {array.shape}; {images} whole numbers are wanted")
    if images and (array.min() < 0 or array.max() >= classes):
        raise ValueError(f"labels run from {array.min()} to {array.max()}; 0 to {classes - 1} is wanted")
    return array.astype(np.int64)


def share(value: float, name: str) -> float:
    """`value`; ValueError unless it lies strictly between 0 and 1."""
    if not 0.0 < value < 1.0:  # also refuses NaN
        raise ValueError(f"{name} is {value}; a number between 0 and 1 is wanted")
    return value
