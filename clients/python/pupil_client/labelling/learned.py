"""The images whose labels a run has seen: a promise that is proven on them is worth nothing.

Images of the pool that it learned from without a person's label are no such ones. Of a random sample of that pool the
model knows no more than of the rest, which is all that the proof takes.
"""

import json
from pathlib import Path

LEARNED = ("train", "validation")  # validation chose the temperature, and which weights were kept


def learned_from(run: Path) -> frozenset[str]:
    """The SHA-256 of each. Raises ValueError for what is no run, OSError."""
    file = run / "splits.json"
    try:
        splits = json.loads(file.read_bytes())["splits"]
        return frozenset(digest for name in LEARNED if name in splits for digest in splits[name]["sha256"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{file}: not what training writes; --run takes the folder of a run") from None
