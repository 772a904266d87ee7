"""What one peer may do to us, and how long it may take."""

from dataclasses import dataclass

from pupil_server.resources import most_files
from pupil_server.settings import MEGA, ServerSettings


@dataclass(frozen=True, kw_only=True)
class PeerLimits:
    message_bytes: int = 64_000_000
    connections: int = 4096
    backlog: int = 1024  # of connections: so many are accepted at once, before one too many is hung up on
    streams: int = 1000  # of one connection at a time
    header_bytes: int = 16_384  # of one request, each header with 32 more, as HTTP/2 counts them
    held_bytes: int = 512_000_000  # on all connections: requests, half-received or in work, and answers not taken yet
    resets: int = 2000  # of streams at once; a peer that takes back more than it may wait for is cut off
    resets_a_second: int = 500
    oddities: int = 1000  # pings, settings, empty frames and the like beyond what calls explain
    oddities_a_second: int = 50
    look_every: float = 1.0  # seconds between two looks at everything below
    hello: float = 10.0  # seconds until the peer has spoken HTTP/2
    ping_after: float = 60.0  # seconds of silence, after which we ask whether the peer is still there
    pong_within: float = 20.0
    stalled: float = 60.0  # seconds without room for an answer that waits
    idle: float = 600.0  # seconds without a call
    age: float = 3600.0  # seconds; then calls go to a new connection, so that load balancers see them again
    grace: float = float("inf")  # seconds for the calls inside once a connection is too old
    request: float = 300.0  # seconds for a single request to arrive, whatever its deadline


def limits_of(settings: ServerSettings) -> PeerLimits:
    """Those that an operator or the system may set, and the others as they are.

    Connections leave files for probes and models.
    """
    files = most_files()
    message_bytes = settings.max_message_mb * MEGA
    return PeerLimits(
        connections=min(PeerLimits.connections, files // 2),
        backlog=min(PeerLimits.backlog, files // 8),
        message_bytes=message_bytes,
        held_bytes=max(PeerLimits.held_bytes, 3 * message_bytes),  # the largest message must fit, packed and unpacked
        streams=settings.max_streams,
        age=settings.max_connection_age or float("inf"),
        grace=settings.max_connection_grace or float("inf"),
        ping_after=settings.keepalive,
    )
