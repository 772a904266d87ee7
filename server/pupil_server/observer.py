"""What the batcher of a model tells of itself, as metrics and statistics."""

from pupil_server.bundle_facts import BundleFacts
from pupil_server.door import Door
from pupil_server.metrics import Metrics


class Observer:
    """Of one model in one precision."""

    def __init__(self, facts: BundleFacts, door: Door, metrics: Metrics) -> None:
        labels = (facts.model, str(facts.version))
        admission = door.admission
        self._admission, self._statistics = admission, door.statistics
        self._metrics = metrics
        self._batch_images = metrics.batch_images.labels(*labels)
        self._inference_seconds = metrics.inference_seconds.labels(*labels)
        self._queue_seconds = metrics.queue_seconds.labels(*labels)
        metrics.queue_images.labels(*labels).set_function(lambda: admission.images)
        metrics.queue_bytes.labels(*labels).set_function(lambda: admission.bytes)

    def batched(self, images: int, seconds: float) -> None:
        self._admission.measured(images, seconds)
        self._statistics.batch(images, seconds)
        self._batch_images.observe(images)
        self._inference_seconds.observe(seconds)

    def started(self, queue_seconds: float, requests: int = 1) -> None:
        self._queue_seconds.observe(queue_seconds, requests)

    def cancelled(self, stage: str) -> None:
        self._metrics.cancelled.labels(stage).inc()

    def expired(self, stage: str) -> None:
        self._metrics.expired.labels(stage).inc()
