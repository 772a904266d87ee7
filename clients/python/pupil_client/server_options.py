"""The options by which a command reaches a server, and the client that they make."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pupil_client import Client

MODEL_HELP = "Name, name/version or name@alias."
PEM = click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path)
OPTIONS = (  # but the address
    click.option("--timeout", default=10.0, show_default=True, help="Longest wait for an answer, in seconds."),
    click.option(
        "--tls-ca", type=PEM, envvar="PUPIL_TLS_CA", show_envvar=True, help="Use TLS, with these authorities."
    ),
    click.option("--tls", is_flag=True, help="Use TLS, with the system's authorities."),
    click.option("--token", envvar="PUPIL_TOKEN", show_envvar=True, help="Who asks; better said by the environment."),
    click.option("--tls-certificate", type=PEM, help="PEM file with our own certificate, if the server asks."),
    click.option("--tls-key", type=PEM, help="PEM file with the key of that certificate."),
)
Decorated = Callable[..., Any]


@dataclass(frozen=True)
class Server:
    """Which server a command asks, as whom, and how long it waits."""

    address: str
    timeout: float
    tls: bool | Path = False
    token: str | None = field(default=None, repr=False)
    certificate: Path | None = None
    key: Path | None = None

    def client(self) -> "Client":
        """Here or, where its files lie at the same place, on another machine."""
        from pupil_client import Client

        return Client(**vars(self))


def asks_a_server(command: Decorated) -> Decorated:
    """Gives the command a `server`, by options that say which one, who asks, and how long to wait for it."""
    address = click.option(
        "--server",
        default="localhost:50051",
        show_default=True,
        envvar="PUPIL_SERVER",
        show_envvar=True,
        help="Its address, host:port.",
    )
    return address(reaches_a_server(command))


def reaches_a_server(command: Decorated) -> Decorated:
    """The same for those who can do without a server, and have an option of their own for its address."""

    @functools.wraps(command)
    def reaching(
        *arguments: Any,
        server: str | None,
        timeout: float,
        tls_ca: Path | None,
        tls: bool,
        token: str | None,
        tls_certificate: Path | None,
        tls_key: Path | None,
        **more: Any,
    ) -> Any:
        who = (tls_ca or tls, token, tls_certificate, tls_key)
        return command(*arguments, server=None if server is None else Server(server, timeout, *who), **more)

    for option in reversed(OPTIONS):
        option(reaching)
    return reaching


@contextmanager
def connected(server: Server) -> Iterator["Client"]:
    """A client; what the user can mend leaves as one line, with exit code 1."""
    with told(), server.client() as client:
        yield client


@contextmanager
def told() -> Iterator[None]:
    """What goes wrong inside, and the user can mend, leaves as one line."""
    from pupil_client import PupilError, Unauthenticated

    try:
        yield
    except BrokenPipeError:
        raise  # whoever reads has enough, as `head` does: click ends without a word
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(f"{where}{error.strerror or error}") from None
    except Unauthenticated as error:
        raise click.ClickException(f"{error}; here that is PUPIL_TOKEN, or --token") from None
    except (PupilError, ValueError) as error:
        raise click.ClickException(str(error)) from None
