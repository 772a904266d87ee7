"""How both clients reach a server: message sizes, reconnecting, TLS."""

from pathlib import Path

import grpc

MAX_MESSAGE_BYTES = 64 << 20

OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),  # the default of a second would outlast the retries
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


def credentials(tls: bool | Path) -> grpc.ChannelCredentials | None:
    """No TLS, TLS against the system's authorities (`True`), or against those of a PEM file."""
    if tls is False:
        return None
    return grpc.ssl_channel_credentials(tls.read_bytes() if isinstance(tls, Path) else None)
