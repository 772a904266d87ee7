"""`/metrics`, `/livez` and `/readyz` over HTTP, on a thread of their own: they answer when the event loop cannot."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


class OperationsServer:
    """An HTTP server for probes and Prometheus. `is_live` and `is_ready` give "" or what is wrong."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        registry: CollectorRegistry,
        is_live: Callable[[], str],
        is_ready: Callable[[], str],
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 10.0  # seconds for a request line that does not come
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
                elif self.path == "/livez":
                    self._probe(is_live())
                elif self.path == "/readyz":
                    self._probe(is_ready())
                else:
                    self._answer(404, b"/metrics, /livez or /readyz\n")

            def _probe(self, wrong: str) -> None:
                self._answer(503 if wrong else 200, f"{wrong or 'ok'}\n".encode())

            def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Probes come every few seconds; they are not news."""

        try:
            self._http = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise OSError(f"{host}:{port} is in use or not ours to use; choose another --http-port") from error
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, name="operations", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=5.0)
