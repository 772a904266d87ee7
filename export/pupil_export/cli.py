"""`pupil export`."""

import json
import os
from pathlib import Path

import click


@click.command(epilog="\b\nExample:\n  pupil export runs/teacher --repository repository")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--repository", required=True, type=click.Path(path_type=Path), help="The folder of bundles.")
@click.option("--name", help="The model's name.  [default: that of the run's recipe]")
@click.option("--version", type=int, help="A whole number.  [default: the next one]")
@click.option("--teacher", metavar="NAME[/VERSION]", help="In the repository.  [default: what the run learned from]")
@click.option("--licence", default="", help="Of the model, for its card.")
@click.option("--json", "as_json", is_flag=True, help="Print the bundle's path and facts as one JSON object.")
def export(
    run: Path,
    repository: Path,
    name: str | None,
    version: int | None,
    teacher: str | None,
    licence: str,
    as_json: bool,
) -> None:
    """Turn the finished run RUN into a bundle that a server can load, and print the bundle's path.

    The graph is compared with PyTorch on real images first. The bundle is written whole or not at all.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # torch's threads spin long beside other work; read at its import
    from pupil_export.bundle import export as export_run
    from pupil_export.errors import ExportError
    from pupil_training.errors import TrainingError

    click.echo(f"exporting {run} and comparing it with PyTorch", err=True)
    try:
        folder = export_run(run, repository, name=name, version=version, teacher=teacher, licence=licence)
    except (ExportError, TrainingError) as error:
        raise click.ClickException(str(error)) from None
    facts = json.loads((folder / "bundle.json").read_bytes())
    if as_json:
        shown = ("model", "version", "fingerprint", "teacher", "metrics", "certificates")
        click.echo(json.dumps({"path": str(folder), **{key: facts[key] for key in shown}}, ensure_ascii=False))
    else:
        accuracies = [f"{split} {seen['right']}/{seen['of']}" for split, seen in facts["metrics"].items()]
        promised = [f"{certificate['precision']:g}" for certificate in facts["certificates"]]
        click.echo(f"{', '.join(accuracies)}; certified precisions: {', '.join(promised) or 'none'}", err=True)
        click.echo(folder)
