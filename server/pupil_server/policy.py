"""Which versions of a model are loaded: `latest`, `latest:2`, `all` or `1,3`, for every model or for one."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

from pupil_server.errors import BundleError

EVERY = "*"  # no model can have this name


@dataclass(frozen=True)
class Policy:
    """`newest` of the versions, or those `named`, or with neither all of them."""

    newest: int | None = None
    named: frozenset[int] | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError for anything but the four spellings."""
        if text == "all":
            return cls()
        if found := re.fullmatch(r"latest(?::([1-9][0-9]{0,5}))?", text):
            return cls(newest=int(found[1] or 1))
        if re.fullmatch(r"[1-9][0-9]*(,[1-9][0-9]*)*", text):
            return cls(named=frozenset(int(number) for number in text.split(",")))
        raise ValueError(f"{text!r} is not understood; wanted latest, latest:2, all or 1,3")

    def choose(self, versions: Collection[int]) -> set[int]:
        """The ones to load, of those on disk."""
        if self.named is not None:
            return set(self.named.intersection(versions))
        return set(versions if self.newest is None else sorted(versions)[-self.newest :])

    def keep(self, loaded: Collection[int], answering: int) -> set[int]:
        """The ones that stay loaded once `answering` is what the name means. Newest counts back from that one."""
        return self.choose(loaded if self.newest is None else [version for version in loaded if version <= answering])


class Policies:
    """The policy of every model: `--versions latest --versions student=1,3`."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Raises BundleError for a text that is not understood."""
        self._policies = {EVERY: Policy(newest=1)}
        for text in texts:
            name, equals, policy = text.rpartition("=")
            try:
                self._policies[name if equals else EVERY] = Policy.parse(policy)
            except ValueError as error:
                raise BundleError(f"--versions {text}: {error}") from None

    @property
    def names(self) -> set[str]:
        """The models that have a policy of their own."""
        return self._policies.keys() - {EVERY}

    def of(self, name: str) -> Policy:
        return self._policies.get(name, self._policies[EVERY])
