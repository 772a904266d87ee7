"""Whether traffic still looks like a bundle's calibration images, by what needs no labels."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pupil_server.bundle import Bundle
from pupil_trust.drift import drift_evidence

LEVEL = 0.05  # the chance of a false alarm over the whole life of a stream, shared by all kinds
BINS = 10  # of equal mass among the calibration images
MOST_HELD = 256  # images that wait to be counted together: one at a time would cost a small student its lead
MOST_HELD_BYTES = 4_000_000
ENOUGH = 56  # rows and columns: of a larger image so many are looked at, as at export

Numbers = NDArray[np.float64]


class Drift:
    """Counts by kind: predicted classes, and confidence, brightness and contrast in bins."""

    def __init__(self, bundle: Bundle) -> None:
        classes = len(bundle.facts.classes)
        self._edges: dict[str, Numbers] = {}
        self._reference: dict[str, Numbers] = {}
        for kind, values in _reference(bundle).items():
            cuts = np.arange(1, classes) - 0.5 if kind == "classes" else np.quantile(values, np.arange(1, BINS) / BINS)
            self._edges[kind] = np.unique(cuts)
            self._reference[kind] = self._binned(kind, values)
        self.counts = {kind: np.zeros_like(each) for kind, each in self._reference.items()}
        self.alarms: set[str] = set()
        self._held: list[tuple[NDArray[np.uint8], NDArray[np.float32]]] = []
        self._held_images = self._held_bytes = 0

    @property
    def images(self) -> int:
        return int(max((counts.sum() for counts in self.counts.values()), default=0))

    def add(self, pixels: NDArray[np.uint8], scores: NDArray[np.float32]) -> bool:
        """Images (N, H, W, C) with their scores (N, K). They are counted some at a time; says whether now is one."""
        if not self._reference:
            return False
        enough = looked_at(pixels)
        self._held.append((enough, scores))
        self._held_images += len(pixels)
        self._held_bytes += enough.nbytes
        if self._held_images < MOST_HELD and self._held_bytes < MOST_HELD_BYTES:
            return False
        self.count()
        return True

    def count(self) -> None:
        """Counts what is held."""
        if not self._held:
            return
        pixels, scores = (np.concatenate(each) for each in zip(*self._held, strict=True))
        self._held, self._held_images, self._held_bytes = [], 0, 0
        for kind, values in features(pixels, scores).items():
            if kind in self.counts:
                self.counts[kind] += self._binned(kind, values)
        enough = math.log(len(self.counts) / LEVEL)
        self.alarms |= {kind for kind, evidence in self.evidence().items() if evidence >= enough}

    def evidence(self) -> dict[str, float]:
        """By kind, as a logarithm, for "this traffic is another one"; empty where the bundle has no reference."""
        return {kind: drift_evidence(self._reference[kind], counts) for kind, counts in self.counts.items()}

    def to_dict(self) -> dict[str, Any]:
        return {"counts": {kind: each.tolist() for kind, each in self.counts.items()}, "alarms": sorted(self.alarms)}

    def restore(self, plain: dict[str, Any]) -> None:
        """Goes on from what `to_dict` gave. Raises ValueError where that is of other kinds or bins."""
        counts = {kind: np.array(each, dtype=np.float64) for kind, each in plain["counts"].items()}
        if {kind: each.shape for kind, each in counts.items()} != {k: each.shape for k, each in self.counts.items()}:
            raise ValueError("counts of other kinds or bins")
        self.counts, self.alarms = counts, set(plain["alarms"])

    def _binned(self, kind: str, values: Numbers) -> Numbers:
        edges = self._edges[kind]
        places = np.searchsorted(edges, values, side="right")
        return np.bincount(places, minlength=len(edges) + 1).astype(np.float64)


def looked_at(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every n-th row and column (N, h, w, C) of images (N, H, W, C)."""
    step = max(1, min(pixels.shape[1:3]) // ENOUGH)
    return np.ascontiguousarray(pixels[:, ::step, ::step])


def features(pixels: NDArray[np.uint8], scores: NDArray[np.float32]) -> dict[str, Numbers]:
    """One number an image (N,) of each kind, from images (N, H, W, C) and their scores (N, K)."""
    flat = pixels.reshape(len(pixels), -1)
    return {
        "classes": scores.argmax(axis=1).astype(np.float64),
        "confidence": scores.max(axis=1).astype(np.float64),
        "brightness": flat.mean(axis=1) / 255,
        "contrast": flat.std(axis=1) / 255,
    }


def _reference(bundle: Bundle) -> dict[str, Numbers]:
    """The same of the calibration images, as far as the bundle tells."""
    images, calibration = bundle.calibration_set, bundle.calibration
    if images is None or calibration is None or not calibration.images:
        return {}
    told = {"brightness": images.brightness, "contrast": images.contrast}
    known = {kind: values for kind, values in told.items() if values is not None}
    return {"classes": images.predicted.astype(np.float64), "confidence": calibration.confidence, **known}
