"""The options by which a command reaches a server, and the client that they make."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pupil_client import Client

MODEL_HELP = "Name, name/version or name@alias."
Decorated = Callable[..., Any]


def asks_a_server(command: Decorated) -> Decorated:
    """Adds the options that say which server, who asks, and how long to wait for it."""
    server = click.option(
        "--server",
        default="localhost:50051",
        show_default=True,
        envvar="PUPIL_SERVER",
        show_envvar=True,
        help="Its address, host:port.",
    )
    return server(reaches_a_server(command))


def reaches_a_server(command: Decorated) -> Decorated:
    """The same without the address, for those who can do without a server."""
    pem = click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path)
    for option in (
        _identity("--tls-key", "key", pem, "PEM file with the key of that certificate."),
        _identity("--tls-certificate", "certificate", pem, "PEM file with our own certificate, if the server asks."),
        _identity("--token", "token", str, "Who asks; better said by the environment.", envvar="PUPIL_TOKEN"),
        _identity("--tls", "tls", None, "Use TLS, with the system's authorities.", is_flag=True),
        click.option(
            "--tls-ca", type=pem, envvar="PUPIL_TLS_CA", show_envvar=True, help="Use TLS, with these authorities."
        ),
        click.option("--timeout", default=10.0, show_default=True, help="Longest wait for an answer, in seconds."),
    ):
        command = option(command)
    return command


def _identity(option: str, name: str, kind: Any, text: str, **more: Any) -> Decorated:
    """An option that `reaching` alone reads: the verbs need not hand it on."""

    def keep(context: click.Context, _: click.Parameter, value: Any) -> None:
        context.meta[f"{__name__}.{name}"] = value

    return click.option(option, type=kind, help=text, expose_value=False, callback=keep, show_envvar=True, **more)


@contextmanager
def connected(server: str, timeout: float, tls_ca: Path | None) -> Iterator["Client"]:
    """A client; what the user can mend leaves as one line, with exit code 1."""
    with told(), reaching(server, timeout, tls_ca)() as client:
        yield client


def reaching(server: str, timeout: float, tls_ca: Path | None) -> "Callable[[], Client]":
    """What makes a client, here or, where its files lie at the same place, on another machine."""
    from pupil_client import Client

    meta = click.get_current_context().meta
    tls, token, certificate, key = (meta[f"{__name__}.{name}"] for name in ("tls", "token", "certificate", "key"))
    return partial(Client, server, timeout=timeout, token=token, tls=tls_ca or tls, certificate=certificate, key=key)


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
