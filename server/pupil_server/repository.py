"""The models that are loaded, and swapping one for another under traffic."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from pupil_proto.v1.inference_pb2 import ModelSpec
from pupil_proto.v1.models_pb2 import State
from pupil_server.decoding import Decoder
from pupil_server.errors import BadRequest, BundleError, NotFound, Unavailable
from pupil_server.folder import Folder, Stamps
from pupil_server.metrics import Metrics
from pupil_server.model import LoadedModel
from pupil_server.settings import ServerSettings
from pupil_server.transitions import Transitions, Version
from pupil_server.versions import NAME

log = logging.getLogger("pupil.repository")


class Repository:
    """Names, versions and aliases, and the models behind them."""

    def __init__(self, settings: ServerSettings, decoder: Decoder, metrics: Metrics) -> None:
        self._settings = settings
        self._folder = Folder(settings)
        self._transitions = Transitions(settings, decoder, metrics)
        self._versions: dict[str, dict[int, Version]] = defaultdict(dict)
        self._answering: dict[str, int] = {}  # the version that a bare name means
        self._changing: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._leaving: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._looking = asyncio.Lock()

    def on_load(self, hear: Callable[[LoadedModel], None]) -> None:
        """`hear` gets each model that is loaded from now on, before anybody can ask it."""
        self._transitions.on_load = hear

    # What is there

    def on_disk(self) -> dict[str, list[int]]:
        """The versions of each model in the repository, oldest first. Raises BundleError where it cannot be read."""
        return self._folder.versions()

    def known(self) -> dict[str, dict[int, Version]]:
        """Every version on disk or in memory, with its state."""
        everything: dict[str, dict[int, Version]] = {}
        with suppress(BundleError):  # what is in memory answers on, and is listed, without the disk
            on_disk = self.on_disk().items()
            everything = {name: {number: Version(name, number) for number in numbers} for name, numbers in on_disk}
        for name, versions in self._versions.items():
            everything.setdefault(name, {}).update(versions)
        return {name: dict(sorted(versions.items())) for name, versions in sorted(everything.items())}

    def aliases(self, name: str) -> dict[str, int]:
        """The versions of a model by alias. Raises BundleError for an `aliases.json` that makes no sense."""
        return self._folder.aliases.of(name)

    def is_loaded(self, name: str) -> bool | None:
        """Whether any version of a model answers; None where none was ever asked for. Reads no disk."""
        versions = self._versions.get(name)
        return None if versions is None else any(version.model for version in versions.values())

    def means(self, name: str) -> int:
        """The version that a bare name means; 0 where none answers."""
        return self._answering.get(name, 0)

    def loaded(self, name: str = "") -> list[LoadedModel]:
        """Every loaded version, or those of one model."""
        every = [self._versions.get(name, {})] if name else self._versions.values()
        return [version.model for versions in every for version in versions.values() if version.model]

    def spell(self, error: BundleError) -> str:
        """What is wrong, for callers."""
        return self._transitions.spell(error)

    # Who answers

    def get(self, spec: ModelSpec) -> LoadedModel:
        """The model that `spec` means; `with` keeps it alive.

        Raises Unavailable, or NotFound with the names that exist.
        """
        versions = self._versions.get(spec.name, {})
        if spec.WhichOneof("choice") == "alias":
            number = self._folder.aliases.resolve(spec.name, spec.alias)
        elif spec.WhichOneof("choice") == "version":
            number = spec.version
        else:
            number = self.means(spec.name)
        version = versions.get(number)
        if version is None or version.model is None:
            raise self._missing(spec.name, number, versions)
        return version.model.in_precision(spec.precision)

    def _missing(self, name: str, number: int, versions: dict[int, Version]) -> NotFound | Unavailable:
        if any(version.state == State.STATE_LOADING for n, version in versions.items() if number in (0, n)):
            return Unavailable(f"{name} is being loaded; try again")
        loaded = ", ".join(sorted(str(model) for model in self.loaded())) or "none"
        return NotFound(f"no model {name}{f'/{number}' if number else ''}; loaded: {loaded}")

    # Changes

    async def load(self, name: str, number: int = 0, *, keep_others: bool = False, aside: bool = False) -> LoadedModel:
        """Loads a version (0: the newest on disk) beside the live one, then points the name at it.

        Versions that the policy does not want and no alias means are unloaded then. With `keep_others` none is, and
        the name goes only to a newer version; `aside` leaves the name alone too. Raises NotFound, or BundleError for a
        bundle that must not be served: the live one answers on.
        """
        on_disk = (await asyncio.to_thread(self.on_disk)).get(name, [])
        number = number or max(on_disk, default=0)
        if number not in on_disk:
            raise NotFound(f"no {name}/{number or '<version>'} in the repository; it has: {self._folder.spell()}")
        self.aliases(name)  # raises now, rather than after the work
        async with self._changing[name]:
            known = self._versions[name].get(number)
            model = (known and known.model) or await self._load(name, number)
            if aside:
                return model
            if not keep_others or number > self.means(name):
                self._answering[name] = number
                log.info("%s means %s from now on", name, model)
            if not keep_others:
                live = [n for n, version in self._versions[name].items() if version.model]
                await self._retire(name, set(live) - self._folder.kept(name, live, number))
            return model

    async def load_at_start(self) -> None:
        """Loads of each model the versions that the policy wants, and those that aliases mean. Raises BundleError."""
        for name in self._folder.models_at_start():
            for number in self._folder.versions_at_start(name):
                await self.load(name, number, keep_others=True)

    async def load_as_elsewhere(self, loaded: Mapping[str, Mapping[int, bool]]) -> None:
        """Loads the versions that another worker has of each model: True for the one that the name means.

        What else is there counts as seen: it stays out, as it does over there. Raises BundleError.
        """
        for name in dict.fromkeys((*self._folder.models_at_start(), *loaded)):
            versions = loaded.get(name, {})
            for number in self._folder.seen(name):
                if number in versions:
                    await self.load(name, number, keep_others=True, aside=not versions[number])

    async def unload(self, name: str, number: int = 0) -> None:
        """Finishes what is in flight on a version (0: on all), then frees it. Raises NotFound."""
        versions = self._versions.get(name, {})
        if not any(version.model for n, version in versions.items() if number in (0, n)):
            raise self._missing(name, number, {})
        async with self._changing[name]:
            await self._retire(name, {n for n in versions if number in (0, n)})

    async def set_alias(self, name: str, alias: str, number: int) -> None:
        """Points an alias at a loaded version, or removes it (0), in `aliases.json` and here."""
        if not NAME.match(alias):
            raise BadRequest(f"alias {alias!r}: letters, digits, '.', '_' and '-' are allowed, the first not a sign")
        if name not in self._versions:
            raise self._missing(name, number, {})
        async with self._changing[name]:
            if number:
                self.get(ModelSpec(name=name, version=number))
            await asyncio.to_thread(self._folder.aliases.change, name, alias, number)

    async def rescan(self, *, only_still: bool = False) -> None:
        """One look at the folder: loads what is newly wanted there, and unloads what was deleted.

        `only_still` leaves alone what has changed since the last look: a copy that is half there. Raises nothing: a
        version that fails its checks says why in `known`, and a folder that cannot be read changes nothing.
        """
        async with self._looking:
            try:
                on_disk = await asyncio.to_thread(self._folder.stamps)
            except BundleError as error:
                log.error("%s; what is loaded stays", error)
                return
            for name in self._settings.models or sorted({*on_disk, *self._versions}):
                await self._follow(name, on_disk.get(name, {}), only_still)

    async def close(self) -> None:
        """Unloads everything."""
        for name, versions in list(self._versions.items()):
            await self._retire(name, versions.keys())
        await asyncio.gather(*self._leaving.values())
        await asyncio.to_thread(self._transitions.close)

    async def _load(self, name: str, number: int) -> LoadedModel:
        if leaving := self._leaving.get((name, number)):
            await asyncio.shield(leaving)
        version = self._versions[name][number] = Version(name, number)
        return await self._transitions.load(version)

    async def _retire(self, name: str, numbers: Collection[int]) -> None:
        """Takes versions out of service now. Their drain goes on though its caller hangs up: half of one is a leak."""
        if self.means(name) in numbers:
            others = [n for n, version in self._versions[name].items() if version.model and n not in numbers]
            self._answering[name] = max(others, default=0)
        for number in numbers:
            if (name, number) not in self._leaving:
                self._leaving[name, number] = asyncio.create_task(self._leave(name, number))
        await asyncio.shield(asyncio.gather(*(self._leaving[name, number] for number in numbers)))

    async def _leave(self, name: str, number: int) -> None:
        try:
            await self._transitions.unload(self._versions[name][number])
        finally:
            del self._versions[name][number], self._leaving[name, number]

    async def _follow(self, name: str, stamps: Stamps, only_still: bool) -> None:
        try:
            await asyncio.to_thread(self._folder.aliases.reread, name)
        except BundleError as error:
            log.error("the aliases of %s stay as they were: %s", name, error)
        for number in self._folder.news(name, stamps, only_still=only_still):
            try:
                await self.load(name, number, keep_others=number < self.means(name))
            except Exception as error:  # the log has the reason; the others must not wait for this one
                log.warning("%s/%s stays out: %s", name, number, type(error).__name__)
        await self._forget(name, stamps)

    async def _forget(self, name: str, stamps: Stamps) -> None:
        """Unloads what was deleted, but the last version of a model only once all of its folder is gone."""
        async with self._changing[name]:
            deleted = {n: version for n, version in self._versions[name].items() if n not in stamps}
            others = any(version.model for n, version in self._versions[name].items() if n in stamps)
            if others or not stamps:
                await self._retire(name, deleted)
            elif any(version.model for version in deleted.values()):
                log.warning("%s answers on with a version that was deleted: no other one is loaded", name)
