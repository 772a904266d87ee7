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
    front: str = "auto"  # nghttp2, grpcio, or auto: nghttp2 where the library is here, and a word where it is not
    device: str = "auto"  # cpu, cuda, or auto: cuda where it works, and a word where it does not
    threads: int = 0  # of one session on the CPU; 0: as many as the cores that this process may use
    instances: int = 1  # sessions of one model that run at the same time
    max_batch: int = 32  # images
    max_queue_images: int = 4096  # admitted to one model and not yet answered
    max_queue_mb: int = 512  # the same images as pixels
    max_message_mb: int = 64
    max_image_mb: int = 16
    max_megapixels: float = 25.0
    default_deadline: float = 10.0  # seconds, for a call that sets none
    stream_idle: float = 300.0  # seconds without a message before a stream is ended
    drain_delay: float = 0.0  # seconds between "not serving" and the closed door: for load balancers to notice
    drain_grace: float = 30.0  # seconds for what is in flight
