"""One version from the disk into service and out again, beside live traffic."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pupil_proto.v1.models_pb2 import State
from pupil_server.decoding import Decoder
from pupil_server.errors import BundleError
from pupil_server.loading import prepare
from pupil_server.metrics import Metrics
from pupil_server.model import LoadedModel
from pupil_server.settings import ServerSettings

log = logging.getLogger("pupil.repository")


@dataclass
class Version:
    """What is known of one version: its state, why it failed, and the model while it is loaded."""

    name: str
    number: int
    state: State = State.STATE_UNLOADED
    reason: str = ""
    model: LoadedModel | None = None

    def __str__(self) -> str:
        return f"{self.name}/{self.number}"


class Transitions:
    """Takes versions through their states, and shows those in the metrics and the log.

    One thread, so that one version is loaded at a time. Not at a lower priority: where it waits for its turn while
    it holds the GIL everybody waits (measured on a busy core: 424 ms instead of 73), and the threads of a session
    would inherit it for good.
    """

    def __init__(self, settings: ServerSettings, decoder: Decoder, metrics: Metrics) -> None:
        self._settings = settings
        self._decoder = decoder
        self._metrics = metrics
        self.on_load: Callable[[LoadedModel], None] = lambda model: None  # before anybody can ask it
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")

    async def load(self, version: Version) -> LoadedModel:
        """Reads, checks and warms the bundle. Raises BundleError; then `version` is FAILED and says why."""
        self._show(version, State.STATE_LOADING)
        log.info("%s is being loaded", version)
        folder = self._settings.repository / version.name / str(version.number)
        try:
            prepared = await asyncio.get_running_loop().run_in_executor(self._thread, prepare, folder, self._settings)
            model = LoadedModel(prepared, self._settings, self._decoder, self._metrics)
            self.on_load(model)
        except BaseException as error:  # also a caller who hangs up midway: nothing may stay LOADING for ever
            version.reason = self._why(error)
            self._show(version, State.STATE_FAILED)
            log.error("%s is not loaded: %s", version, version.reason)
            raise
        version.model = model
        self._show(version, State.STATE_READY)
        self._show_device(model, 1)
        log.info("%s answers on %s, fingerprint %.12s", model, model.session.device, model.facts.fingerprint)
        if model.session.fallback:
            log.warning("%s runs on the CPU: %s", model, model.session.fallback)
        return model

    async def unload(self, version: Version) -> None:
        """Nobody new comes in from here on; finishes what is inside, then frees the session."""
        model, version.model = version.model, None
        if model:
            self._show(version, State.STATE_UNLOADING)
            self._show_device(model, 0)
            await model.retire(self._settings.drain_grace)
            log.info("%s is unloaded", model)
        self._show(version, State.STATE_UNLOADED)

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def spell(self, error: BundleError) -> str:
        """What is wrong, without where the repository lies: callers need not know."""
        return str(error).replace(f"{self._settings.repository}/", "")

    def _why(self, error: BaseException) -> str:
        if isinstance(error, asyncio.CancelledError):
            return "whoever asked for it hung up or ran out of time; ask again"
        if isinstance(error, BundleError):
            return self.spell(error)
        return f"{type(error).__name__}; the log of the server has more"

    def _show(self, version: Version, state: State) -> None:
        version.state = state
        self._metrics.model_state.labels(version.name, str(version.number)).set(state)

    def _show_device(self, model: LoadedModel, loaded: int) -> None:
        name, number = model.facts.model, str(model.facts.version)
        for each in model.in_each_precision():
            precision = each.facts.precision
            facts = (each.facts.fingerprint, precision, each.session.device)
            self._metrics.model_info.labels(name, number, *facts).set(loaded)
            for device, nodes in each.session.nodes.items():
                self._metrics.nodes.labels(name, number, precision, device).set(nodes * loaded)
        self._metrics.device_fallback.labels(name, number).set(loaded if model.session.fallback else 0)
