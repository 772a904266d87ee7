"""One seed a run, from which every random draw follows, so that a run has no random state to save.

What is drawn for an image follows from its epoch (`augment.chance`), the order of an epoch from its number, and
what layers such as dropout draw from the step.
"""

import hashlib
import random

import numpy as np
import torch
from torch import Generator


def seed_everything(seed: int) -> None:
    """Seeds Python, numpy and torch; the weights' first values draw from torch's."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_step(seed: int, step: int, process: int) -> None:
    """Seeds torch, on every device, for one step of one process: what dropout draws follows from it."""
    torch.manual_seed(_number(seed, f"step of process {process}", step))


def generator(seed: int, stream: str, number: int) -> Generator:
    """A generator for one named stream at one step or epoch: no state to save, and streams never mix."""
    return Generator().manual_seed(_number(seed, stream, number))


def _number(seed: int, stream: str, number: int) -> int:
    digest = hashlib.sha256(f"{seed} {stream} {number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
