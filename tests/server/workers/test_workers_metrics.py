"""The metrics of several workers, merged: against sums worked out by hand."""

from prometheus_client import CollectorRegistry, generate_latest

from pupil_server.metrics import Metrics
from pupil_server.workers.metrics import GAUGES, MergedMetrics

ONE = """\
# HELP pupil_requests_total Calls answered.
# TYPE pupil_requests_total counter
pupil_requests_total{code="OK",method="Classify"} 5.0
pupil_requests_total{code="NOT_FOUND",method="Classify"} 1.0
# HELP pupil_queue_seconds From the door to the batch.
# TYPE pupil_queue_seconds histogram
pupil_queue_seconds_bucket{le="0.5",model="a \\"quoted\\" name"} 2.0
pupil_queue_seconds_bucket{le="+Inf",model="a \\"quoted\\" name"} 3.0
pupil_queue_seconds_count{model="a \\"quoted\\" name"} 3.0
pupil_queue_seconds_sum{model="a \\"quoted\\" name"} 1.75
# HELP pupil_in_flight_requests Calls that are being worked on.
# TYPE pupil_in_flight_requests gauge
pupil_in_flight_requests 2.0
# HELP pupil_loop_lag_seconds How late the event loop woke up last.
# TYPE pupil_loop_lag_seconds gauge
pupil_loop_lag_seconds 0.25
# HELP pupil_certificates_valid 0 where they lapsed.
# TYPE pupil_certificates_valid gauge
pupil_certificates_valid{model="student"} 1.0
# HELP pupil_model_state The state's number.
# TYPE pupil_model_state gauge
pupil_model_state{model="student"} 3.0
pupil_model_state{model="teacher"} 3.0
"""
TWO = """\
# HELP pupil_requests_total Calls answered.
# TYPE pupil_requests_total counter
pupil_requests_total{code="OK",method="Classify"} 7.0
pupil_requests_total{code="OK",method="Compare"} 4.0
# HELP pupil_queue_seconds From the door to the batch.
# TYPE pupil_queue_seconds histogram
pupil_queue_seconds_bucket{le="0.5",model="a \\"quoted\\" name"} 10.0
pupil_queue_seconds_bucket{le="+Inf",model="a \\"quoted\\" name"} 10.0
pupil_queue_seconds_count{model="a \\"quoted\\" name"} 10.0
pupil_queue_seconds_sum{model="a \\"quoted\\" name"} 0.5
# HELP pupil_in_flight_requests Calls that are being worked on.
# TYPE pupil_in_flight_requests gauge
pupil_in_flight_requests 1.0
# HELP pupil_loop_lag_seconds How late the event loop woke up last.
# TYPE pupil_loop_lag_seconds gauge
pupil_loop_lag_seconds 0.125
# HELP pupil_certificates_valid 0 where they lapsed.
# TYPE pupil_certificates_valid gauge
pupil_certificates_valid{model="student"} 0.0
# HELP pupil_model_state The state's number.
# TYPE pupil_model_state gauge
pupil_model_state{model="student"} 2.0
pupil_model_state{model="teacher"} 3.0
"""
TOGETHER = """\
# HELP pupil_certificates_valid 0 where they lapsed.
# TYPE pupil_certificates_valid gauge
pupil_certificates_valid{model="student"} 0.0
# HELP pupil_in_flight_requests Calls that are being worked on.
# TYPE pupil_in_flight_requests gauge
pupil_in_flight_requests 3.0
# HELP pupil_loop_lag_seconds How late the event loop woke up last.
# TYPE pupil_loop_lag_seconds gauge
pupil_loop_lag_seconds 0.25
# HELP pupil_model_state The state's number.
# TYPE pupil_model_state gauge
pupil_model_state{model="student"} 2.0
pupil_model_state{model="teacher"} 3.0
# HELP pupil_queue_seconds From the door to the batch.
# TYPE pupil_queue_seconds histogram
pupil_queue_seconds_bucket{le="0.5",model="a \\"quoted\\" name"} 12.0
pupil_queue_seconds_bucket{le="+Inf",model="a \\"quoted\\" name"} 13.0
pupil_queue_seconds_count{model="a \\"quoted\\" name"} 13.0
pupil_queue_seconds_sum{model="a \\"quoted\\" name"} 2.25
# HELP pupil_requests_total Calls answered.
# TYPE pupil_requests_total counter
pupil_requests_total{code="OK",method="Classify"} 12.0
pupil_requests_total{code="NOT_FOUND",method="Classify"} 1.0
pupil_requests_total{code="OK",method="Compare"} 4.0
"""


def page(*answers: dict[object, str | None]) -> list[str]:
    """What is shown for each of these answers of the workers, one after the other."""
    coming = iter(answers)
    registry = CollectorRegistry()
    registry.register(MergedMetrics(lambda: next(coming)))
    return [generate_latest(registry).decode() for _ in answers]


def requests(text: str) -> float:
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("pupil_requests_total"))


def test_counters_and_histograms_are_added_and_gauges_stay_true() -> None:
    assert page({1: ONE, 2: TWO}) == [TOGETHER]


def test_what_a_worker_had_counted_outlives_it_and_what_it_held_does_not() -> None:
    both, one, anew = page({1: ONE, 2: TWO}, {1: ONE}, {1: ONE, 3: TWO})
    assert (requests(both), requests(one), requests(anew)) == (17, 17, 17 + 11)
    assert "pupil_in_flight_requests 2.0" in one
    assert 'pupil_queue_seconds_sum{model="a \\"quoted\\" name"} 2.25' in one
    assert 'pupil_model_state{model="student"} 3.0' in one


def test_a_worker_that_does_not_answer_for_a_moment_is_still_counted() -> None:
    first, silent, gone = page({1: ONE, 2: TWO}, {1: None, 2: TWO}, {2: TWO})
    assert first == silent == TOGETHER
    assert requests(gone) == 17


def test_there_is_a_rule_for_every_gauge_of_a_server() -> None:
    assert GAUGES.keys() == {metric.name for metric in Metrics().registry.collect() if metric.type == "gauge"}


def test_the_page_of_a_whole_server_merged_with_nothing_is_the_same_page() -> None:
    metrics = Metrics()
    metrics.requests.labels("Classify", "OK").inc(3)
    metrics.request_seconds.labels("Classify").observe(0.003)
    metrics.queue_images.labels("student", "1").set(4)
    text = generate_latest(metrics.registry).decode()
    (shown,) = page({1: text})
    assert sorted(shown.splitlines()) == sorted(text.splitlines())
