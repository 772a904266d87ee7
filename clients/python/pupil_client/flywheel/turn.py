"""A turn: label the pool through the server, train on it, export, run in shadow, and adopt what is no worse.

Each step's outcome is written into the story before the next begins, and each can be killed and done again: labelling
and training go on where they were, an export is there or not, and what is asked of the server may be asked twice.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pupil_client.client import Client
from pupil_client.errors import NotFound
from pupil_client.flywheel.agreement import agree_on_fresh
from pupil_client.flywheel.commands import hand_out, pupil
from pupil_client.flywheel.shadow import run_in_shadow
from pupil_client.flywheel.story import Story, opened_story
from pupil_client.labelling.certified import CertificateFile
from pupil_client.labelling.job import Job, run
from pupil_client.labelling.promise import Promise
from pupil_client.labelling.rows import read_rows
from pupil_client.labelling.samples import read_sample
from pupil_client.labelling.sources import open_sources
from pupil_client.labelling.telling import bar
from pupil_client.results import ModelInfo

Say = Callable[[str], None]
Facts = dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """What is asked for. The pool and the validation images are the recipe's own where none are named."""

    recipe: str
    overrides: tuple[str, ...]
    folder: Path
    repository: Path
    labeller: str  # who labels the pool
    student: str  # the model whose next version is to come
    alias: str
    promise: Promise
    certificate: Path | None
    allow_shift: bool
    pool: tuple[Path, ...]
    validation: Path | None
    fresh: tuple[Path, ...]  # beyond the pool, and unlabelled: what both are only watched on
    margin: float
    delta: float
    patience: float

    def plan(self) -> Facts:
        """What a turn that goes on must have in common with the one that began."""
        return {
            **{name: getattr(self, name) for name in ("recipe", "labeller", "student", "alias", "margin", "delta")},
            "overrides": list(self.overrides),
            "repository": str(self.repository),
            "pool": [str(path) for path in self.pool],
            "validation": self.validation and str(self.validation),
            "fresh": [str(path) for path in self.fresh] or None,  # as in stories from before there was such a thing
        }

    def asked(self) -> Facts:
        """Of the labels. Until they are there, something else may be asked: a withheld promise allowed, say."""
        certificate = self.certificate and str(self.certificate)
        return {"promise": asdict(self.promise), "certificate": certificate, "allow_shift": self.allow_shift}


def take_turn(client: Client, turn: Turn, say: Say) -> Facts:
    """How it was decided. Raises ValueError, PupilError or OSError; then the same turn goes on where it stopped."""
    with opened_story(turn.folder, turn.plan()) as story:
        old = story.step("old", lambda: _seen(_now(client, turn)))
        teacher = story.step("labeller", lambda: _seen(client.model(turn.labeller)))
        labels = story.step("labels", lambda: _label(client, turn, story, teacher))
        if labels["asked"] != turn.asked():
            raise ValueError(f"{turn.folder}: labelled as {labels['asked']}; ask for the same, or choose another --out")
        say(f"{labels['accepted']:,} of {labels['pool']:,} images of the pool labelled by {spelled(teacher)}")
        trained = story.step("student", lambda: _train(turn, story))
        say(f"the student is right on {trained['right']:,} of {trained['of']:,} validation images")
        version = story.step("version", lambda: _next_version(turn))
        new = story.step("new", lambda: _export(turn, story, version))
        shadow = story.step("shadow", lambda: _shadow(client, turn, story, old, new))
        say(f"in shadow {spelled(new)} was right on {shadow['new_right']:,}, {spelled(old)} on {shadow['old_right']:,}")
        if turn.fresh:
            found = story.step("agreement", lambda: _agree(client, turn, teacher, old, new))
            say(f"of {found['images']:,} fresh images {spelled(teacher)} agrees on {found['new']['agreed']:,} with "
                f"{spelled(new)}, on {found['old']['agreed']:,} with {spelled(old)}")  # fmt: skip
        return dict(story.step("decision", lambda: _decide(client, turn, old, new, shadow)))


def spelled(model: Facts) -> str:
    """`student/2:fp32`."""
    return f"{model['model']}/{model['version']}:{model['precision']}"


def _now(client: Client, turn: Turn) -> ModelInfo:
    """Who answers callers of the alias, or of the bare name where there is no such alias yet."""
    known = [info for info in client.models() if info.name == turn.student]
    aliased = any(turn.alias in info.aliases for info in known)
    return client.model(f"{turn.student}@{turn.alias}" if aliased else turn.student)


def _seen(info: ModelInfo) -> Facts:
    return {"model": info.name, "version": info.version, "precision": info.precision, "fingerprint": info.fingerprint}


def _given(turn: Turn, story: Story) -> Path:
    """The recipe's own images, as files that a client can send."""
    folder = turn.folder / "given"
    if not folder.exists():
        hand_out(story.lock, turn.recipe, *turn.overrides, "--output", folder)
    return folder


def _pool(turn: Turn, story: Story) -> tuple[Path, ...]:
    if turn.pool:
        return turn.pool
    given = _given(turn, story)
    found = tuple(file for file in (given / "pool.txt", given / "pool.npy") if file.exists())
    if not found:
        raise ValueError(f"{turn.recipe}: its data has no pool; name what is to be labelled with --pool")
    return found


def _label(client: Client, turn: Turn, story: Story, teacher: Facts) -> Facts:
    file = turn.folder / "labels.jsonl"
    if not file.exists():  # or else it is whole
        info = client.model(spelled(teacher))
        evidence = CertificateFile.read(turn.certificate) if turn.certificate else None
        if evidence:
            evidence.check(info)
        source, served_by = open_sources(_pool(turn, story)), client.address
        job = Job(source, file, info, turn.promise, served_by, turn.patience, evidence, turn.allow_shift)
        with bar(source.total) as progress:
            run(client, job, progress)
    rows = list(read_rows(file))
    accepted = Counter(row["label"] for row in rows if row["accepted"])
    if not accepted:
        raise ValueError(
            f"{file}: none of the labels of {spelled(teacher)} is accepted, there is nothing to learn from"
        )
    return {
        "asked": turn.asked(),
        "pool": len(rows),
        "accepted": accepted.total(),
        "accepted_of_each_class": dict(sorted(accepted.items())),
        "unreadable": sum(row["error"] is not None for row in rows),
        "certificate": rows[0]["certificate"],
    }


def _train(turn: Turn, story: Story) -> Facts:
    """How the run does on the validation split; the test split is for people."""
    student = turn.folder / "student"
    if not (student / "result.json").exists():
        labels = f"labels.file={turn.folder / 'labels.jsonl'}"
        pupil(story.lock, "train", turn.recipe, *turn.overrides, labels, "--out", student, "--resume")
    return dict(json.loads((student / "result.json").read_bytes())["metrics"]["validation_accuracy"])


def _next_version(turn: Turn) -> int:
    folder = turn.repository / turn.student
    if not folder.is_dir():
        raise ValueError(f"{folder}: is not there; --repository is the folder that the server serves")
    return 1 + max((int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()), default=0)


def _export(turn: Turn, story: Story, version: int) -> Facts:
    run_folder, bundle = turn.folder / "student", turn.repository / turn.student / str(version)
    if not bundle.exists():
        where = ("--repository", turn.repository, "--name", turn.student, "--version", version)
        pupil(story.lock, "export", run_folder, *where)
    facts = json.loads((bundle / "bundle.json").read_bytes())
    if facts.get("checkpoint") != hashlib.sha256((run_folder / "checkpoint.pt").read_bytes()).hexdigest():
        raise ValueError(f"{bundle}: somebody else exported it meanwhile; begin a turn with another --out")
    return {"model": turn.student, "version": version, "precision": facts["precision"],
            "fingerprint": facts["fingerprint"]}  # fmt: skip


def _loaded(client: Client, turn: Turn, wanted: Facts) -> ModelInfo:
    """A version of the story, there to be asked: neither the alias nor the name is moved."""
    loaded = client.load(f"{wanted['model']}/{wanted['version']}", aside=True)
    if loaded.fingerprint != wanted["fingerprint"]:
        raise ValueError(
            f"the server loaded {loaded.name}/{loaded.version} with fingerprint {loaded.fingerprint[:12]}, in the "
            f"story it has {wanted['fingerprint'][:12]}; does the server serve {turn.repository}?"
        )
    return loaded


def _shadow(client: Client, turn: Turn, story: Story, old: Facts, new: Facts) -> dict[str, int]:
    """Both versions on the same labelled images, in the precision that callers get."""
    before, after = (_loaded(client, turn, wanted).exactly for wanted in (old, new))
    labelled = read_sample(turn.validation or _given(turn, story) / "validation.csv")
    with bar(len(labelled), "shadow") as progress:
        return run_in_shadow(client, before, after, labelled, progress)


def _agree(client: Client, turn: Turn, teacher: Facts, old: Facts, new: Facts) -> Facts:
    """Both versions beside their teacher on images that it did not label for them."""
    students = {"old": _loaded(client, turn, old), "new": _loaded(client, turn, new)}
    fresh, learned = open_sources(turn.fresh), {row["sha256"] for row in read_rows(turn.folder / "labels.jsonl")}
    with bar(fresh.total, "fresh") as progress:
        info = client.model(spelled(teacher))
        found = agree_on_fresh(client, info, students, fresh, learned, patience=turn.patience, progress=progress)
    return found.told(turn.delta)


def _decide(client: Client, turn: Turn, old: Facts, new: Facts, shadow: Facts) -> Facts:
    """Moves the alias and the name, or takes the new version out again. Twice is once."""
    from pupil_client.flywheel.verdict import verdict

    found = verdict(shadow, margin=turn.margin, delta=turn.delta)
    exactly = f"{new['model']}/{new['version']}"
    if found["adopted"]:
        client.set_alias(turn.student, turn.alias, new["version"])
        client.load(exactly, keep_others=True)
        return found
    with suppress(NotFound):  # it was unloaded when this was begun before
        client.unload(exactly)
    bundle, refused = turn.repository / exactly, turn.folder / "refused"
    if bundle.exists():  # where it lay, a server that starts anew would make it the newest
        shutil.rmtree(refused, ignore_errors=True)  # half of it, from another disk
        shutil.move(bundle, refused)
    return found
