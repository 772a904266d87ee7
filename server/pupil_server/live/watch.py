"""One student under watch, and all of them."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pupil_server.errors import NotFound, SettingsError
from pupil_server.images import Limits
from pupil_server.live.agreement import Agreement
from pupil_server.live.background import Background
from pupil_server.live.disagreements import Disagreements
from pupil_server.live.drift import Drift
from pupil_server.live.shadow import Sample, Shadow, Use
from pupil_server.live.state import read_state, remember, write_state
from pupil_server.metrics import Metrics
from pupil_server.model import LoadedModel
from pupil_server.session import Outputs
from pupil_server.settings import ServerSettings

log = logging.getLogger("pupil.live")

NONSENSE = (ArithmeticError, LookupError, TypeError, ValueError)  # of a state file that somebody else wrote
KINDS = ("agreement", "brightness", "classes", "confidence", "contrast", "energy")
DISAGREES = "its teacher differs more often than --shadow-limit allows"
BOUNDS = ("low", "high")


class Watch:
    """What is known of one student's traffic since it was first served, or since the watch was reset."""

    def __init__(self, student: LoadedModel) -> None:
        self.student = student
        self.agreement = Agreement()
        self.drift = Drift(student.bundle)
        self.told: set[str] = set()  # the alarms that stand in the log

    @property
    def alarms(self) -> list[str]:
        """Which of KINDS are beyond chance."""
        return [*(["agreement"] if self.agreement.alarm else []), *sorted(self.drift.alarms)]

    def to_dict(self) -> dict[str, Any]:
        self.drift.count()
        return {"agreement": self.agreement.to_dict(), "drift": self.drift.to_dict()}

    def restore(self, plain: dict[str, Any]) -> None:
        """Goes on from what `to_dict` gave. Raises one of NONSENSE where it did not give that."""
        self.agreement = Agreement.from_dict(plain["agreement"], classes=len(self.student.facts.classes))
        self.drift.restore(plain["drift"])


def _require_sense(settings: ServerSettings) -> None:
    """Raises SettingsError for what would be kept and never is."""
    if settings.keep_disagreements and not settings.shadow:
        raise SettingsError("--keep-disagreements: keeps what --shadow finds; set that too")
    if settings.keep_images and not settings.keep_disagreements:
        raise SettingsError("--keep-images: keeps them beside --keep-disagreements; set that too")


class Watches:
    """The watch over every loaded student that names a teacher."""

    def __init__(self, settings: ServerSettings, use: Use, metrics: Metrics) -> None:
        _require_sense(settings)
        self._settings = settings
        self._metrics = metrics
        teachers = Background(Limits.of(settings))
        self._shadow = Shadow(settings.shadow, use, teachers, metrics) if settings.shadow else None
        folder = settings.keep_disagreements
        self._kept = Disagreements(folder, pictures=settings.keep_images) if folder else None
        self._known = read_state(settings.watch_state) if settings.watch_state else {}
        self._watched: dict[str, Watch] = {}

    def attach(self, model: LoadedModel) -> None:
        """Begins to watch a model that was just loaded, in each precision, or goes on where the state file ends."""
        self._let_go()
        if model.facts.teacher is None or not (self._settings.drift or self._shadow):
            return
        for student in model.in_each_precision():
            watch = self._watched[student.identity] = Watch(student)
            try:
                if student.identity in self._known:
                    watch.restore(self._known[student.identity])
            except NONSENSE as error:
                log.warning("%s: what was watched before is not understood (%s); it begins anew", student, error)
                watch = self._watched[student.identity] = Watch(student)
            self._show(watch)
            self._judge(watch)
            student.watch = partial(self._saw, watch)

    def of(self, student: LoadedModel) -> Watch:
        """Raises NotFound for a model that is not watched."""
        watch = self._watched.get(student.identity)
        if watch is None:
            raise NotFound(f"{student} is not watched; a student is that names a teacher, under --shadow or --drift")
        watch.drift.count()
        self._judge(watch)
        return watch

    def reset(self, student: LoadedModel) -> Watch:
        """Forgets what was seen, and the alarms. Raises NotFound."""
        watch = self.of(student)
        watch.agreement, watch.drift = Agreement(), Drift(student.bundle)
        self._known.pop(student.identity, None)
        self._judge(watch)
        return watch

    async def save(self) -> None:
        """Writes the state, where there is a place for it, and ends what nobody needs any more."""
        self._let_go()
        if self._shadow:
            await self._shadow.let_go()
        if self._settings.watch_state:
            for identity, watch in self._watched.items():
                remember(self._known, identity, watch.to_dict())
            await asyncio.to_thread(write_state, self._settings.watch_state, dict(self._known))

    async def close(self) -> None:
        if self._shadow:
            await self._shadow.close()
        await self.save()

    def _let_go(self) -> None:
        """Of unloaded students only the numbers stay, and of many only those of the last."""
        for identity, watch in list(self._watched.items()):
            if watch.student.retired:
                remember(self._known, identity, watch.to_dict())
                del self._watched[identity]
                self._hide(watch)

    def _saw(self, watch: Watch, pixels: NDArray[np.uint8], files: Sequence[bytes], outputs: Outputs) -> None:
        """A request was answered. Nothing that goes wrong here reaches the caller."""
        try:
            if self._settings.drift and watch.drift.add(pixels, outputs):
                self._judge(watch)
            if self._shadow:
                self._shadow.saw(watch.student, Sample(pixels, files, outputs.scores), partial(self._compared, watch))
        except Exception:
            log.exception("%s: the watch missed a request", watch.student)

    async def _compared(self, watch: Watch, teacher: LoadedModel, sample: Sample, scores: NDArray[np.float32]) -> None:
        if watch.agreement.teacher != teacher.identity:  # nothing that an older teacher said counts
            watch.agreement = Agreement(teacher.identity)
        agree = watch.agreement.add(sample.scores, scores, limit=self._settings.shadow_limit)
        self._judge(watch)
        if self._kept and not agree.all():
            await asyncio.to_thread(self._kept.add, watch.student, sample, scores, np.flatnonzero(~agree).tolist())

    def _judge(self, watch: Watch) -> None:
        """Tells the alarms to metrics, log and certificates, which lapse where the traffic has changed."""
        student, metrics, labels = watch.student, self._metrics, _labels(watch)
        if student.retired:  # another one may have taken its name
            return
        for kind in KINDS:
            metrics.watch_alarm.labels(*labels, kind).set(kind in watch.alarms)
        changed = sorted(watch.drift.alarms) if self._settings.lapse else []
        student.lapsed = f"the {' and '.join(changed)} of its traffic changed" if changed else ""
        metrics.certificates_valid.labels(*labels).set(not changed)
        for kind in sorted(set(watch.alarms) - watch.told):
            what = (
                DISAGREES if kind == "agreement" else f"the {kind} of its traffic is not as in its calibration images"
            )
            lapsed = "; its certificates have lapsed" if kind in changed else ""
            log.warning("%s: alarm: %s%s; pupil models watch has more", student, what, lapsed)
        watch.told = set(watch.alarms)

    def _show(self, watch: Watch) -> None:
        """Has the numbers computed when somebody reads the metrics: for each image they would cost too much."""
        metrics, labels = self._metrics, _labels(watch)
        for place, bound in enumerate(BOUNDS):
            metrics.disagreement.labels(*labels, bound).set_function(partial(_bound, watch, place))
        for kind in watch.drift.streams:
            metrics.drift_evidence.labels(*labels, kind).set_function(partial(_evidence, watch, kind))

    def _hide(self, watch: Watch) -> None:
        """Takes an unloaded student out of the metrics, its alarms too, unless another has taken its name."""
        metrics, labels = self._metrics, _labels(watch)
        if labels in map(_labels, self._watched.values()):
            return
        for bound in BOUNDS:
            metrics.disagreement.remove(*labels, bound)
        for kind in watch.drift.streams:
            metrics.drift_evidence.remove(*labels, kind)
        for kind in KINDS:
            metrics.watch_alarm.remove(*labels, kind)
        metrics.certificates_valid.remove(*labels)


def _labels(watch: Watch) -> tuple[str, str, str]:
    facts = watch.student.facts
    return facts.model, str(facts.version), facts.precision


def _bound(watch: Watch, place: int) -> float:
    return watch.agreement.interval()[place]


def _evidence(watch: Watch, kind: str) -> float:
    return watch.drift.streams[kind].evidence()
