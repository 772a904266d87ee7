"""A source of images becomes a labels file; killed at any moment, the same command goes on where it was."""

from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from pupil_client.client import Client
from pupil_client.labelling.asking import Asker
from pupil_client.labelling.crew import Crew, Threads
from pupil_client.labelling.evidence import Answers, Evidence, Verdict, ask_for_evidence
from pupil_client.labelling.ledger import Ledger, Line, work_folder
from pupil_client.labelling.pictures import Picture, Source
from pupil_client.labelling.promise import Promise, Tally
from pupil_client.labelling.rows import Row, Table
from pupil_client.labelling.shift import looked_at, require_comparable
from pupil_client.labelling.writers import STDOUT, check_output, labels_file
from pupil_client.results import ModelInfo

SHARD_IMAGES, SHARD_BYTES = 512, 32 << 20  # a shard is full at the one or the other
LINE = ("image", "sha256", "label", "confidence", "accepted", "scores", "error")


@dataclass(frozen=True)
class Job:
    """What is asked for. `served_by` is what the rows call the server.

    `evidence`, where there is some, decides in place of the bundle's own, and `promise` is to accept everything.
    """

    source: Source
    output: Path
    model: ModelInfo
    promise: Promise
    served_by: str
    patience: float = 300.0  # seconds for which the server may be away
    evidence: Evidence | None = None
    allow_shift: bool = False

    @property
    def promises(self) -> bool:
        """Whether anything is promised of the labels."""
        return self.promise.promises or self.evidence is not None

    def facts(self) -> dict[str, str]:
        """What a job that goes on must have in common with the one that began: all that decides the scores."""
        return {
            "source": self.source.digest,
            "model": f"{self.model.name}/{self.model.version}",
            "fingerprint": self.model.fingerprint,
            "precision": self.model.precision,
            "shards": f"{SHARD_IMAGES} images or {SHARD_BYTES} bytes, in JSON, by SHA-256",
        }


Progress = Callable[[int], object]  # told of so many more images that are done
Hire = Callable[[Client, Job, Ledger, Progress], AbstractContextManager[Crew]]


def threads(
    client: Client, job: Job, ledger: Ledger, progress: Progress, say: Callable[[str], object] = lambda words: None
) -> Threads:
    """Whoever labels where nobody else is named; `say` is told when the server stays away."""
    asker = Asker(client, job.model, job.promise, patience=job.patience, progress=progress, say=say)
    return Threads(asker, ledger, job.served_by)


def run(client: Client, job: Job, progress: Progress, hire: Hire = threads) -> Tally:
    """Labels what is not labelled yet, decides, and writes the output; then the work folder is gone.

    Raises NotCertified before any work, Withheld after it where the pool is not like the calibration set; PupilError,
    ValueError or OSError at any time, and what is done stays done.
    """
    check_output(job.output)
    evidence = job.evidence or ask_for_evidence(client, job.model, job.promise, patience=job.patience)
    if job.promises:
        require_comparable(evidence.answers, allowed=job.allow_shift)
    with _ledger(job) as ledger:
        with hire(client, job, ledger, progress) as crew:
            _label(job, ledger, crew)
        tally = _write(job, ledger, _decide(job, evidence, ledger))
        ledger.remove()
    return tally


@contextmanager
def _ledger(job: Job) -> Iterator[Ledger]:
    """The job's ledger, new or taken up again. Raises ValueError where it belongs to another job."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary, "job") if job.output == STDOUT else work_folder(job.output)
        ledger = Ledger(folder)
        try:
            _agree(folder, job, ledger)
            yield ledger
        finally:
            ledger.close()


def _agree(folder: Path, job: Job, ledger: Ledger) -> None:
    before, now = ledger.facts(), job.facts()
    if not before:
        ledger.begin(now)
        return
    over = f"or remove {folder} to start over"
    if before["model"] != now["model"] or before["fingerprint"] != now["fingerprint"]:
        raise ValueError(
            f"{folder}: begun with {before['model']} of fingerprint {before['fingerprint'][:12]}, now asked is "
            f"{now['model']} of {now['fingerprint'][:12]}; load it again and ask for --model {before['model']}, {over}"
        )
    if before["source"] != now["source"]:
        raise ValueError(f"{folder}: the source has changed since the job was begun; bring it back, {over}")
    if before.keys() != now.keys() or before["shards"] != now["shards"]:
        raise ValueError(f"{folder}: begun by another version of pupil; go on with that one, {over}")
    if before["precision"] != now["precision"]:
        raise ValueError(
            f"{folder}: begun with weights of {before['precision']}, now asked is {now['precision']}; ask for "
            f"--model {before['model']}:{before['precision']}, {over}"
        )


def _label(job: Job, ledger: Ledger, crew: Crew) -> None:
    """Every shard that the ledger does not know yet, or whose file is not what it knows."""
    ledger.forget_damaged()
    finished = {shard.number for shard in ledger.finished()}
    seen = 0
    for number, pictures in enumerate(_shards(job.source.pictures())):
        seen += len(pictures)
        if number in finished:
            crew.progress(len(pictures))
        else:
            crew.label(number, pictures)
    crew.finish()
    if not seen:
        ledger.remove()
        raise ValueError("no images in the source")
    if job.source.total not in (None, seen):
        raise ValueError(f"the source has changed while it was labelled: {job.source.total:,} images, now {seen:,}")


def _shards(pictures: Iterator[Picture]) -> Iterator[list[Picture]]:
    """The pictures in parts that depend on nothing but the source."""
    shard: list[Picture] = []
    size = 0
    for picture in pictures:
        if shard and (len(shard) == SHARD_IMAGES or size + picture.size > SHARD_BYTES):
            yield shard
            shard, size = [], 0
        shard.append(picture)
        size += picture.size
    if shard:
        yield shard


def _decide(job: Job, evidence: Evidence, ledger: Ledger) -> Verdict:
    """What is accepted, once all is labelled: the scores are what took the work, and another promise needs no others.

    Raises Withheld.
    """
    if not job.promises:
        return evidence.decide(Answers([], []))
    lines = (line for shard in ledger.finished() for line in ledger.read(shard))
    pool = Answers.of(lines, job.model.classes)
    return looked_at(evidence.decide(pool), evidence.answers, pool, allowed=job.allow_shift)


def _write(job: Job, ledger: Ledger, verdict: Verdict) -> Tally:
    """The output, in the order of the source."""
    tally = Tally(verdict.certificate, verdict.in_words())
    spelled = cache(verdict.spelled)  # by class
    with labels_file(job.output, aside=ledger.aside) as write:
        for shard in ledger.finished():
            table = _table(ledger.read(shard), job.model, shard.served_by, spelled)
            if shard.number == 0:
                table["classes"][0] = list(job.model.classes)
            tally.count(table)
            write(table)
    return tally


def _table(lines: list[Line], model: ModelInfo, served_by: str, spelled: Callable[[str | None], Row]) -> Table:
    table = dict(zip(LINE, map(list, zip(*lines, strict=True)), strict=True))
    certificates = list(map(spelled, table["label"]))
    same = {
        "classes": None,
        "served_by": served_by,
        "model": model.name,
        "version": model.version,
        "fingerprint": model.fingerprint,
        "precision": model.precision,
    }
    return {
        **table,
        **{name: [cell] * len(lines) for name, cell in same.items()},
        "scores": [array("f", bytes.fromhex(each)) if each else None for each in table["scores"]],
        "accepted": [
            confidence is not None and confidence >= certificate["threshold"]
            for confidence, certificate in zip(table["confidence"], certificates, strict=True)
        ],
        "certificate": certificates,
    }
