"""Which rows of a labels file are wanted, and the order in which a person should look at abstentions."""

import heapq
import json
from collections.abc import Iterable, Iterator
from itertools import chain

from pupil_client.labelling.rows import Row
from pupil_client.labelling.scratch import on_disk


def choose(rows: Iterable[Row], only: str) -> Iterator[Row]:
    """All rows as they come, the accepted ones, or the abstentions as a review queue: the most doubtful first.

    The classes, which the file's first row names, are named by the first one that is chosen.
    """
    remaining = iter(rows)
    first = next(remaining, None)
    if first is None:
        return
    classes = first.get("classes")
    for number, row in enumerate(_chosen(chain([first], remaining), only)):
        yield {**row, "classes": None if number else classes}


def _chosen(rows: Iterable[Row], only: str) -> Iterable[Row]:
    if only == "all":
        return rows
    readable = (row for row in rows if row.get("error") is None)
    if only == "accepted":
        return (row for row in readable if row["accepted"])
    return _most_doubtful_first(row for row in readable if not row["accepted"])


def _most_doubtful_first(rows: Iterable[Row]) -> Iterator[Row]:
    """Of equal doubt in the order in which they come."""
    with on_disk() as sql:
        sql.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, agree, kl, margin, row)")
        told = ((*doubt(row), json.dumps(row)) for row in rows)
        sql.executemany("INSERT INTO rows (agree, kl, margin, row) VALUES (?, ?, ?, ?)", told)
        for (row,) in sql.execute("SELECT row FROM rows ORDER BY agree, kl, margin, number"):
            yield json.loads(row)


def doubt(row: Row) -> tuple[bool, float, float]:
    """Sorts by doubt: where both models were asked first those on which they differ, by how far, then by margin."""
    agree, kl = row.get("agree"), row.get("kl")
    return (agree is not False, -(kl or 0.0), margin(row))


def margin(row: Row) -> float:
    """How far the best class is ahead of the second."""
    scores = row.get("scores")
    if not scores or len(scores) < 2:
        return float(row.get("confidence") or 0.0)
    best, second = heapq.nlargest(2, scores)
    return float(best - second)
