"""A certificate from a person's labels of a sample of the pool: asked of the model, tested, signed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from pupil_client.client import Client
from pupil_client.labelling.asking import Asker
from pupil_client.labelling.certified import FORMAT, CertificateFile, signature
from pupil_client.labelling.learned import refuse_learned, seen_before
from pupil_client.labelling.ledger import Line
from pupil_client.labelling.pictures import Picture, Source
from pupil_client.labelling.promise import Promise, what_would_do
from pupil_client.labelling.samples import Labelled
from pupil_client.results import Certificate, ModelInfo

if TYPE_CHECKING:
    from pupil_trust import Calibration

Plain = dict[str, Any]  # a certificate
AT_ONCE = 512  # images on one stream
OTHER = -1  # the label of an image of no class that the model knows: it can only be wrong


@dataclass(frozen=True)
class Question:
    """What is to be certified. `pool` is where the thresholds to test come from; without it they are fixed ones."""

    guarantee: str = "pac"  # pac, per-class or fdr
    precision: float = 0.99
    delta: float = 0.05
    pool: Source | None = None
    run: frozenset[str] | None = None  # SHA-256 of images whose labels the model learned, known beside its bundle
    others: bool = False  # labels that the model does not know are wrong answers, and no mistake


class Answered(NamedTuple):
    """A labelled image with the model's answer; classes by their number."""

    name: str
    digest: str
    confidence: float
    predicted: int
    label: int


def certify(
    client: Client,
    model: ModelInfo,
    labelled: Sequence[Labelled],
    question: Question,
    *,
    patience: float,
    progress: Callable[[int], object],
) -> tuple[CertificateFile, dict[str, str]]:
    """The certificate, and for each class that has none of its own the reason.

    Raises ValueError where the sample cannot carry the promise or must not be used, PupilError.
    """
    asker = Asker(client, model, Promise("none"), patience=patience, progress=progress)
    sample = _sample(asker, model.classes, labelled, others=question.others)
    seen = seen_before(client, model, [each.digest for each in sample], question.run)
    if seen:
        refuse_learned([each.name for each in sample], seen, model)
    pool = None if question.pool is None else _confidences(asker, question.pool)
    grid, promised, missing = _tested(sample, pool, question, model)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "model": model.name,
        "version": model.version,
        "fingerprint": model.fingerprint,
        "precision": model.precision,
        "classes": list(model.classes),
        "promise": {"guarantee": question.guarantee, "precision": question.precision, "delta": question.delta},
        **promised,
        "grid": grid,
        "grid_from": "fixed" if pool is None else "pool",
        "trained_on": seen
        and {"images": seen.trained_on, "unlabelled": len(seen.unlabelled), "missing": list(seen.missing)},
        "sample": {
            "sha256": _sha256(sample),
            "confidence": [each.confidence for each in sample],
            "predicted": [each.predicted for each in sample],
            "label": [each.label for each in sample],
        },
    }
    return CertificateFile({**facts, "signature": signature(facts)}), missing


def _sample(asker: Asker, classes: Sequence[str], labelled: Sequence[Labelled], *, others: bool) -> list[Answered]:
    """Each image once, and again where a copy of it lies in the pool under another name and the model is wrong on it.

    A copy on which it is right proves nothing new, but a wrong one that a pool holds often is often a wrong label.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    first: dict[str, Labelled] = {}  # by SHA-256
    names = set[str]()
    found = []
    for each, line in zip(labelled, _asked(asker, (each.picture for each in labelled)), strict=True):
        name, digest, predicted, confidence, *_, error = line
        if error is not None:
            raise ValueError(f"{each.picture.name}: {error}; mend it, or take its row out of the sample")
        digest = each.sha256 or digest  # pixels became a file, but the model may have seen the pixels
        is_first, label = _is_first(first, digest, each), _number(numbers, each, others=others)
        if is_first or (name not in names and numbers[predicted] != label):
            found.append(Answered(name, digest, confidence, numbers[predicted], label))
        names.add(name)
    return found


def _sha256(sample: Sequence[Answered]) -> str:
    """Of the images with their labels, in whatever order they came."""
    return sha256("".join(sorted(f"{each.digest} {each.label}\n" for each in sample)).encode()).hexdigest()


def _is_first(first: dict[str, Labelled], digest: str, each: Labelled) -> bool:
    """Whether the image was not there before. Raises ValueError where it was, with another label."""
    before = first.setdefault(digest, each)
    if before.label != each.label:
        raise ValueError(
            f"{before.picture.name} and {each.picture.name} are the same image, labelled {before.label!r} and "
            f"{each.label!r}; look again which is right"
        )
    return before is each


def _number(numbers: Mapping[str, int], each: Labelled, *, others: bool) -> int:
    if each.label not in numbers and not others:
        raise ValueError(
            f"{each.picture.name}: its label {each.label!r} is no class of the model ({', '.join(numbers)}); mend it, "
            "or say --others if there are images of no known class, on which the model can only be wrong"
        )
    return numbers.get(each.label, OTHER)


def _confidences(asker: Asker, pool: Source) -> list[float]:
    found = [line[3] for line in _asked(asker, pool.pictures()) if line[3] is not None]
    if not found:
        raise ValueError("no image of the pool can be read")
    return found


def _asked(asker: Asker, pictures: Iterable[Picture]) -> Iterator[Line]:
    remaining = iter(pictures)
    while some := list(islice(remaining, AT_ONCE)):
        yield from asker.label(some)


def _tested(
    sample: Sequence[Answered], pool: list[float] | None, question: Question, model: ModelInfo
) -> tuple[list[float], dict[str, Any], dict[str, str]]:
    """The thresholds that were tested, what is promised, and for classes without a promise the reason."""
    from pupil_trust import Calibration, fixed_grid, pool_grid

    grid = fixed_grid() if pool is None else pool_grid(pool)
    confidence, correct = [each.confidence for each in sample], [each.predicted == each.label for each in sample]
    calibration = Calibration(confidence, correct, grid)  # type: ignore[arg-type]  # it makes arrays of them
    certificate, by_class, missing = _promised(calibration, sample, question, model)
    return grid.tolist(), {"certificate": certificate, "by_class": by_class}, missing


def _promised(
    calibration: "Calibration", sample: Sequence[Answered], question: Question, model: ModelInfo
) -> tuple[Plain | None, dict[str, Plain] | None, dict[str, str]]:
    from pupil_trust import fdr_threshold

    if question.guarantee == "pac":
        return _pac(calibration, question, model), None, {}
    if question.guarantee == "fdr":
        fdr_threshold(calibration, [], precision=question.precision)  # raises where no pool could get anything
        return None, None, {}
    by_class, missing = _of_each_class(calibration, [each.predicted for each in sample], question, model)
    return None, by_class, missing


def _pac(calibration: "Calibration", question: Question, model: ModelInfo) -> Plain:
    from pupil_trust import NotCertifiable, pac_certificate

    def at(precision: float) -> Certificate:
        found = pac_certificate(calibration, precision=precision, delta=question.delta, fingerprint=model.fingerprint)
        return Certificate(**found.to_dict())

    try:
        return asdict(at(question.precision))
    except NotCertifiable as error:
        raise ValueError(f"{error}{what_would_do(question.precision, at)}") from None


def _of_each_class(
    calibration: "Calibration", predicted: list[int], question: Question, model: ModelInfo
) -> tuple[dict[str, Plain], dict[str, str]]:
    from pupil_trust import NotCertifiable, per_class_certificates

    each = per_class_certificates(
        calibration, predicted, len(model.classes),
        precision=question.precision, delta=question.delta, fingerprint=model.fingerprint,
    )  # fmt: skip
    found: dict[str, Plain] = {}
    missing: dict[str, str] = {}
    for name, one in zip(model.classes, each, strict=True):
        if isinstance(one, NotCertifiable):
            missing[name] = str(one)
        else:
            found[name] = one.to_dict()
    if not found:
        raise ValueError("no class: " + "; ".join(f"{name}: {reason}" for name, reason in missing.items()))
    return found, missing
