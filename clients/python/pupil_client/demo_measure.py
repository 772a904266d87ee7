"""What the demo's last table holds, measured over gRPC on the test pictures."""

import json
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from tqdm import tqdm

from pupil_client.client import Client

BATCH = 32
CALLERS = 4  # who send their batches at the same time
WARM_UP = 20
SINGLES = 200  # single-image requests behind the median
BATCHES = 120  # behind the images per second

HEADS = (
    "model", "parameters", "bytes", "accuracy (95 % interval)", "agrees with teacher", "p50 of one image",
    "in the model", "images/s in batches",
)  # fmt: skip
MODELS = (
    ("teacher", "teacher/1"),
    ("student, alone", "student-alone/1"),
    ("student, distilled", "student/1"),
    ("student, self-trained", "student/2"),
)


@dataclass(frozen=True, slots=True)
class Picture:
    """One test picture and its true class."""

    data: bytes
    label: str


@dataclass(frozen=True, slots=True)
class Measured:
    """One model, one row of the table."""

    right: int
    of: int
    agreed: int | None  # with the teacher
    p50_seconds: float
    p50_model_seconds: float  # of the former, in the model
    images_per_second: float
    parameters: int
    bytes: int


def read_pictures(folder: Path) -> list[Picture]:
    """The pictures of a split in class folders."""
    return [Picture(path.read_bytes(), path.parent.name) for path in sorted(folder.glob("*/*.png"))]


def measured_rows(client: Client, repository: Path, pictures: Sequence[Picture]) -> list[tuple[str, ...]]:
    """Under HEADS, a row for each of MODELS."""
    from pupil_trust import wilson_interval

    rows: list[tuple[str, ...]] = []
    for title, model in MODELS:
        teacher = None if model == "teacher/1" else "teacher/1"
        found = _measure(client, model, teacher, pictures, repository / model)
        low, high = wilson_interval(found.right, found.of)
        agreement = "-" if found.agreed is None else f"{found.agreed / found.of:.1%}"
        rows.append((
            title,
            f"{found.parameters:,}",
            f"{found.bytes:,}",
            f"{found.right / found.of:.1%} ({low:.1%} to {high:.1%})",
            agreement,
            f"{found.p50_seconds * 1000:.2f} ms",
            f"{found.p50_model_seconds * 1000:.2f} ms",
            f"{found.images_per_second:,.0f}",
        ))  # fmt: skip
    return rows


def _measure(client: Client, model: str, teacher: str | None, pictures: Sequence[Picture], bundle: Path) -> Measured:
    """Accuracy, agreement and speed of one served model, with the size of its bundle."""
    batches = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
    with tqdm(total=2 * len(batches) + SINGLES + BATCHES, desc=model, unit=" requests") as bar:
        right = agreed = 0
        for batch in batches:
            images = [picture.data for picture in batch]
            found = client.classify(images, model=model, top_k=1)
            right += sum(each.label == picture.label for each, picture in zip(found, batch, strict=True))
            if teacher:
                agreed += sum(each.agree for each in client.compare(images, student=model, teacher=teacher, top_k=1))
            bar.update(2)
        p50, in_the_model = _median_seconds(client, model, pictures, bar)
        speed = _images_per_second(client, model, pictures, bar)
    facts = json.loads((bundle / "bundle.json").read_bytes())
    return Measured(
        right=right,
        of=len(pictures),
        agreed=agreed if teacher else None,
        p50_seconds=p50,
        p50_model_seconds=in_the_model,
        images_per_second=speed,
        parameters=facts["parameters"],
        bytes=(bundle / "model.onnx").stat().st_size,
    )


def _median_seconds(client: Client, model: str, pictures: Sequence[Picture], bar: "tqdm[Never]") -> tuple[float, float]:
    """Of single-image requests, one after the other: from the call to its answer, and in the model."""
    seconds, in_the_model = [], []
    for number in range(WARM_UP + SINGLES):
        image = pictures[number % len(pictures)].data
        began = time.perf_counter()
        found = client.classify(image, model=model, top_k=1)
        seconds.append(time.perf_counter() - began)
        in_the_model.append(found.answered_by.compute_seconds)
        bar.update(number >= WARM_UP)
    return statistics.median(seconds[WARM_UP:]), statistics.median(in_the_model[WARM_UP:])


def _images_per_second(client: Client, model: str, pictures: Sequence[Picture], bar: "tqdm[Never]") -> float:
    """Of a few callers who send batches at the same time."""
    images = [picture.data for picture in pictures[:BATCH]]

    def ask(number: int) -> None:
        client.classify(images, model=model, top_k=1)

    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(ask, range(CALLERS)))
        began = time.perf_counter()
        for _ in callers.map(ask, range(BATCHES)):
            bar.update()
        return BATCHES * len(images) / (time.perf_counter() - began)
