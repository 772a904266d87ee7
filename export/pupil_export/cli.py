"""`pupil export`."""

import json
from pathlib import Path
from typing import Any

import click

from pupil_export.gate import Gate
from pupil_training.commands import one_line_errors, wait_briefly


@click.command(
    short_help="Turn a finished run into a bundle that a server can load.",
    epilog="\b\nExample:\n  pupil export runs/teacher --repository repository --precision fp32,int8",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--repository", required=True, type=click.Path(path_type=Path), help="The folder of bundles.")
@click.option("--name", help="The model's name.  [default: that of the run's recipe]")
@click.option("--version", type=int, help="A whole number.  [default: the next one]")
@click.option("--teacher", metavar="NAME[/VERSION]", help="In the repository.  [default: what the run learned from]")
@click.option("--licence", default="", help="Of the model, for its card.")
@click.option("--precision", default="fp32", show_default=True, help="Of the weights: fp32,fp16,int8 or some of them.")
@click.option(
    "--most-lost",
    type=click.FloatRange(0, 1),
    default=Gate.most_lost,
    show_default=True,
    help="Accuracy that fp16 or int8 may lose on the validation split.",
)
@click.option(
    "--least-agreement",
    type=click.FloatRange(0, 1),
    default=Gate.least_agreement,
    show_default=True,
    help="Share of the validation split on which they must have fp32's best class.",
)
@click.option(
    "--data", multiple=True, metavar="KEY=VALUE", help="Another setting of the data, as root=… where it was moved."
)
@click.option("--json", "as_json", is_flag=True, help="Print the bundle's path and facts as one JSON object.")
def export(
    run: Path,
    repository: Path,
    name: str | None,
    version: int | None,
    teacher: str | None,
    licence: str,
    precision: str,
    most_lost: float,
    least_agreement: float,
    data: tuple[str, ...],
    as_json: bool,
) -> None:
    """Turn the finished run RUN into a bundle that a server can load, and print the bundle's path.

    The graph is compared with PyTorch on real images first, and each further precision with fp32. The bundle is
    written whole or not at all.
    """
    wait_briefly()
    from pupil_export.bundle import export as export_run

    click.echo(f"exporting {run} and comparing it with PyTorch", err=True)
    with one_line_errors():
        folder = export_run(
            run,
            repository,
            name=name,
            version=version,
            teacher=teacher,
            licence=licence,
            precisions=precision.split(","),
            gate=Gate(most_lost, least_agreement),
            data=data,
        )
    facts = json.loads((folder / "bundle.json").read_bytes())
    if as_json:
        shown = ("model", "version", "fingerprint", "teacher", "metrics", "certificates", "trained_on", "precisions")
        click.echo(json.dumps({"path": str(folder), **{key: facts[key] for key in shown}}, ensure_ascii=False))
    else:
        for of, said in {facts["precision"]: facts, **facts["precisions"]}.items():
            click.echo(f"{of}: {_sentence(said)}", err=True)
        for what in facts["trained_on"]["missing"]:
            click.echo(
                f"the bundle does not know {what}: pupil certify cannot tell whether a sample has some", err=True
            )
        click.echo(folder)


def _sentence(said: dict[str, Any]) -> str:
    """What the bundle says of one precision, in a line."""
    accuracies = [f"{split} {seen['right']}/{seen['of']}" for split, seen in said["metrics"].items()]
    promised = [f"{certificate['precision']:g}" for certificate in said["certificates"]]
    agreement = said.get("agreement")
    like_fp32 = f", like fp32 on {agreement['right']}/{agreement['of']}" if agreement else ""
    return (
        f"{', '.join(accuracies)}{like_fp32}; {said['bytes']:,} bytes, {said['milliseconds']['1']:.2g} ms an image; "
        f"certified precisions: {', '.join(promised) or 'none'}"
    )
