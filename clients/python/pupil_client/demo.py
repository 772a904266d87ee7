"""`pupil demo`: the whole circle on handwritten digits, told once, by the real commands and the real client."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import click

from pupil_client.client import Client
from pupil_client.demo_measure import HEADS, measured_rows, read_pictures
from pupil_client.demo_traffic import Traffic
from pupil_client.errors import NotCertified, PupilError
from pupil_client.labelling.promise import in_words
from pupil_client.own_server import running_server
from pupil_client.results import Certificate
from pupil_client.table import table

MARKER = ".made-by-pupil-demo"
PRECISIONS = (0.98, 0.97, 0.95, 0.9, 0.8)  # the first one that the teacher can be certified for
DELTA = 0.1 / len(PRECISIONS)  # each of so many tries may break its promise: together they may in one of ten cases
COMMAND_SECONDS = 900.0
PARTS = ("torch", "onnxscript", "grpc_health")  # of training, export and server: what they lack is told at once


@dataclass(frozen=True)
class Places:
    """Where the demo keeps what it makes."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def labels(self) -> Path:
        return self.folder / "labels.jsonl"

    def run(self, name: str) -> Path:
        """The folder of one training run."""
        return self.folder / "runs" / name


class Narrator:
    """Says which step is told, and remembers it for the moment when one fails."""

    def __init__(self, steps: int) -> None:
        self.step = "making room"
        self._began = time.monotonic()
        self._number = 0
        self._steps = steps

    def begin(self, step: str) -> None:
        """The heading of the next step."""
        self._number += 1
        self.step = step
        seconds = time.monotonic() - self._began
        click.secho(f"\n[{self._number}/{self._steps}, {seconds:.0f} s] {step}", err=True, bold=True)

    def note(self, text: str) -> None:
        """What came out of the step."""
        click.echo(text, err=True)


@click.command(
    short_help="Turn the whole circle on 1,797 handwritten digits.", epilog="\b\nExample:\n  pupil demo --folder demo"
)
@click.option("--folder", default="demo", show_default=True, type=click.Path(path_type=Path), help="Where all goes.")
@click.option("--seed", default=0, show_default=True, help="Of the split and of every training.")
def demo(folder: Path, seed: int) -> None:
    """The whole circle on 1,797 handwritten digits: train, distill, export, serve, label, self-train, swap, compare.

    About three minutes on two cores, without a download. A folder from an earlier demo is replaced.
    """
    for name in PARTS:
        if find_spec(name) is None:
            raise ModuleNotFoundError(name=name)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whatever ends the demo, ends what it started too
    narrator = Narrator(steps=8)
    try:
        _tell(Places(folder), seed, narrator)
    except (PupilError, OSError, subprocess.SubprocessError) as error:
        raise click.ClickException(f"step '{narrator.step}' failed: {error}") from None


def _tell(places: Places, seed: int, narrator: Narrator) -> None:
    _make_room(places.folder)

    narrator.begin("Write the digits: few of them labelled, most of them a pool without labels")
    _python("pupil_training.digits", places.data, "--seed", seed)

    narrator.begin("Train a teacher, a student alone, and a student that the teacher distills")
    learn = (f"data.root={places.data}", f"seed={seed}")
    taught = (*learn, f"distill.teacher={places.run('teacher')}")
    _pupil("train", "digits_teacher", *learn, "--out", places.run("teacher"))
    _pupil("train", "digits_student", *learn, "--out", places.run("student-alone"))
    _pupil("distill", "digits_student_distilled", *taught, "--out", places.run("student"))

    narrator.begin("Export all three to ONNX, refused unless they agree with PyTorch")
    _export(places, "teacher")  # first, because the students' bundles name it
    with ThreadPoolExecutor() as together:  # most of an export is one core's work
        list(together.map(partial(_export, places), ("student-alone", "student")))

    narrator.begin("Serve them")
    with running_server(places.repository, places.folder / "server.log") as address, Client(address) as client:
        narrator.note(f"{', '.join(info.name for info in client.models())} at {address}")

        narrator.begin("Label the pool over gRPC, under a promise")
        precision = _certified_precision(client, narrator)
        promise = ("--precision", precision, "--delta", DELTA)
        pool = places.data / "pool"
        _pupil("label", pool, "--model", "teacher", *promise, "--output", places.labels, "--server", address)

        narrator.begin("Self-train: the next student learns from what was accepted, and becomes version 2")
        accepted = f"labels.file={places.labels}"
        _pupil("distill", "digits_student_selftrained", *taught, accepted, "--out", places.run("student-2"))
        _export(places, "student-2", model="student")

        narrator.begin("Swap version 2 in while requests keep coming")
        pictures = read_pictures(places.data / "test")
        _swap(client, [picture.data for picture in pictures], narrator)

        narrator.begin("Compare and measure all of them over gRPC, on test pictures that no training has seen")
        rows = measured_rows(client, places.repository, pictures)

    click.echo(f"\n{table(HEADS, rows)}\n\n{_verdict(places)}\n\n{_by_hand(places)}")


def _make_room(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise click.ClickException(f"{folder} was not made by pupil demo: name another --folder, or remove it")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()


def _export(places: Places, run: str, model: str | None = None) -> None:
    _pupil("export", places.run(run), "--repository", places.repository, "--name", model or run)


def _pupil(*arguments: object) -> None:
    _run("pupil", "pupil_client", *arguments)


def _python(module: str, *arguments: object) -> None:
    _run(f"python -m {module}", module, *arguments)


def _run(typed: str, module: str, *arguments: object) -> None:
    """Runs it, talk and progress bars in sight. Raises `SubprocessError` where it fails or takes too long."""
    words = [str(each) for each in arguments]
    click.echo(f"$ {typed} {' '.join(words)}", err=True)
    done = subprocess.run([sys.executable, "-m", module, *words], stdout=subprocess.DEVNULL, timeout=COMMAND_SECONDS)
    if done.returncode:
        raise subprocess.SubprocessError(f"{typed} {words[0]} ended with exit code {done.returncode}")


def _certified_precision(client: Client, narrator: Narrator) -> float:
    for precision in PRECISIONS:
        try:
            list(client.pseudo_label([], model="teacher", precision=precision, delta=DELTA))
        except NotCertified as refusal:
            narrator.note(f"not at precision {precision:g}: {refusal}")
        else:
            return precision
    raise NotCertified(f"the teacher cannot be certified at any of {PRECISIONS}")


def _swap(client: Client, images: list[bytes], narrator: Narrator) -> None:
    with Traffic(client.address, "student", images) as traffic:
        traffic.wait_for(version=1)
        client.load("student/2", keep_others=True)  # version 1 stays, to be measured beside it
        traffic.wait_for(version=2)
    by_version = ", ".join(f"{count:,} by version {version}" for version, count in sorted(traffic.answers.items()))
    narrator.note(f"{traffic.requests:,} requests meanwhile: {by_version}, {len(traffic.failures)} failed")
    if traffic.failures:
        raise PupilError(f"{len(traffic.failures)} requests failed during the swap, the first: {traffic.failures[0]}")


def _verdict(places: Places) -> str:
    """What was accepted at which promise, and what the truth says about it."""
    with (places.data / "pool_labels.csv").open(newline="", encoding="utf-8") as file:
        truth = {Path(row["image"]).name: row["label"] for row in csv.DictReader(file)}
    with places.labels.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    accepted = [row for row in rows if row["accepted"]]
    right = sum(truth[Path(row["image"]).name] == row["label"] for row in accepted)
    certificate = rows[0]["certificate"]
    promise = in_words(Certificate(**{name: certificate[name] for name in Certificate.__slots__}))
    share = f"{right:,} of {len(accepted):,} = {right / len(accepted):.2%}" if accepted else "nothing to judge"
    return f"accepted {len(accepted):,} of {len(rows):,} {promise}; truly right: {share}"


def _by_hand(places: Places) -> str:
    image = next((places.data / "pool").glob("*.png"))
    return "\n".join([
        "Go on by hand:",
        f"  pupil serve --repository {places.repository}",
        f"  pupil classify {image} --model student",
        f"  pupil compare {image} --student student --teacher teacher",
        f"  pupil label {places.data / 'pool'} --model teacher --precision 0.95 --output more.jsonl",
        "  pupil models list",
        f"  pupil evaluate {places.run('teacher')} {places.run('student')}",
    ])  # fmt: skip
