"""Where a server will listen: tried before its models are loaded, and told now where that cannot be."""

import ipaddress
import socket
from pathlib import Path


class ReservedPort:
    """Holds a port that workers then share, and that nobody else gets meanwhile. Raises OSError where it is taken.

    It listens to nothing. Sharing is a thing among workers: the same user's other servers would be let in by the
    kernel as well, in silence, so the port must be free for one who does not share before it is taken for those who do.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = port
        self._held: list[socket.socket] = []
        try:
            for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                with _bound(family, (address[0], self.port, *address[2:]), share=False) as free:
                    self.port = int(free.getsockname()[1])
                self._held.append(_bound(family, (address[0], self.port, *address[2:]), share=True))
        except OSError as error:
            self.close()
            raise OSError(
                f"{host}:{port} is in use or not ours to use; choose another --port or --host: {error.strerror}"
            ) from error

    def close(self) -> None:
        for held in self._held:
            held.close()


def try_socket_file(file: Path) -> None:
    """Raises OSError where no socket can be made; that of a server before us is replaced."""
    try:
        if not file.is_socket():
            with socket.socket(socket.AF_UNIX) as tried:
                tried.bind(str(file))
            file.unlink()
    except OSError as error:
        why = error.strerror or error  # a name that is too long has no number
        raise OSError(f"{file} is in use or not ours to use; choose another --unix: {why}") from error


def is_loopback(host: str) -> bool:
    """Whether nobody on another machine reaches it."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _bound(family: int, address: tuple[str | int, ...], *, share: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a server before us are no obstacle
        if share:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has an entry of its own
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
