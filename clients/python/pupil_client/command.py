"""The root command `pupil`: its verbs come from the parts, which are loaded only when asked for."""

from importlib.metadata import EntryPoint, entry_points, version
from typing import Any

import click

ORDER = ("train", "distill", "evaluate", "report", "export", "serve", "classify", "compare", "label", "models", "demo")
EXTRAS = {"pupil_training": "training", "pupil_export": "export", "pupil_server": "server"}


class Verbs(click.Group):
    """The commands of the entry-point group `pupil.commands`; a part that is not installed says what brings it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the work."""
        found = [verb.name for verb in entry_points(group="pupil.commands")]
        return sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or one that answers with the line that installs it."""
        verb = _entry_point(cmd_name)
        if verb is None:
            return None
        try:
            command: click.Command = verb.load()
        except ModuleNotFoundError as error:
            return _missing(verb, error)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the verb; what it lacks, or an interrupt, becomes one line."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            verb = _entry_point(ctx.invoked_subcommand or "")
            if verb is None:
                raise
            raise click.ClickException(_install_line(verb, error)) from None
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(130)


@click.group(cls=Verbs, epilog="\b\nExample:\n  pupil demo")
@click.version_option(version("pupil"), prog_name="pupil")
def main() -> None:
    """A large image classifier teaches a small one; one gRPC service runs both."""


def _entry_point(name: str) -> EntryPoint | None:
    return next(iter(entry_points(group="pupil.commands", name=name)), None)


def _missing(verb: EntryPoint, error: ModuleNotFoundError) -> click.Command:
    line = _install_line(verb, error)

    @click.command(
        verb.name,
        short_help=f"Not installed: pip install 'pupil[{_extra(verb)}]'.",
        context_settings={"ignore_unknown_options": True},
        add_help_option=False,
    )
    @click.argument("anything", nargs=-1, type=click.UNPROCESSED)
    def answer(anything: tuple[str, ...]) -> None:
        raise click.ClickException(line)

    return answer


def _install_line(verb: EntryPoint, error: ModuleNotFoundError) -> str:
    return f"pupil {verb.name} needs {error.name}: pip install 'pupil[{_extra(verb)}]'"


def _extra(verb: EntryPoint) -> str:
    return EXTRAS.get(verb.module.partition(".")[0], "all")
