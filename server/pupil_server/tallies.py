"""Histograms and counters written on the event loop alone: without a lock, at a fraction of the library's cost."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

INFINITE = float("inf")


class Tally:
    """How many values lie below each bound, and their sum."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * len(bounds)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self._bounds, value)] += times
        self.sum += value * times


class Histogram(Collector):
    """Tallies of one name, by the values of their labels."""

    def __init__(
        self, name: str, text: str, labels: tuple[str, ...], *, buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._bounds = (*buckets, INFINITE)
        self._tallies: dict[tuple[str, ...], Tally] = {}
        registry.register(self)

    def labels(self, *values: str) -> Tally:
        return self._tallies.get(values) or self._tallies.setdefault(values, Tally(self._bounds))

    def describe(self) -> list[Metric]:
        return [HistogramMetricFamily(self._name, self._text, labels=self._labels)]

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for values, tally in list(self._tallies.items()):
            below = zip(map(floatToGoString, self._bounds), accumulate(tally.counts), strict=True)
            family.add_metric(values, [(bound, float(count)) for bound, count in below], tally.sum)
        yield family


class Count:
    """How often something happened."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0

    def inc(self, by: int = 1) -> None:
        self.number += by


class Counter(Collector):
    """Counts of one name, by the values of their labels."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...], *, registry: CollectorRegistry) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._counts: dict[tuple[str, ...], Count] = {}
        registry.register(self)

    def labels(self, *values: str) -> Count:
        return self._counts.get(values) or self._counts.setdefault(values, Count())

    def describe(self) -> list[Metric]:
        return [CounterMetricFamily(self._name, self._text, labels=self._labels)]

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for values, count in list(self._counts.items()):
            family.add_metric(values, float(count.number))
        yield family
