"""Groups of commands that the parts bring, each loaded only when it is asked for."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

ORDER = (
    *("augment", "train", "distill", "self-train", "evaluate", "report", "export", "import", "cascade"),
    *("tune", "serve", "token", "classify", "compare", "certify", "label", "labels", "models", "demo"),
)
EXTRAS = {"pupil_training": "training", "pupil_export": "export", "pupil_server": "server"}


class Verbs(click.Group):
    """Its own commands, and those of an entry-point group; a part that is not installed says what brings it."""

    def __init__(self, *args: Any, entries: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the work."""
        found = {*self.commands, *(verb.name for verb in entry_points(group=self._entries))}
        return sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or one that answers with the line that installs it."""
        verb = self._entry_point(cmd_name)
        if verb is None:
            return super().get_command(ctx, cmd_name)
        try:
            command: click.Command = verb.load()
        except ModuleNotFoundError as error:
            return _missing(verb, _install_line(ctx, verb, error))
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the verb; what it lacks, or an interrupt, becomes one line."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            verb = self._entry_point(ctx.invoked_subcommand or "")
            if verb is None:
                raise
            raise click.ClickException(_install_line(ctx, verb, error)) from None
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(130)

    def _entry_point(self, name: str) -> EntryPoint | None:
        return next(iter(entry_points(group=self._entries, name=name)), None)


def _missing(verb: EntryPoint, line: str) -> click.Command:
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


def _install_line(ctx: click.Context, verb: EntryPoint, error: ModuleNotFoundError) -> str:
    return f"{ctx.command_path} {verb.name} needs {error.name}: pip install 'pupil[{_extra(verb)}]'"


def _extra(verb: EntryPoint) -> str:
    return EXTRAS.get(verb.module.partition(".")[0], "all")
