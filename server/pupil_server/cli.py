"""`pupil serve`."""

import difflib
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pupil_server.settings import ServerSettings

if TYPE_CHECKING:
    from pupil_server.lifecycle import Service

Command = TypeVar("Command", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path, dir_okay=False)


def _from_toml(context: click.Context, parameter: click.Parameter, file: Path | None) -> None:
    """Settings of a TOML file become defaults: flags and environment variables win."""
    if file is None:
        return
    try:
        settings = tomllib.loads(file.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise click.ClickException(f"{file}: {error}") from error
    names = {str(known.name): known.multiple for known in context.command.params if isinstance(known, click.Option)}
    del names["config"]
    for key, value in settings.items():
        if key not in names:
            close = difflib.get_close_matches(key, names, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(names))}"
            raise click.ClickException(f"{file}: unknown setting {key!r}; {hint}")
        if names[key] and not isinstance(value, list):
            settings[key] = [value]  # one of what may be several
    context.default_map = {**(context.default_map or {}), **settings}


def _option(name: str, kind: Any, text: str, **more: Any) -> Callable[[Command], Command]:
    """An option, and its environment variable, for the setting of the same name; the default is the setting's own."""
    setting = name.partition("/")[0].lstrip("-").replace("-", "_")
    default = getattr(ServerSettings, setting, None)
    if default is not None:  # click takes a None for a value, which even what is required then has
        more["default"] = default
    return click.option(
        name,
        type=kind,
        help=text,
        envvar=f"PUPIL_{setting.upper()}",
        show_envvar=True,
        show_default=default != "",
        **more,
    )


@click.command(epilog="\b\nExample:\n  pupil serve --repository repository --port 50051")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    is_eager=True,
    expose_value=False,
    callback=_from_toml,
    help="A TOML file with these settings, named as here with _ for -.",
)
@_option("--repository", click.Path(path_type=Path), "The folder of bundles.", required=True)
@_option("--models", str, "Load only these; repeat for more.", multiple=True)
@_option(
    "--versions",
    str,
    "Which are loaded: latest (the default), latest:2, all or 1,3; NAME=latest:2 for one model; repeat for more.",
    multiple=True,
)
@_option("--watch", click.FloatRange(0), "Seconds between two looks for new and deleted versions; 0 for none.")
@_option("--host", str, "Address to listen on; 0.0.0.0 for all.")
@_option("--port", click.IntRange(0, 65535), "gRPC; 0 for any free one.")
@_option("--unix", click.Path(path_type=Path), "A socket file for gRPC, instead of host and port.")
@_option("--workers", click.IntRange(1, 256), "Processes behind one port; 1 is one process for everything.")
@_option("--front", click.Choice(["auto", "nghttp2", "grpcio"]), "What carries the calls; auto: the leaner.")
@_option("--http-port", click.IntRange(0, 65535), "Metrics and probes; 0 for any free one.")
@_option("--http-gateway", bool, "Images over HTTP, too: POST /v1/models/NAME:classify.", is_flag=True)
@_option(
    "--device",
    click.Choice(["auto", "cpu", "cuda", "tensorrt"]),
    "cuda means CUDA or no start; auto may fall back to the CPU, and says so.",
)
@_option(
    "--precision",
    click.Choice(["auto", "fp32", "fp16", "int8"]),
    "That answers unasked; auto: fp16 on a GPU where the bundle has it, else fp32.",
)
@_option(
    "--more-precisions",
    click.Choice(["fp32", "fp16", "int8"]),
    "Also answer in these, where asked; repeat for more.",
    multiple=True,
)
@_option("--cuda-graphs", bool, "Record each batch size once, then replay it.", is_flag=True)
@_option(
    "--conv-search",
    click.Choice(["auto", "HEURISTIC", "EXHAUSTIVE", "DEFAULT"]),
    "How cuDNN finds the algorithm of a convolution; auto: the fastest, by trial.",
)
@_option("--engine-cache", click.Path(path_type=Path, file_okay=False), "Where TensorRT keeps its engines.")
@_option("--threads", click.IntRange(0), "Of one session on the CPU; 0 for the cores that are ours.")
@_option("--instances", click.IntRange(1, 64), "Sessions of one model at the same time.")
@_option("--max-batch", click.IntRange(1, 4096), "Images in one batch.")
@_option("--max-queue-delay", click.FloatRange(0), "Seconds for which a batch may wait to become full.")
@_option("--max-queue-images", click.IntRange(1), "Images admitted to a model and not yet answered.")
@_option("--max-queue-mb", click.IntRange(1), "What they hold, files and pixels.")
@_option("--max-message-mb", click.IntRange(1, 2000), "Size of one message.")
@_option("--max-image-mb", click.IntRange(1), "Size of one image file.")
@_option("--max-megapixels", click.FloatRange(0.001), "Pixels that one image may declare.")
@_option("--max-request-images", click.IntRange(1), "Images in one request.")
@_option("--max-calls", click.IntRange(1), "Calls in work at the same time, streams included.")
@_option("--max-streams", click.IntRange(1), "Calls at the same time on one connection.")
@_option("--max-connection-age", click.FloatRange(0), "Seconds until a client must connect anew; 0 for never.")
@_option("--max-connection-grace", click.FloatRange(0), "Seconds for its calls then; 0 for what they take.")
@_option("--keepalive", click.FloatRange(1), "Seconds of silence after which a client is asked for a sign.")
@_option("--tls-certificate", _FILE, "PEM file with the server's certificate chain; read again when it changes.")
@_option("--tls-key", _FILE, "PEM file with its key.")
@_option("--tls-client-ca", _FILE, "PEM file; only clients that these authorities vouch for are let in.")
@_option("--tokens", _FILE, "TOML file of who may call what (pupil token writes it); without it, anybody may.")
@_option("--default-deadline", click.FloatRange(0.001), "Seconds for a call that sets none.")
@_option("--stream-idle", click.FloatRange(0.001), "Seconds without a message before a stream ends.")
@_option("--drain-delay", click.FloatRange(0), "Seconds from 'not serving' to the closed door.")
@_option("--drain-grace", click.FloatRange(0), "Seconds for what is in flight.")
@_option("--watchdog", click.FloatRange(0), "Seconds for one batch, after which /livez says no; 0 for any.")
@_option("--drift", bool, "Watch whether students' traffic still looks like calibration.", is_flag=True)
@_option("--lapse/--no-lapse", bool, "Certify nothing by a student whose traffic has changed.")
@_option("--shadow", click.FloatRange(0, 1), "Share of the students' images that their teachers see too.")
@_option("--shadow-limit", click.FloatRange(0, 1, True, True), "Share of disagreements that is an alarm.")
@_option("--watch-state", _FILE, "Keep what these two saw in this file, across restarts.")
@_option("--keep-disagreements", click.Path(path_type=Path), "Folder for what student and teacher differ on.")
@_option("--keep-images", bool, "Keep the pictures there too.", is_flag=True)
@_option("--log-format", click.Choice(["text", "json"]), "Of the lines on standard error.")
@_option("--access-log", click.FloatRange(0, 1), "Share of the answered calls that are logged; failures all are.")
@_option("--otlp-endpoint", str, "Send traces to this OpenTelemetry collector, http://HOST:4317.")
def serve(**settings: Any) -> None:
    """Serve the bundles of a repository over gRPC.

    Prints one line of JSON with its addresses when every model is ready. SIGTERM drains, and a second
    one ends at once; SIGHUP reads repository, tokens and certificates again.
    """
    import asyncio

    from pupil_server import lifecycle, logs
    from pupil_server.errors import BundleError, SettingsError

    logs.set_up(settings["log_format"])
    try:
        asyncio.run(lifecycle.serve(_service, ServerSettings(**settings)))
    except (BundleError, SettingsError, OSError) as error:
        raise click.ClickException(str(error)) from error


def _service(settings: ServerSettings) -> "Service":
    """Each with what it takes: a supervisor loads no model."""
    if settings.workers > 1:
        from pupil_server.workers.supervisor import Supervisor

        return Supervisor(settings)
    from pupil_server.server import Server

    return Server(settings)
