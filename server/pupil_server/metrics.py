"""Every metric of the server, in one place."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from pupil_server import tallies

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
NATS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)

# A second series for each counter, which only OpenMetrics' own readers use. The library leaves the call untyped.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one server, on a registry of their own."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        model = ("model", "version")
        self.requests = tallies.Counter("pupil_requests", "Calls answered.", ("method", "code"), registry=r)
        self.request_seconds = tallies.Histogram(
            "pupil_request_seconds",
            "From the request read to the answer built.",
            ("method",),
            registry=r,
            buckets=SECONDS,
        )
        self.in_flight = Gauge("pupil_in_flight_requests", "Calls that are being worked on.", registry=r)
        self.decode_seconds = Histogram(
            "pupil_decode_seconds", "Decoding and resizing the images of one request.", registry=r, buckets=SECONDS
        )
        self.queue_seconds = tallies.Histogram(
            "pupil_queue_seconds", "From the queue's door to the first batch.", model, registry=r, buckets=SECONDS
        )
        self.inference_seconds = tallies.Histogram(
            "pupil_inference_seconds", "One batch in the model.", model, registry=r, buckets=SECONDS
        )
        self.batch_images = tallies.Histogram(
            "pupil_batch_images", "Images in one batch.", model, registry=r, buckets=IMAGES
        )
        self.queue_images = Gauge("pupil_queue_images", "Images admitted and not yet answered.", model, registry=r)
        self.queue_bytes = Gauge("pupil_queue_bytes", "What they hold, files and pixels.", model, registry=r)
        self.rejected = Counter("pupil_rejected", "Requests refused, by reason.", ("reason",), registry=r)
        self.expired = Counter("pupil_expired", "Requests out of time, by stage.", ("stage",), registry=r)
        self.cancelled = Counter("pupil_cancelled", "Requests whose caller hung up, by stage.", ("stage",), registry=r)
        self.model_info = Gauge(
            "pupil_model_info", "1 for each loaded version.", (*model, "fingerprint", "precision", "device"), registry=r
        )
        self.model_state = Gauge("pupil_model_state", "The state's number in models.proto.", model, registry=r)
        self.nodes = Gauge(
            "pupil_nodes", "Nodes of a loaded graph, by where they run.", (*model, "precision", "device"), registry=r
        )
        self.device_fallback = Gauge("pupil_device_fallback", "1 where auto fell back to the CPU.", model, registry=r)
        self.agreement = Counter(
            "pupil_agreement", "Compared images, by whether the models agree.", ("agree",), registry=r
        )
        self.kl_nats = Histogram("pupil_kl_nats", "KL(teacher || student) of one image.", registry=r, buckets=NATS)
        self.cascade_routes = Counter(
            "pupil_cascade_routes", "Images of a cascade, by who answered and why.", ("route",), registry=r
        )
        watched = (*model, "precision")
        self.shadow_images = Counter(
            "pupil_shadow_images", "Images shown to the teacher too, by what came of it.", ("outcome",), registry=r
        )
        self.disagreement = Gauge(
            "pupil_disagreement", "Between which rates the teacher would differ.", (*watched, "bound"), registry=r
        )
        self.drift_evidence = Gauge(
            "pupil_drift_evidence", "For changed traffic, as a logarithm.", (*watched, "kind"), registry=r
        )
        self.watch_alarm = Gauge("pupil_watch_alarm", "1 where a change is no chance.", (*watched, "kind"), registry=r)
        self.certificates_valid = Gauge(
            "pupil_certificates_valid", "0 where changed traffic made them lapse.", watched, registry=r
        )
        self.pseudo_labels = Counter("pupil_pseudo_labels", "Pseudo-labels, by decision.", ("decision",), registry=r)
        self.front_info = Gauge("pupil_front_info", "1 for the front that serves.", ("front",), registry=r)
        self.loop_lag = Gauge("pupil_loop_lag_seconds", "How late the event loop woke up last.", registry=r)


class SupervisorMetrics:
    """What a supervisor knows beside the metrics of its workers."""

    def __init__(self, r: CollectorRegistry) -> None:
        self.workers = Gauge("pupil_workers", "Workers that are ready.", registry=r)
        self.restarts = Counter("pupil_worker_restarts", "Workers started anew after they ended.", registry=r)
