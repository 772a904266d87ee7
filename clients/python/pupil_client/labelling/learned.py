"""The images whose labels a model has seen: a promise that is proven on them is worth nothing.

Images of the pool that it learned from without a person's label are no such ones. Of a random sample of that pool the
model knows no more than of the rest, which is all that the proof takes.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pupil_client.client import Client
from pupil_client.errors import ServerTooOld
from pupil_client.results import ModelInfo, Seen

LEARNED = ("train", "validation")  # validation chose the temperature, and which weights were kept


def learned_from(run: Path) -> frozenset[str]:
    """The SHA-256 of each. Raises ValueError for what is no run, OSError."""
    file = run / "splits.json"
    try:
        splits = json.loads(file.read_bytes())["splits"]
        return frozenset(digest for name in LEARNED if name in splits for digest in splits[name]["sha256"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{file}: not what training writes; --run takes the folder of a run") from None


def seen_before(client: Client, model: ModelInfo, digests: Sequence[str], run: frozenset[str] | None) -> Seen | None:
    """Which of the images the model was trained on, by its bundle and by the `run`, if one is given.

    None where neither can tell: no run, and a bundle or a server of an earlier version. Raises PupilError.
    """
    told = _by_bundle(client, model, digests)
    if run is None:
        return told
    told = told or Seen(len(run), (), (), ())
    places = {place for place, digest in enumerate(digests) if digest in run}
    return replace(told, labelled=tuple(sorted(places.union(told.labelled))))


def _by_bundle(client: Client, model: ModelInfo, digests: Sequence[str]) -> Seen | None:
    from pupil_trust import mark

    try:
        told = client.seen([mark(digest) for digest in digests], model=model.exactly)
    except ServerTooOld:
        return None
    return told if told.trained_on else None


def refuse_learned(names: Sequence[str], seen: Seen, model: ModelInfo) -> None:
    """Raises ValueError where the model has seen the label of any."""
    known = [names[place] for place in seen.labelled]
    if known:
        some = ", ".join(known[:3]) + (", …" if len(known) > 3 else "")
        raise ValueError(
            f"{model.name}/{model.version} was trained on {len(known):,} of these {len(names):,} images: {some}; it "
            f"has seen the labels of {seen.trained_on:,} images, and nothing can be proven on them: draw a sample from "
            "images that it has never seen"
        )
