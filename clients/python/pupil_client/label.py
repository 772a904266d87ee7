"""The labelling job: a folder of pictures in, a row for each out, in order, over one stream."""

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pupil_client.client import Client
from pupil_client.connection import MAX_MESSAGE_BYTES
from pupil_client.labels_file import LabelRow
from pupil_client.results import Certificate, ModelInfo, PseudoLabel

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MAX_FILE_BYTES = MAX_MESSAGE_BYTES - 4096  # the rest of the message needs some room


@dataclass(frozen=True, slots=True)
class Promise:
    """What is asked of the labels: the settings of `Client.pseudo_label`."""

    guarantee: str = "pac"
    precision: float = 0.99
    delta: float = 0.05
    threshold: float | None = None


@dataclass(slots=True)
class Tally:
    """How many labels were accepted, abstained from, and skipped because the image could not be read."""

    accepted: int = 0
    abstained: int = 0
    skipped: int = 0
    promise: str = ""

    def count(self, row: LabelRow) -> None:
        """One more row."""
        self.accepted += row.accepted
        self.skipped += row.error is not None
        self.abstained += row.error is None and not row.accepted
        if row.certificate and not self.promise:
            self.promise = " " + in_words(Certificate(**row.certificate))

    def sentence(self) -> str:
        """`1,797 images: 1,523 accepted at precision ≥ 0.99 with confidence 0.95, 270 abstained, 4 skipped`."""
        total = self.accepted + self.abstained + self.skipped
        rest = f"{self.abstained:,} abstained, {self.skipped:,} skipped"
        return f"{total:,} images: {self.accepted:,} accepted{self.promise}, {rest}"


@dataclass(frozen=True, slots=True)
class Picture:
    """A file that was read, or why it could not be."""

    path: Path
    sha256: str | None = None
    error: str | None = None
    data: bytes = field(default=b"", repr=False)


def find_images(folder: Path) -> list[Path]:
    """The pictures in a folder and below, sorted by path. Raises `ValueError` where there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise ValueError(f"{folder}: no images ({', '.join(SUFFIXES)}) here or below")
    return found


def label_images(client: Client, paths: Sequence[Path], model: ModelInfo, promise: Promise) -> Iterator[LabelRow]:
    """A row for every path, in order; an image that cannot be read is a row with an error.

    `model` is pinned: a version that is swapped in meanwhile does not mix its labels into the file.
    """
    waiting: deque[Picture] = deque()  # sent or unreadable; filled in gRPC's thread, emptied here

    def readable() -> Iterator[bytes]:
        for path in paths:
            picture = _read(path)
            waiting.append(Picture(picture.path, picture.sha256, picture.error))
            if picture.error is None:
                yield picture.data

    labels = client.pseudo_label(
        readable(),
        model=f"{model.name}/{model.version}",
        guarantee=promise.guarantee,
        precision=promise.precision,
        delta=promise.delta,
        threshold=promise.threshold,
        scores=True,
    )
    for label in labels:
        while waiting[0].error is not None:
            yield _row(waiting.popleft(), None, model, client.address)
        yield _row(waiting.popleft(), label, model, client.address)
    for picture in waiting:
        yield _row(picture, None, model, client.address)


def in_words(certificate: Certificate) -> str:
    """The promise as an engineer would say it."""
    if certificate.guarantee == "pac":
        return f"at precision ≥ {certificate.precision:g} with confidence {1 - certificate.delta:g}"
    if certificate.guarantee == "fdr":
        return f"at precision ≥ {certificate.precision:g} in expectation"
    if certificate.guarantee == "fixed":
        return f"from confidence {certificate.threshold:g} on, without a promise"
    return "without a promise"


def _read(path: Path) -> Picture:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            return Picture(path, error=f"{size:,} bytes are too many; at most {MAX_FILE_BYTES:,} travel in one message")
        data = path.read_bytes()
    except OSError as error:
        return Picture(path, error=error.strerror or str(error))
    return Picture(path, hashlib.sha256(data).hexdigest(), data=data)


def _row(picture: Picture, label: PseudoLabel | None, model: ModelInfo, address: str) -> LabelRow:
    prediction = label.prediction if label else None
    return LabelRow(
        image=str(picture.path),
        sha256=picture.sha256,
        label=prediction.label if prediction else None,
        confidence=prediction.confidence if prediction else None,
        accepted=label.accepted if label else False,
        scores=prediction.scores if prediction else None,
        classes=None,
        served_by=address,
        model=model.name,
        version=model.version,
        fingerprint=model.fingerprint,
        certificate=asdict(label.certificate) if label else None,
        error=label.error if label else picture.error,
    )
