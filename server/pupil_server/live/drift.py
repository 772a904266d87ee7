"""Whether traffic still looks like a bundle's calibration images, by what needs no labels."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from pupil_server.bundle import Bundle
from pupil_server.live.stream import Numbers, Stream
from pupil_server.session import Outputs

LEVEL = 0.05  # the chance of a false alarm over the whole life of a stream, shared by all kinds
BINS = 10  # of equal mass among the calibration images
QUANTILES = np.arange(1, BINS) / BINS
MOST_HELD = 256  # images that wait to be counted together: one at a time would cost a small student its lead
MOST_HELD_BYTES = 500_000  # the loop counts these in a millisecond or so
DIGITS = 4  # below, numbers differ by the hardware and the size of a batch
ENOUGH = 56  # rows and columns: of a larger image so many are looked at, as at export


class Drift:
    """Counts by kind: predicted classes, and confidence, energy, brightness and contrast in bins."""

    def __init__(self, bundle: Bundle) -> None:
        classes = len(bundle.facts.classes)
        self._edges: dict[str, Numbers] = {}
        self.streams: dict[str, Stream] = {}
        for kind, values in _reference(bundle).items():
            cuts = np.arange(1, classes) - 0.5 if kind == "classes" else np.quantile(values.round(DIGITS), QUANTILES)
            self._edges[kind] = np.unique(cuts)
            self.streams[kind] = Stream(self._binned(kind, values))
        self.alarms: set[str] = set()
        self._held: list[tuple[NDArray[np.uint8], Outputs]] = []
        self._held_images = self._held_bytes = 0

    @property
    def images(self) -> int:
        return max((stream.images for stream in self.streams.values()), default=0)

    def add(self, pixels: NDArray[np.uint8], outputs: Outputs) -> bool:
        """Images (N, H, W, C) and what the model says. They are counted some at a time; says whether now is one."""
        if not self.streams:
            return False
        enough = looked_at(pixels)
        self._held.append((enough, outputs))
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
        pixels = np.concatenate([pixels for pixels, _ in self._held])
        outputs = Outputs(*map(np.concatenate, zip(*(outputs for _, outputs in self._held), strict=True)))
        self._held, self._held_images, self._held_bytes = [], 0, 0
        for kind, values in numbers(pixels, outputs).items():
            if kind in self.streams:
                self.streams[kind].add(self._binned(kind, values))
        enough = math.log(len(self.streams) / LEVEL)
        self.alarms |= {kind for kind, evidence in self.evidence().items() if evidence >= enough}

    def evidence(self) -> dict[str, float]:
        """By kind, as a logarithm, for "this traffic is another one"; empty where the bundle has no reference."""
        return {kind: stream.evidence() for kind, stream in self.streams.items()}

    def to_dict(self) -> dict[str, Any]:
        return {"streams": {kind: each.to_dict() for kind, each in self.streams.items()}, "alarms": sorted(self.alarms)}

    def restore(self, plain: dict[str, Any]) -> None:
        """Goes on from what `to_dict` gave. Raises as `Stream.from_dict` does where that makes no sense."""
        told, alarms = dict(plain["streams"]), set(plain["alarms"])
        if told.keys() != self.streams.keys() or not alarms <= told.keys():
            raise ValueError("counts of other kinds")
        self.streams = {kind: Stream.from_dict(mine.reference, told[kind]) for kind, mine in self.streams.items()}
        self.alarms = alarms

    def _binned(self, kind: str, values: Numbers) -> Numbers:
        edges = self._edges[kind]
        places = np.searchsorted(edges, values.round(DIGITS), side="right")
        return np.bincount(places, minlength=len(edges) + 1).astype(np.float64)


def looked_at(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every n-th row and column (N, h, w, C) of images (N, H, W, C)."""
    step = max(1, min(pixels.shape[1:3]) // ENOUGH)
    return np.ascontiguousarray(pixels[:, ::step, ::step])


def numbers(pixels: NDArray[np.uint8], outputs: Outputs) -> dict[str, Numbers]:
    """One number an image (N,) of each kind, from images (N, H, W, C) and what the model says of them.

    The energy (Liu et al. 2020) is what the last layer makes of its features and the scores do not tell: how strongly
    all classes together are spoken for.
    """
    flat = pixels.reshape(len(pixels), -1)
    return {
        "classes": outputs.scores.argmax(axis=1).astype(np.float64),
        "confidence": outputs.scores.max(axis=1).astype(np.float64),
        "energy": logsumexp(outputs.logits.astype(np.float64), axis=1),
        "brightness": flat.mean(axis=1) / 255,
        "contrast": flat.std(axis=1) / 255,
    }


def _reference(bundle: Bundle) -> dict[str, Numbers]:
    """The same of the calibration images, as far as the bundle tells."""
    images, calibration = bundle.calibration_set, bundle.calibration
    if images is None or calibration is None or not calibration.images:
        return {}
    told = {"brightness": images.brightness, "contrast": images.contrast, "energy": images.energy}
    known = {kind: values for kind, values in told.items() if values is not None}
    return {"classes": images.predicted.astype(np.float64), "confidence": calibration.confidence, **known}
