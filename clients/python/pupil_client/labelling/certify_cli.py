"""`pupil certify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pupil_client.labelling.cli import FILE, PATH, SHARE, answering
from pupil_client.labelling.telling import bar, terminable
from pupil_client.server_options import MODEL_HELP, Server, asks_a_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pupil_client.labelling.certified import CertificateFile

GUARANTEES = ("pac", "per-class", "fdr")


@click.command(
    short_help="Make a certificate from a sample that people labelled.",
    epilog="\b\nExample:\n  pupil certify --labels sample.csv --model teacher --output certificate.json",
)
@click.option(
    "--labels", required=True, type=FILE, help="Of a random sample: .csv, .jsonl or .parquet, path and label."
)
@click.option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="A .json file.")
@click.option("--model", help=f"{MODEL_HELP}  [required without --local]")
@click.option("--local", type=PATH, help="A bundle (<repository>/<model>/<version>) to ask, without a server.")
@click.option("--guarantee", default="pac", show_default=True, type=click.Choice(GUARANTEES), help="Kind of promise.")
@click.option("--precision", default=0.99, show_default=True, type=SHARE, help="Share of the accepted that is right.")
@click.option("--delta", default=0.05, show_default=True, type=SHARE, help="Chance that it is broken, but for fdr.")
@click.option("--pool", multiple=True, type=PATH, help="Where the sample is from: the thresholds to test come from it.")
@click.option("--run", type=PATH, help="Of the model, where its bundle says too little of its images.")
@click.option("--others", is_flag=True, help="Some images are of no class that the model knows: it is wrong there.")
@click.option("--patience", default=300.0, show_default=True, help="Longest time that the server may be away, seconds.")
@asks_a_server
def certify(
    labels: Path,
    output: Path,
    model: str | None,
    local: Path | None,
    guarantee: str,
    precision: float,
    delta: float,
    pool: tuple[Path, ...],
    run: Path | None,
    others: bool,
    patience: float,
    server: Server,
) -> None:
    """Make a certificate from labels that a person gave to a random sample of a pool.

    It holds for labels of that pool by this model in this precision, and goes into `pupil label --certificate`. Where
    it cannot be made, the command says what it would take. An image that is there twice counts once; a sample with an
    image that the model was trained on is refused.
    """
    if (model is None) == (local is None):
        raise click.UsageError("give either --model or --local")
    from pupil_client.labelling.certify import Question
    from pupil_client.labelling.certify import certify as make
    from pupil_client.labelling.learned import learned_from
    from pupil_client.labelling.samples import read_sample
    from pupil_client.labelling.shift import require_scipy
    from pupil_client.labelling.sources import open_sources

    with terminable(), answering(model, local, server) as (client, name, _):
        require_scipy()
        sample, source = read_sample(labels), open_sources(pool) if pool else None
        question = Question(guarantee, precision, delta, source, learned_from(run) if run else None, others)
        with bar(None) as progress:
            found, missing = make(client, client.model(name), sample, question, patience=patience, progress=progress)
        found.write(output)
    _tell(found, missing)
    by = f"--model {model}" if model else f"--local {local}"
    how = f"pupil label SOURCE {by} --certificate {output} --output labels.parquet"
    click.echo(f"to label the pool with it: {how}", err=True)


def _tell(found: "CertificateFile", missing: dict[str, str]) -> None:
    for name, reason in missing.items():
        click.echo(f"no label {name!r} will be accepted: {reason}", err=True)
    for line in _of_training(found.facts["trained_on"]):
        click.echo(line, err=True)
    click.echo(found.sentence(), err=True)


def _of_training(trained_on: dict[str, Any] | None) -> "Iterator[str]":
    """What there is to say beside the certificate."""
    if trained_on is None:
        yield (
            "whether the model was trained on these images could not be checked, because its bundle or the server says "
            "nothing of it: export the run again, or give --run RUN"
        )
        return
    for what in trained_on["missing"]:
        yield f"the model also learned from {what}; whether these images are among them could not be checked"
    if trained_on["unlabelled"]:
        yield (
            f"{trained_on['unlabelled']:,} of these images it learned from without a person's label: the certificate "
            "holds for the pool that they are from, and for no other"
        )
