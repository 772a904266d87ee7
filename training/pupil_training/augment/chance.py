"""Random numbers that belong to an image and an epoch: the same whichever batch, process or teacher asks for them.

A counter-based generator (Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3) has no state, so nothing
has to be saved for a run to go on bit by bit, two processes draw what one would, and a view can be made again
from its epoch. The mixing is SplitMix64's (Steele, Lea, Flood 2014).
"""

import hashlib

import numpy as np
import torch
from torch import Tensor

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Chance:
    """Draws for the images of one batch: `chosen` (B,), in their pass over the set, `epochs` (B,)."""

    def __init__(self, seed: int, stream: str, chosen: Tensor, epochs: Tensor) -> None:
        self._seed = seed
        self._stream = stream
        self.epochs = epochs
        image, epoch = (part.numpy().astype(np.uint64) for part in (chosen, epochs))
        self._image = _mixed(image)
        self._counter = _mixed(image + (epoch << np.uint64(40)))  # a trillion images, sixteen million epochs

    def uniform(self, name: str) -> Tensor:
        """float32 (B,) in [0, 1), for this purpose and no other."""
        return self._drawn(self._counter, name)

    def once(self, name: str) -> Tensor:
        """float32 (B,) in [0, 1), the same in every epoch."""
        return self._drawn(self._image, f"once {name}")

    def between(self, name: str, reach: float) -> Tensor:
        """float32 (B,) in [-reach, reach)."""
        return (self.uniform(name) * 2 - 1) * reach

    def whole(self, name: str, count: int) -> Tensor:
        """int64 (B,), each of 0 … count - 1 alike."""
        return (self.uniform(name).double() * count).long()

    def _drawn(self, counter: np.ndarray, name: str) -> Tensor:
        digest = hashlib.sha256(f"{self._seed} {self._stream} {name}".encode()).digest()
        bits = _mixed(counter ^ np.frombuffer(digest[:8], np.uint64))
        return torch.from_numpy((bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-24))


def _mixed(counter: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # modulo 2⁶⁴ is meant
        bits = counter + GOLDEN
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: np.ndarray = bits ^ (bits >> np.uint64(31))
    return mixed
