"""One seed a run, from which every random draw follows."""

import hashlib
import random
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor


def seed_everything(seed: int) -> None:
    """Seeds Python, numpy and torch; the weights' first values and dropout draw from torch's."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def generator(seed: int, stream: str, number: int) -> Generator:
    """A generator for one named stream at one step or epoch: no state to save, and streams never mix."""
    digest = hashlib.sha256(f"{seed} {stream} {number}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def batch_indices(step: int, batch_size: int, count: int, seed: int) -> Tensor:
    """Which of `count` images make up batch 1, 2, …: epoch after epoch, each in its own order, none left out."""
    first = (step - 1) * batch_size
    wanted = torch.arange(first, first + batch_size)
    epochs = range(first // count, (first + batch_size - 1) // count + 1)
    orders = torch.cat([torch.randperm(count, generator=generator(seed, "order", epoch)) for epoch in epochs])
    return orders[wanted - epochs[0] * count]


def random_states() -> dict[str, Any]:
    """torch's global states, which dropout draws from; every other draw follows from the seed and the step."""
    return {"torch": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def restore_random_states(states: dict[str, Any]) -> None:
    """Goes on where `random_states` was taken."""
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
