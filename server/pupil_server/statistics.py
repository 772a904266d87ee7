"""What one model has done since it was loaded, in numbers that only grow. Any protocol may tell them."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Spent:
    """How often, and how long in all."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        self.count += times
        self.seconds += seconds * times


@dataclass(slots=True)
class Statistics:
    """Written and read on the event loop alone, each event at once: whoever reads sees numbers that fit together."""

    answered: Spent = field(default_factory=Spent)  # requests, from the model's door to their answer
    failed: Spent = field(default_factory=Spent)  # refused, expired and abandoned ones too
    input_seconds: float = 0.0  # decoding; this and the two below are of the answered requests
    queue_seconds: float = 0.0
    compute_seconds: float = 0.0
    batches: dict[int, Spent] = field(default_factory=dict)  # by their images
    images: int = 0
    last_batch: float = 0.0  # seconds since 1970

    def answer(self, seconds: float, *, decoding: float, queue: float, compute: float, requests: int = 1) -> None:
        self.answered.add(seconds, requests)
        self.input_seconds += decoding * requests
        self.queue_seconds += queue * requests
        self.compute_seconds += compute * requests

    def batch(self, images: int, seconds: float) -> None:
        self.batches.setdefault(images, Spent()).add(seconds)
        self.images += images
        self.last_batch = time.time()
