"""What has changed in the folder since the last look at it. It remembers, and touches nothing."""

from collections.abc import Mapping

Stamps = Mapping[int, str]  # of each version of one model: a text that differs once its files do


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
