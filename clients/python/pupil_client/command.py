"""The root command `pupil`: its verbs come from the parts."""

from importlib.metadata import version

import click

from pupil_client.verbs import Verbs


@click.group(cls=Verbs, entries="pupil.commands", epilog="\b\nExample:\n  pupil demo")
@click.version_option(version("pupil"), prog_name="pupil")
def main() -> None:
    """A large image classifier teaches a small one; one gRPC service runs both."""
