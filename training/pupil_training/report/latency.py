"""How long one image takes, on this machine."""

import statistics
import time

import torch

from pupil_training.devices import processor, usable_cores
from pupil_training.judge.candidate import Candidate

WARM_UP, LEAST, MOST = 5, 20, 500  # answers
ENOUGH = 0.5  # seconds


def latency(candidate: Candidate) -> float:
    """Median seconds from uint8 pixels to logits, one image at a time, over `ENOUGH` seconds or `MOST` answers."""
    image = torch.zeros(1, candidate.data.height, candidate.data.width, candidate.data.channels, dtype=torch.uint8)
    for _ in range(WARM_UP):
        candidate.logits(image)
    seconds: list[float] = []
    while len(seconds) < LEAST or (sum(seconds) < ENOUGH and len(seconds) < MOST):
        began = time.perf_counter()
        candidate.logits(image)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def machine() -> str:
    """The processor, its cores that are ours, and the threads that compute."""
    device = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    threads = torch.get_num_threads()
    return f"{device}{processor()}, {usable_cores()} cores, {threads} thread{'s' if threads != 1 else ''}"
