"""The metrics of several workers as those of one server."""

import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeAlias

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from pupil_proto.v1.models_pb2 import State

Merge: TypeAlias = Callable[[Iterable[float]], float]
Key: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]  # a sample's name and its labels
Life: TypeAlias = Hashable  # of one worker, from a start to the end of that process


def _worst_state(states: Iterable[float]) -> float:
    """Ready where every worker is."""
    return max(states, key=lambda state: (state != State.STATE_READY, state))


GAUGES: dict[str, Merge] = {  # how each of Metrics' gauges stays true of all workers together
    "pupil_in_flight_requests": sum,
    "pupil_queue_images": sum,
    "pupil_queue_bytes": sum,
    "pupil_model_info": max,
    "pupil_model_state": _worst_state,
    "pupil_nodes": max,
    "pupil_device_fallback": max,
    "pupil_disagreement": max,
    "pupil_drift_evidence": max,
    "pupil_watch_alarm": max,
    "pupil_certificates_valid": min,
    "pupil_front_info": max,
    "pupil_loop_lag_seconds": max,
}


class MergedMetrics(Collector):
    """Asks every worker when it is asked. What a worker had counted when it died is kept: no counter ever falls.

    `ask` gives the text of each worker that lives, None where it does not answer: then what it said last holds.
    """

    def __init__(self, ask: Callable[[], Mapping[Life, str | None]]) -> None:
        self._ask = ask
        self._last: dict[Life, list[Metric]] = {}
        self._of_the_dead: list[Metric] = []
        self._one_at_a_time = threading.Lock()  # an older answer must not come after a newer one

    def collect(self) -> list[Metric]:
        with self._one_at_a_time:
            for life, text in (texts := self._ask()).items():
                if text is not None:
                    self._last[life] = list(text_string_to_metric_families(text))
            for life in self._last.keys() - texts.keys():
                dead = [metric for metric in self._last.pop(life) if metric.type != "gauge"]
                self._of_the_dead = merged([self._of_the_dead, dead])
            return merged([self._of_the_dead, *self._last.values()])


def merged(workers: Iterable[Iterable[Metric]]) -> list[Metric]:
    """Each metric once: counters and histograms are sums, a gauge is what GAUGES makes of it."""
    found: dict[str, Metric] = {}
    values: dict[str, dict[Key, list[float]]] = {}
    for metrics in workers:
        for metric in metrics:
            found.setdefault(metric.name, metric)
            of_metric = values.setdefault(metric.name, {})
            for sample in metric.samples:
                of_metric.setdefault((sample.name, tuple(sorted(sample.labels.items()))), []).append(sample.value)
    return [_merged(metric, values[name]) for name, metric in sorted(found.items())]


def _merged(metric: Metric, values: Mapping[Key, list[float]]) -> Metric:
    one = Metric(metric.name, metric.documentation, metric.type)
    merge: Merge = GAUGES[metric.name] if metric.type == "gauge" else sum
    for (name, labels), each in values.items():
        one.add_sample(name, dict(labels), merge(each))
    return one
