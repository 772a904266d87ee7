from collections.abc import Iterable

import prometheus_client as library
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pupil_server import tallies

BOUNDS = (0.5, 1, 2.5)


@pytest.mark.parametrize("values", [(), (0.1,), (0.5, 1.0, 2.5), (0.6, 2.51, 1e9, 0.0, -1.0)])
def test_a_histogram_is_exposed_to_the_letter_as_the_librarys_own(values: Iterable[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    one = tallies.Histogram("pupil_x_seconds", "Some \\ text.", ("model",), buckets=BOUNDS, registry=ours)
    other = library.Histogram("pupil_x_seconds", "Some \\ text.", ("model",), buckets=BOUNDS, registry=theirs)
    for value in values:
        one.labels('a "name"').observe(value)
        other.labels('a "name"').observe(value)
    assert _without_times(generate_latest(ours)) == _without_times(generate_latest(theirs))


def test_a_counter_is_exposed_to_the_letter_as_the_librarys_own() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    one = tallies.Counter("pupil_x", "Some text.", ("method", "code"), registry=ours)
    other = library.Counter("pupil_x", "Some text.", ("method", "code"), registry=theirs)
    for labels in (("a", "OK"), ("a", "OK"), ("b", "INTERNAL")):
        one.labels(*labels).inc()
        other.labels(*labels).inc()
    assert _without_times(generate_latest(ours)) == _without_times(generate_latest(theirs))


def test_a_name_that_is_taken_is_refused_as_everywhere_in_the_registry() -> None:
    registry = CollectorRegistry()
    tallies.Counter("pupil_x", "Some text.", (), registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        tallies.Counter("pupil_x", "Some text.", (), registry=registry)


def _without_times(exposed: bytes) -> list[str]:
    """The library's own may also say when a series began, unless it was told not to."""
    return [line for line in exposed.decode().splitlines() if "_created" not in line]
