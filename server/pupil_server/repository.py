"""The folder of bundles: what is there, what is loaded, and swapping one for another under traffic."""

import asyncio
import contextlib
import json
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pupil_proto.v1.inference_pb2 import ModelSpec
from pupil_proto.v1.models_pb2 import State
from pupil_server.decoding import Decoder
from pupil_server.errors import BadRequest, BundleError, NotFound, NotWritable, Unavailable
from pupil_server.metrics import Metrics
from pupil_server.model import LoadedModel, prepare
from pupil_server.settings import ServerSettings

log = logging.getLogger("pupil.repository")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


@dataclass
class Version:
    """What is known of one version: its state, why it failed, and the model while it is loaded."""

    state: State = State.STATE_UNLOADED
    reason: str = ""
    model: LoadedModel | None = None


class Repository:
    """Names, versions and aliases, and the models behind them."""

    def __init__(self, settings: ServerSettings, decoder: Decoder, metrics: Metrics) -> None:
        self._settings = settings
        self._decoder = decoder
        self._metrics = metrics
        self._versions: dict[str, dict[int, Version]] = defaultdict(dict)
        self._aliases: dict[str, dict[str, int]] = {}
        self._changing: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    # What is there

    def on_disk(self) -> dict[str, list[int]]:
        """The versions of each model in the repository, oldest first."""
        found: dict[str, list[int]] = {}
        for file in self._settings.repository.glob("*/*/bundle.json"):
            version = file.parent.name
            if NAME.match(file.parent.parent.name) and version.isdecimal() and not version.startswith("0"):
                found.setdefault(file.parent.parent.name, []).append(int(version))
        return {name: sorted(versions) for name, versions in sorted(found.items())}

    def known(self) -> dict[str, dict[int, Version]]:
        """Every version on disk or in memory, with its state."""
        everything = {name: {version: Version() for version in versions} for name, versions in self.on_disk().items()}
        for name, versions in self._versions.items():
            everything.setdefault(name, {}).update(versions)
        return {name: dict(sorted(versions.items())) for name, versions in sorted(everything.items())}

    def aliases(self, name: str) -> dict[str, int]:
        """The aliases of a model, as `aliases.json` beside its versions holds them."""
        if name not in self._aliases:
            self._aliases[name] = _read_aliases(self._settings.repository / name / "aliases.json")
        return self._aliases[name]

    def is_loaded(self, name: str) -> bool | None:
        """Whether any version of a model answers; None where none was ever asked for. Reads no disk."""
        versions = self._versions.get(name)
        return None if versions is None else any(version.model for version in versions.values())

    def loaded(self) -> list[LoadedModel]:
        return [version.model for versions in self._versions.values() for version in versions.values() if version.model]

    # Who answers

    @contextmanager
    def use(self, spec: ModelSpec) -> Iterator[LoadedModel]:
        """The model that `spec` means, kept alive while inside. Raises what `get` raises."""
        with self.get(spec).hold() as model:
            yield model

    def get(self, spec: ModelSpec) -> LoadedModel:
        """The loaded model that `spec` means; raises NotFound with the names that exist, or Unavailable."""
        versions = self._versions.get(spec.name, {})
        live = {number: version.model for number, version in versions.items() if version.model}
        if spec.WhichOneof("choice") == "alias":
            number = self._aliased(spec)
        elif spec.WhichOneof("choice") == "version":
            number = spec.version
        else:
            number = max(live, default=0)
        model = live.get(number)
        if model is None:
            raise self._missing(spec.name, number, versions)
        return model

    def _aliased(self, spec: ModelSpec) -> int:
        aliases = self.aliases(spec.name) if spec.name in self._versions else {}
        if spec.alias not in aliases:
            raise NotFound(f"{spec.name} has no alias {spec.alias!r}; it has: {', '.join(sorted(aliases)) or 'none'}")
        return aliases[spec.alias]

    def _missing(self, name: str, number: int, versions: dict[int, Version]) -> NotFound | Unavailable:
        if any(version.state == State.STATE_LOADING for n, version in versions.items() if number in (0, n)):
            return Unavailable(f"{name} is being loaded; try again")
        loaded = ", ".join(sorted(str(model) for model in self.loaded())) or "none"
        return NotFound(f"no model {name}{f'/{number}' if number else ''}; loaded: {loaded}")

    # Changes

    async def load(self, name: str, number: int = 0, *, keep_others: bool = False) -> LoadedModel:
        """Loads a version (0: the newest on disk) beside the live one, then points the name at it.

        Raises NotFound, or BundleError for a bundle that must not be served: the live one answers on.
        """
        on_disk = self.on_disk().get(name, [])
        number = number or max(on_disk, default=0)
        if number not in on_disk:
            raise NotFound(f"no {name}/{number or '<version>'} in the repository; it has: {self._spell_disk()}")
        async with self._changing[name]:
            live = self._versions[name].get(number)
            model = (live and live.model) or await self._prepare(name, number)
            if not keep_others:
                kept = {number, *self.aliases(name).values()}
                await self._retire(name, [other for other in self._versions[name] if other not in kept])
            return model

    async def load_at_start(self, name: str) -> None:
        """Loads the newest version, and those that aliases point at."""
        for number in (0, *sorted(set(self.aliases(name).values()))):
            await self.load(name, number, keep_others=True)

    async def unload(self, name: str, number: int = 0) -> None:
        """Finishes what is in flight on a version (0: on all), then frees it. Raises NotFound."""
        versions = self._versions.get(name, {})
        if not any(version.model for n, version in versions.items() if number in (0, n)):
            raise self._missing(name, number, {})
        async with self._changing[name]:
            await self._retire(name, [n for n in versions if number in (0, n)])

    async def set_alias(self, name: str, alias: str, number: int) -> None:
        """Points an alias at a loaded version, or removes it (0), in `aliases.json` and here."""
        if not NAME.match(alias):
            raise BadRequest(f"alias {alias!r}: letters, digits, '.', '_' and '-' are allowed, the first not a sign")
        if name not in self._versions:
            raise self._missing(name, number, {})
        async with self._changing[name]:
            aliases = dict(self.aliases(name))
            if number:
                self.get(ModelSpec(name=name, version=number))
                aliases[alias] = number
            elif aliases.pop(alias, None) is None:
                raise NotFound(f"{name} has no alias {alias!r}; it has: {', '.join(sorted(aliases)) or 'none'}")
            await asyncio.to_thread(_write_aliases, self._settings.repository / name / "aliases.json", aliases)
            self._aliases[name] = aliases

    async def close(self) -> None:
        """Unloads everything."""
        for name, versions in list(self._versions.items()):
            await self._retire(name, list(versions))

    async def _prepare(self, name: str, number: int) -> LoadedModel:
        version = self._versions[name][number] = Version(State.STATE_LOADING)
        self._show_state(name, number, version.state)
        try:
            folder = self._settings.repository / name / str(number)
            prepared = await asyncio.to_thread(prepare, folder, self._settings)
        except BaseException as error:  # also a caller who hangs up midway: nothing may stay LOADING for ever
            version.state, version.reason = State.STATE_FAILED, str(error)
            self._show_state(name, number, version.state)
            raise
        model = LoadedModel(prepared, self._settings, self._decoder, self._metrics)
        version.state, version.model = State.STATE_READY, model
        self._show_state(name, number, version.state)
        self._show_device(model, 1)
        log.info("%s answers on %s, fingerprint %.12s", model, model.session.device, model.facts.fingerprint)
        if model.session.fallback:
            log.warning("%s runs on the CPU: %s", model, model.session.fallback)
        return model

    async def _retire(self, name: str, numbers: list[int]) -> None:
        for number in numbers:
            version = self._versions[name][number]
            model, version.model, version.state = version.model, None, State.STATE_UNLOADING
            self._show_state(name, number, version.state)
            if model:
                self._show_device(model, 0)
                await model.retire(self._settings.drain_grace)
                log.info("%s is unloaded", model)
            del self._versions[name][number]
            self._show_state(name, number, State.STATE_UNLOADED)

    def _show_state(self, name: str, number: int, state: State) -> None:
        self._metrics.model_state.labels(name, str(number)).set(state)

    def _show_device(self, model: LoadedModel, loaded: int) -> None:
        name, number = model.facts.model, str(model.facts.version)
        facts = (model.facts.fingerprint, model.facts.precision, model.session.device)
        self._metrics.model_info.labels(name, number, *facts).set(loaded)
        self._metrics.device_fallback.labels(name, number).set(loaded if model.session.fallback else 0)

    def _spell_disk(self) -> str:
        spelled = [f"{name}/{number}" for name, numbers in self.on_disk().items() for number in numbers]
        return ", ".join(spelled) or "nothing"


def _read_aliases(file: Path) -> dict[str, int]:
    try:
        return {str(alias): int(number) for alias, number in json.loads(file.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise BundleError(f'{file}: not understood ({error}); wanted something like {{"stable": 1}}') from error


def _write_aliases(file: Path, aliases: dict[str, int]) -> None:
    aside = file.with_name(f".aliases-{os.getpid()}.json")
    try:
        aside.write_text(json.dumps(aliases, sort_keys=True) + "\n")
        aside.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise NotWritable(f"aliases.json cannot be written ({error.strerror}); make the repository writable") from error
