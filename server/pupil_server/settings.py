"""Every setting of the server, with its default."""

from dataclasses import dataclass
from pathlib import Path

MEGA = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    repository: Path
    models: tuple[str, ...] = ()  # loaded at the start; empty: every model
    versions: tuple[str, ...] = ()  # latest, latest:2, all or 1,3; for one model NAME=…; empty: latest
    watch: float = 0.0  # seconds between two looks at the repository; 0: none
    host: str = "127.0.0.1"
    port: int = 50051  # 0: any free one
    http_port: int = 8080  # likewise
    http_gateway: bool = False  # POST /v1/models/NAME:classify on http_port
    unix: Path | None = None  # a socket file, instead of host and port
    workers: int = 1  # processes behind the one port
    front: str = "auto"  # nghttp2, grpcio, or auto: nghttp2 where the library is here, and a word where it is not
    device: str = "auto"  # cpu, cuda, tensorrt, or auto: cuda where it works, and a word where it does not
    precision: str = "auto"  # that answers unasked; auto: fp16 on a GPU where a bundle has it, else fp32
    more_precisions: tuple[str, ...] = ()  # loaded beside it where a bundle has them, for requests that name one
    cuda_graphs: bool = False
    conv_search: str = "auto"  # how cuDNN finds a convolution's algorithm; auto: what is fastest at the start
    engine_cache: Path | None = None  # where TensorRT keeps its engines
    threads: int = 0  # of one session on the CPU; 0: as many as the cores that this process may use
    instances: int = 1  # sessions of one model that run at the same time
    max_batch: int = 32  # images
    max_queue_delay: float = 0.0  # seconds for which a batch may wait to become full; 0: it never waits
    max_queue_images: int = 4096  # admitted to one model and not yet answered
    max_queue_mb: int = 512  # what the same images hold, files and pixels
    max_message_mb: int = 64
    max_image_mb: int = 16
    max_megapixels: float = 25.0
    max_request_images: int = 4096
    max_calls: int = 4096  # in work at the same time, streams included
    max_streams: int = 1000  # calls at the same time on one connection
    max_connection_age: float = 0.0  # seconds until a client must connect anew, perhaps elsewhere; 0: never
    max_connection_grace: float = 0.0  # seconds for its calls then; 0: as long as they take
    keepalive: float = 60.0  # seconds of silence after which a client is asked whether it is still there
    tls_certificate: Path | None = None  # PEM, with the intermediate ones
    tls_key: Path | None = None
    tls_client_ca: Path | None = None  # only clients with a certificate of these authorities are let in
    tokens: Path | None = None  # who may call what; None: anybody everything
    default_deadline: float = 10.0  # seconds, for a call that sets none
    stream_idle: float = 300.0  # seconds without a message before a stream is ended
    drain_delay: float = 0.0  # seconds between "not serving" and the closed door: for load balancers to notice
    drain_grace: float = 30.0  # seconds for what is in flight
    watchdog: float = 60.0  # seconds that one batch may take before the server counts as hung; 0: any
    drift: bool = False  # compare what students see with their calibration images
    lapse: bool = True  # no certificates from a student whose traffic has changed
    shadow: float = 0.0  # share of the students' images that their teachers see too
    shadow_limit: float = 0.05  # share of disagreements that is an alarm
    watch_state: Path | None = None  # a file; what the watch knows, across restarts
    keep_disagreements: Path | None = None  # a folder, for rows of a labels file
    keep_images: bool = False  # the pictures beside them
    log_format: str = "text"  # or json
    access_log: float = 0.0  # share of the answered calls that are logged; failures always are
    otlp_endpoint: str = ""  # of an OpenTelemetry collector; empty: no traces
