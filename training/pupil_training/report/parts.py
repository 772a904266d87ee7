"""A part of the page is there, or a sentence says why not."""

from collections.abc import Callable
from typing import Any

Part = dict[str, Any]  # what the template shows


class LeftOut(Exception):
    """Why a part is left out, as a sentence."""


def part(make: Callable[[], Part]) -> Part:
    """What `make` gives, or the sentence under `left_out`."""
    try:
        return make()
    except LeftOut as reason:
        return {"left_out": str(reason)}
