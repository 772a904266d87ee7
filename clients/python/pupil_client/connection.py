"""How both clients reach a server: message sizes, reconnecting, several replicas, TLS, tokens."""

import json
from pathlib import Path
from typing import TypeAlias

import grpc

MAX_MESSAGE_BYTES = 64 << 20

OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),  # the default of a second would outlast the retries
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A name that means several replicas, as a headless Service's does: all of them are asked, and not the first alone.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
)


Metadata: TypeAlias = tuple[tuple[str, str], ...]


def open_channel(address: str, tls: bool | Path, certificate: Path | None, key: Path | None) -> grpc.Channel:
    """A channel without TLS, or with it: against the system's authorities (`True`) or those of a PEM file."""
    credentials = _credentials(tls, certificate, key)
    _refuse_url(address)
    if credentials is None:
        return grpc.insecure_channel(address, OPTIONS)
    return grpc.secure_channel(address, credentials, OPTIONS)


def open_async_channel(address: str, tls: bool | Path, certificate: Path | None, key: Path | None) -> grpc.aio.Channel:
    """The same for the running event loop."""
    credentials = _credentials(tls, certificate, key)
    _refuse_url(address)
    if credentials is None:
        return grpc.aio.insecure_channel(address, OPTIONS)
    return grpc.aio.secure_channel(address, credentials, OPTIONS)


def bearer(token: str | None) -> Metadata:
    """What goes with each call, so that the server knows the caller."""
    return (("authorization", f"Bearer {token}"),) if token else ()


def _refuse_url(address: str) -> None:
    scheme, separator, rest = address.partition("://")
    if separator and scheme in ("http", "https", "grpc", "grpcs"):
        tls = "; for TLS say so (--tls, or tls=True)" if scheme in ("https", "grpcs") else ""
        raise ValueError(f"{address}: an address is host:port, here {rest.rstrip('/')}{tls}")


def _credentials(tls: bool | Path, certificate: Path | None, key: Path | None) -> grpc.ChannelCredentials | None:
    if (certificate is None) != (key is None):
        raise ValueError("a client's certificate needs its key, and the key its certificate; give both")
    if tls is False:
        if certificate:
            raise ValueError("a client's certificate is for TLS; give tls=True or a file of authorities")
        return None
    return grpc.ssl_channel_credentials(
        tls.read_bytes() if isinstance(tls, Path) else None,
        key.read_bytes() if key else None,
        certificate.read_bytes() if certificate else None,
    )
