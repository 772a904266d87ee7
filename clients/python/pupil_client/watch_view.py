"""The running picture of a student beside its teacher, on a terminal."""

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pupil_client import Client, Watch


def show_watch(client: "Client", student: str, every: float | None, as_json: bool) -> None:
    """Once, or every so many seconds."""
    while True:
        found = client.watch(student)
        click.echo(json.dumps(asdict(found), ensure_ascii=False) if as_json else _in_words(found))
        if not every:
            return
        time.sleep(every)


def _in_words(found: "Watch") -> str:
    """Each on a line of its own: what was compared, what was counted, what is the matter."""
    low, high = found.disagreement
    lines = [f"{found.model}/{found.version}: its teacher differs on {found.disagreed:,} of {found.compared:,} images, "
             f"a rate of {low:.2%} to {high:.2%}; mean KL {found.mean_kl:.4f}"]  # fmt: skip
    if found.evidence:
        kinds = ", ".join(f"{kind} {evidence:+.1f}" for kind, evidence in found.evidence.items())
        lines.append(f"evidence that {found.images:,} images are not like the calibration set: {kinds}")
    lines += [f"ALARM: {alarm}" for alarm in found.alarms]
    return "\n".join([*lines, *([f"certificates have lapsed: {found.lapsed}"] if found.lapsed else [])])
