"""Names for versions, such as `stable`, in a file beside the versions: they outlive the server."""

import json
from pathlib import Path

from pupil_server.errors import BundleError, NotFound, NotPossible
from pupil_server.whole import write_whole


class Aliases:
    """The aliases of every model, each model's file read once, and again for `reread`."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._known: dict[str, dict[str, int]] = {}

    def of(self, name: str) -> dict[str, int]:
        """The versions of a model by alias. Raises BundleError for a file that makes no sense."""
        if name not in self._known:
            self._known[name] = _read(self._file(name))
        return self._known[name]

    def reread(self, name: str) -> None:
        """Takes what the file says now. Raises BundleError, and what was known stays."""
        self._known[name] = _read(self._file(name))

    def resolve(self, name: str, alias: str) -> int:
        """The version that an alias means, without the disk. Raises NotFound with the aliases that are known."""
        known = self._known.get(name, {})
        if alias not in known:
            raise NotFound(f"{name} has no alias {alias!r}; it has: {', '.join(sorted(known)) or 'none'}")
        return known[alias]

    def change(self, name: str, alias: str, number: int) -> None:
        """Points an alias at a version, or removes it (0): in the file, whole or not at all, then in what is known.

        Raises NotFound for one to be removed that is not there, NotPossible where the file cannot be written.
        """
        if not number:
            self.resolve(name, alias)
        aliases = {alias: number for alias, number in {**self.of(name), alias: number}.items() if number}
        file = self._file(name)
        try:
            write_whole(file, json.dumps(aliases, sort_keys=True).encode() + b"\n")
        except OSError as error:
            reason = f"aliases.json cannot be written ({error.strerror}); make room, and the repository writable"
            raise NotPossible(reason) from error
        self._known[name] = aliases

    def _file(self, name: str) -> Path:
        return self._repository / name / "aliases.json"


def _read(file: Path) -> dict[str, int]:
    try:
        return {str(alias): int(number) for alias, number in json.loads(file.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise BundleError(f'{file}: not understood ({error}); wanted something like {{"stable": 1}}') from error
