"""`pupil token`."""

import json
from datetime import datetime

import click

SCOPES = ("infer", "label", "admin")


@click.command(epilog="\b\nExample:\n  pupil token shop --scope infer --images-per-second 200 >> tokens.toml")
@click.argument("name")
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, required=True, help="Repeat for more.")
@click.option("--images-per-second", type=click.FloatRange(0, min_open=True), help="Its quota.  [default: none]")
@click.option("--burst", type=click.IntRange(1), help="Images at once.  [default: those of one second]")
@click.option("--expires", type=click.DateTime(["%Y-%m-%d"]), help="The first day on which it is refused (UTC).")
def token(
    name: str, scopes: tuple[str, ...], images_per_second: float | None, burst: int | None, expires: datetime | None
) -> None:
    """Make a new random token for NAME.

    The entry for the server's --tokens file goes to standard output, the token itself, which is stored nowhere, to
    standard error.
    """
    from pupil_server.errors import SettingsError
    from pupil_server.tokens import hash_of, new_token, parse_tokens

    secret = new_token()
    lines = {
        "name": json.dumps(name),
        "sha256": json.dumps(hash_of(secret)),
        "scopes": json.dumps(sorted(set(scopes))),
        "images_per_second": images_per_second,
        "burst": burst,
        "expires": expires and f"{expires:%Y-%m-%d}T00:00:00Z",
    }
    entry = "\n".join(["[[token]]", *(f"{key} = {value}" for key, value in lines.items() if value is not None)])
    try:
        parse_tokens(entry)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"\n{entry}")
    click.echo(f"the token of {name}, shown this once: {secret}", err=True)
