"""The folder of bundles: what lies in it, what of that is wanted, and what has changed."""

from collections.abc import Collection, Mapping

from pupil_server.aliases import Aliases
from pupil_server.errors import BundleError
from pupil_server.policy import Policies
from pupil_server.settings import ServerSettings
from pupil_server.versions import repository_above, stamp, versions_on_disk

Stamps = Mapping[int, str]  # of each version of one model: a text that differs once its files do


class Folder:
    """Looks at the disk, and loads nothing. Each method that reads raises BundleError where it cannot be read."""

    def __init__(self, settings: ServerSettings) -> None:
        self._path, self._models = settings.repository, settings.models
        self._policies = Policies(settings.versions)
        self._looks = Looks()
        self.aliases = Aliases(settings.repository)

    def versions(self) -> dict[str, list[int]]:
        """Of each model, oldest first."""
        return versions_on_disk(self._path)

    def models_at_start(self) -> list[str]:
        """Raises BundleError too where there is none, or where one that the settings name is not there."""
        there = self.versions()
        if not there:
            above = repository_above(self._path)
            next_ = f"the repository is {above}" if above else "write one with pupil export"
            raise BundleError(f"{self._path}: no <model>/<version>/bundle.json here; {next_}")
        for name in (*self._models, *self._policies.names):
            if name not in there:
                raise BundleError(f"{self._path}: no model {name}; it has: {', '.join(there)}")
        return list(self._models or there)

    def spell(self) -> str:
        spelled = [f"{name}/{number}" for name, numbers in self.versions().items() for number in numbers]
        return ", ".join(spelled) or "nothing"

    def stamps(self) -> dict[str, Stamps]:
        """Of each model; there is one at least."""
        found = {name: self._stamped(name, numbers) for name, numbers in self.versions().items()}
        if not found:
            raise BundleError(f"{self._path}: no bundle is left; is the volume mounted?")
        return found

    def versions_at_start(self, name: str) -> list[int]:
        """The versions of a model to begin with. Raises BundleError where an alias means another, or none is wanted."""
        stamps = self._stamped(name, self.versions()[name])
        for alias, number in self.aliases.of(name).items():
            if number not in stamps:
                raise BundleError(f"{name}: its alias {alias!r} means version {number}, which is not there")
        if not self._wanted(name, stamps):
            raise BundleError(f"--versions: no version of {name} is wanted; it has: {', '.join(map(str, stamps))}")
        return self.news(name, stamps)

    def seen(self, name: str) -> list[int]:
        """The versions of a model that are there. None of them is news from now on."""
        stamps = self._stamped(name, self.versions().get(name, []))
        self.news(name, stamps)
        return sorted(stamps)

    def news(self, name: str, stamps: Stamps, *, only_still: bool = False) -> list[int]:
        """The versions that are wanted and were not at the last look, or have changed since; oldest first."""
        settled = self._looks.settled(name, stamps, only_still=only_still)
        return self._looks.news(name, self._wanted(name, settled))

    def kept(self, name: str, loaded: Collection[int], answering: int) -> set[int]:
        """The versions that stay loaded once `answering` is what the name means."""
        return {answering, *self.aliases.of(name).values(), *self._policies.of(name).keep(loaded, answering)}

    def _stamped(self, name: str, numbers: list[int]) -> Stamps:
        return {number: stamp(self._path / name / str(number)) for number in numbers}

    def _wanted(self, name: str, stamps: Stamps) -> Stamps:
        wanted = self._policies.of(name).choose(stamps.keys()).union(self.aliases.of(name).values())
        return {number: stamps[number] for number in wanted & stamps.keys()}


class Looks:
    """Tells the changes of each model's folder apart from what an operator did since.

    Acting on changes alone means: a version that failed is not tried again as it is, and one that was unloaded
    by hand, or rolled back from, does not come back by itself.
    """

    def __init__(self) -> None:
        self._last: dict[str, Stamps] = {}
        self._settled: dict[str, Stamps] = {}
        self._wanted: dict[str, Stamps] = {}

    def settled(self, name: str, stamps: Stamps, *, only_still: bool) -> Stamps:
        """`stamps`; with `only_still`, a version whose files changed since the last look is taken as it was before."""
        last, before = self._last.get(name, {}), self._settled.get(name, {})
        still = {number: seen for number, seen in stamps.items() if not only_still or last.get(number) == seen}
        as_before = {number: before[number] for number in stamps.keys() & before.keys() - still.keys()}
        self._last[name], self._settled[name] = stamps, {**still, **as_before}
        return self._settled[name]

    def news(self, name: str, wanted: Stamps) -> list[int]:
        """The versions that are wanted and were not at the last look, or have changed since; oldest first."""
        before, self._wanted[name] = self._wanted.get(name, {}), wanted
        return sorted(number for number, seen in wanted.items() if before.get(number) != seen)
