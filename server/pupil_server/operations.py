"""`/metrics`, `/livez`, `/readyz`, and the gateway where it is on, over HTTP.

On threads of their own: the probes answer when the event loop cannot.
"""

import threading
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from pupil_server.http_server import BoundedHTTPServer, UnixHTTPServer
from pupil_server.posts import PostedTo, PostHandler


class OperationsServer:
    """An HTTP server for probes, Prometheus and the gateway, on host and port or on a socket file.

    `is_live` and `is_ready` give "" or what is wrong.
    """

    def __init__(
        self,
        address: tuple[str, int] | Path,
        *,
        registry: CollectorRegistry,
        is_live: Callable[[], str],
        is_ready: Callable[[], str],
        gateway: PostedTo | None = None,
    ) -> None:
        known = "/metrics, /livez or /readyz" + (", or POST /v1/models/NAME:classify" if gateway else "")

        class Handler(PostHandler):
            posted_to = gateway
            passed_on = isinstance(address, Path)

            def do_GET(self) -> None:
                if self.has_body():  # which nobody reads: it must not be taken for the next request
                    self.close_connection = True
                if self.path == "/metrics":
                    self.send(200, generate_latest(registry), CONTENT_TYPE_LATEST)
                elif self.path == "/livez":
                    self._probe(is_live())
                elif self.path == "/readyz":
                    self._probe(is_ready())
                else:
                    self.send(404, f"{known}\n".encode())

            do_HEAD = do_GET

            def _probe(self, wrong: str) -> None:
                self.send(503 if wrong else 200, f"{wrong or 'ok'}\n".encode())

        self._http = _listening(address, Handler)
        self.port = 0 if isinstance(address, Path) else int(self._http.server_address[1])
        self._thread = threading.Thread(target=self._http.serve_forever, name="operations", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=5.0)


def _listening(address: tuple[str, int] | Path, handler: type[PostHandler]) -> BoundedHTTPServer:
    if isinstance(address, Path):
        return UnixHTTPServer(str(address), handler)
    try:
        return BoundedHTTPServer(address, handler)
    except OSError as error:
        host, port = address
        raise OSError(
            f"{host}:{port} is in use or not ours to use; choose another --http-port or --host: {error.strerror}"
        ) from error
