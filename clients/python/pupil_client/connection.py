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


def open_channel(address: str, tls: bool | Path) -> grpc.Channel:
    """A channel without TLS, or with it: against the system's authorities (`True`) or those of a PEM file."""
    if tls is False:
        return grpc.insecure_channel(address, OPTIONS)
    return grpc.secure_channel(address, _credentials(tls), OPTIONS)


def open_async_channel(address: str, tls: bool | Path) -> grpc.aio.Channel:
    """The same for the running event loop."""
    if tls is False:
        return grpc.aio.insecure_channel(address, OPTIONS)
    return grpc.aio.secure_channel(address, _credentials(tls), OPTIONS)


def _credentials(tls: bool | Path) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(tls.read_bytes() if isinstance(tls, Path) else None)
