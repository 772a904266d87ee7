"""Which bundle a student's bundle names as its teacher."""

from pathlib import Path
from typing import Any

from pupil_export.errors import ExportError
from pupil_export.repository import bundles
from pupil_training.runs import Run


def teacher_of(run: Run, repository: Path, stated: str | None) -> dict[str, Any] | None:
    """Name, version and fingerprint of the teacher; None for a model without one.

    `stated` is NAME or NAME/VERSION in the repository. Without it, the bundle is looked for that was exported
    from the very weights the run was distilled from; the name alone stays where there is none.

    Raises ExportError where what is stated is not in the repository.
    """
    if stated is not None:
        return _stated(repository, stated)
    if not run.result["teachers"]:
        return None
    teacher = run.result["teachers"][0]  # of an ensemble the first
    if "fingerprint" in teacher:  # it was a bundle already, or a served one
        return {key: teacher[key] for key in ("name", "version", "fingerprint")}
    for facts in bundles(repository):
        if facts.get("checkpoint") == teacher["checkpoint"]:
            return _entry(facts)
    return {"name": teacher["name"], "version": None, "fingerprint": None}


def _stated(repository: Path, stated: str) -> dict[str, Any]:
    known = list(bundles(repository))
    for facts in known:  # the newest first
        if stated in (facts["model"], f"{facts['model']}/{facts['version']}"):
            return _entry(facts)
    names = ", ".join(f"{facts['model']}/{facts['version']}" for facts in known) or "none"
    raise ExportError(f"{repository}: holds no teacher '{stated}'; its bundles: {names}")


def _entry(facts: dict[str, Any]) -> dict[str, Any]:
    return {"name": facts["model"], "version": facts["version"], "fingerprint": facts["fingerprint"]}
