"""A teacher in a process of its own, for the shadow.

Standard input: a pickled TeacherFacts, then images again and again, pickled pixels (N, H, W, C) or a list of files.
Standard output, for each of them: how many rows follow, and the scores (N, K) as float32; no rows where a file cannot
be read. It ends with its standard input.
"""

import hashlib
import pickle
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from pupil_server.bundle_facts import InputSize, Resize
from pupil_server.errors import BadImage
from pupil_server.images import Limits, decode
from pupil_server.session import Session

Images = NDArray[np.uint8] | list[bytes]

ROWS = Struct("<I")


@dataclass(frozen=True)
class TeacherFacts:
    """What the process must know of its model."""

    graph: Path
    sha256: str
    precision: str
    input: InputSize
    resize: Resize
    max_batch: int
    limits: Limits

    def session(self) -> Session:
        """In this thread alone. Raises ValueError where the file is no longer what the server loaded."""
        if hashlib.sha256(self.graph.read_bytes()).hexdigest() != self.sha256:
            raise ValueError(f"{self.graph} has changed since it was loaded")
        shape, most = self.input.shape, self.max_batch
        return Session(self.graph, device="cpu", threads=1, shape=shape, max_batch=most, precision=self.precision)

    def pixels(self, images: Images) -> NDArray[np.uint8]:
        """(N, H, W, C). Raises BadImage."""
        if isinstance(images, np.ndarray):
            return images
        return np.stack([decode(file, self.input, self.resize, self.limits) for file in images])


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the server
    facts: TeacherFacts = pickle.load(sys.stdin.buffer)
    session = facts.session()
    while True:
        try:
            images: Images = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            scores = session.run(facts.pixels(images)).scores
        except BadImage:
            scores = np.empty((0, 0), np.float32)
        sys.stdout.buffer.write(ROWS.pack(len(scores)) + scores.tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
