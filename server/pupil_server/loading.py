"""From a folder to sessions that are checked and warm: everything about loading that takes time."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from pupil_server.bundle import Bundle, read_bundle
from pupil_server.errors import BadImage, BundleError
from pupil_server.images import Limits, decode
from pupil_server.onnx_session import available
from pupil_server.providers import Gpu, best_device
from pupil_server.resources import share_of_cores
from pupil_server.session import Session
from pupil_server.settings import ServerSettings


class Prepared(NamedTuple):
    """A bundle in the precision that answers unasked, with its session; and the others that were wanted."""

    bundle: Bundle
    session: Session
    others: tuple["Prepared", ...] = ()


def prepare(folder: Path, settings: ServerSettings) -> Prepared:
    """Reads, checks and warms a bundle. Raises BundleError."""
    bundle = read_bundle(folder)
    if settings.device != "auto":
        return _prepare_on(settings.device, "", bundle, settings)
    device, fallback = best_device(available())
    if device != "cpu":
        try:
            return _prepare_on(device, "", bundle, settings)
        except BundleError as error:  # a driver or a library is missing, or the device computes something else
            device, fallback = "cpu", str(error)
    return _prepare_on(device, fallback, bundle, settings)


def _prepare_on(device: str, fallback: str, bundle: Bundle, settings: ServerSettings) -> Prepared:
    first, *others = chosen(bundle, settings.precision, settings.more_precisions, device)
    return Prepared(
        first,
        _session(first, device, fallback, settings),
        tuple(Prepared(other, _session(other, device, fallback, settings)) for other in others),
    )


def chosen(bundle: Bundle, asked: str, more: tuple[str, ...], device: str) -> list[Bundle]:
    """The bundle in the precision that answers unasked, then in those of `more` that it has. Raises BundleError.

    `auto` is fp16 on a GPU, which computes it at a multiple of fp32's speed, and on a CPU the precision of the
    training: what a CPU gains by int8 depends on its instructions, and what a label promises is worth more.
    """
    has = bundle.precisions
    first = asked if asked != "auto" else "fp16" if device != "cpu" and "fp16" in has else bundle.facts.precision
    if first not in has:
        raise BundleError(
            f"{bundle.folder}: --precision {first}: it has {', '.join(has)}; export it with --precision {first}, "
            "or serve it with --precision auto"
        )
    return [has[name] for name in dict.fromkeys((first, *more)) if name in has]


def _session(bundle: Bundle, device: str, fallback: str, settings: ServerSettings) -> Session:
    session = Session(
        bundle.graph,
        device=device,
        threads=settings.threads or share_of_cores(settings.workers),
        shape=bundle.facts.input.shape,
        max_batch=bundle.facts.largest_batch(settings.max_batch),
        precision=bundle.facts.precision,
        gpu=Gpu(graphs=settings.cuda_graphs, search=settings.conv_search, engines=settings.engine_cache),
        fallback=fallback,
    )
    session.warm()
    _check_goldens(bundle, session, Limits.of(settings))
    return session


def _check_goldens(bundle: Bundle, session: Session, limits: Limits) -> None:
    """Decoding and graph together must give what they gave at export: no skew between training and serving."""
    for golden in bundle.goldens:
        try:
            pixels = decode(golden.encoded, bundle.facts.input, bundle.facts.resize, limits)
        except BadImage as error:
            raise BundleError(f"{bundle.folder}: {golden.name}: {error}; export it again") from error
        scores = session.run(pixels[np.newaxis]).scores[0]
        if scores.shape != golden.scores.shape or scores.shape != (len(bundle.facts.classes),):
            raise BundleError(
                f"{bundle.folder}: {len(bundle.facts.classes)} classes, the model gives {scores.shape[0]} scores "
                f"and {golden.name} {golden.scores.shape[0]}; export it again"
            )
        off = float(np.abs(scores - golden.scores).max())
        if not off <= golden.tolerance:
            raise BundleError(
                f"{bundle.folder}: {golden.name} scores differ by {off:.3g} from those at export in "
                f"{bundle.facts.precision}, at most {golden.tolerance:g} is allowed; preprocessing or runtime are "
                "not the same"
            )
