"""`pupil label`, and `pupil labels` for what it wrote."""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pupil_client.labelling.telling import bar, say, saying_how_to_go_on, terminable
from pupil_client.server_options import MODEL_HELP, Server, asks_a_server, connected, told

if TYPE_CHECKING:
    from pupil_client.client import Client
    from pupil_client.labelling.job import Hire

GUARANTEES = ("pac", "fdr", "fixed", "none")
FORMS = ("folders", "label-studio", "fiftyone", "csv", "jsonl", "parquet")
ONLY = {"folders": "accepted", "label-studio": "abstained"}  # what a form is mostly for
ONLY_ROWS = click.Choice(("all", "accepted", "abstained"))
SPLITS = ("train", "validation", "calibration", "test")
SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)
PATH = click.Path(exists=True, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    short_help="Label a pool of images under a promise.",
    epilog="\b\nExample:\n  pupil label photos/ --model teacher --precision 0.99 --output labels.parquet",
)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE…", type=PATH)
@click.option(
    "--output",
    required=True,
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="A .parquet, .jsonl or .csv file; - is JSON Lines on standard output.",
)
@click.option("--model", help=f"{MODEL_HELP}  [required without --local]")
@click.option("--local", type=PATH, help="A bundle (<repository>/<model>/<version>) to label with, without a server.")
@click.option("--guarantee", default="pac", show_default=True, type=click.Choice(GUARANTEES), help="Kind of promise.")
@click.option("--precision", default=0.99, show_default=True, type=SHARE, help="Share of the accepted that is right.")
@click.option("--delta", default=0.05, show_default=True, type=SHARE, help="Chance that a pac promise is broken.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Least confidence, for --guarantee fixed.")
@click.option("--certificate", type=FILE, help="What pupil certify wrote; its promise takes the place of these.")
@click.option("--allow-shift", is_flag=True, help="Accept although the images are unlike the calibration images.")
@click.option("--patience", default=300.0, show_default=True, help="Longest time that the server may be away, seconds.")
@click.option("--engine", default="threads", show_default=True, type=click.Choice(("threads", "ray")),
              help="What drives the job: threads of this process, or the nodes of a Ray cluster.")  # fmt: skip
@click.option("--address", default="local", show_default=True, envvar="RAY_ADDRESS", show_envvar=True,
              help="Of the Ray cluster, host:port; auto is the one of this machine, local a new one.")  # fmt: skip
@asks_a_server
def label(
    sources: tuple[Path, ...],
    output: Path,
    model: str | None,
    local: Path | None,
    guarantee: str,
    precision: float,
    delta: float,
    threshold: float | None,
    certificate: Path | None,
    allow_shift: bool,
    patience: float,
    engine: str,
    address: str,
    server: Server,
) -> None:
    """Label every image of SOURCE, each accepted or abstained from under one promise.

    A SOURCE is a folder, a list of paths (.txt), .parquet, .tar, .npy, .npz or an idx file; several are labelled as
    one pool. The file is written whole or not at all; an image that cannot be read becomes a row with its error.
    Stopped or killed, the same command goes on where it was: what is done lies in OUTPUT.job until then. A promise is
    withheld where the images are not like those that it was proven on: make a certificate for them with pupil certify.
    """
    if (model is None) == (local is None):
        raise click.UsageError("give either --model or --local")
    if certificate and _given("guarantee", "precision", "delta", "threshold"):
        raise click.UsageError("the promise stands in the certificate; give the one or the other")
    from pupil_client.labelling.certified import CertificateFile
    from pupil_client.labelling.job import Job, run
    from pupil_client.labelling.promise import Promise
    from pupil_client.labelling.sources import open_sources
    from pupil_client.labelling.writers import STDOUT, check_output

    with told():
        check_output(output)
    _refuse_to_begin_anew(output)
    with (
        terminable(),
        _crew(engine, address, local, server) as hire,
        answering(model, local, server) as (client, name, served_by),
    ):
        source, facts = open_sources(sources), client.model(name)
        promise = Promise("none") if certificate else Promise(guarantee, precision, delta, threshold)
        evidence = CertificateFile.read(certificate) if certificate else None
        if evidence:
            evidence.check(facts)
        job = Job(source, output, facts, promise, served_by, patience, evidence, allow_shift)
        with saying_how_to_go_on(output), bar(source.total) as progress:
            tally = run(client, job, progress, hire)
    click.echo(tally.sentence(), err=True)
    if tally.abstained and output != STDOUT:
        click.echo(_to_the_abstentions(output, sources), err=True)


def _to_the_abstentions(output: Path, sources: tuple[Path, ...]) -> str:
    """The command that people look at them with; what lies in tars and the like they see once it is in files."""
    from pupil_client.labelling.rows import read_rows

    image = next(row["image"] for row in read_rows(output) if not row["error"])
    if Path(image).is_file():
        return f"the abstentions as a review queue: pupil labels export {output} --to label-studio --output review.json"
    named = shlex.join(map(str, (output, *sources)))
    return f"the abstentions as files to look at: pupil labels extract {named} --output review"


def _refuse_to_begin_anew(output: Path) -> None:
    from pupil_client.labelling.ledger import work_folder

    if output.exists() and not work_folder(output).is_dir():
        raise click.ClickException(f"{output} is there already; remove it to label anew, or name another file")


def _given(*options: str) -> bool:
    source = click.get_current_context().get_parameter_source
    return any(source(option) is not click.core.ParameterSource.DEFAULT for option in options)


@contextmanager
def answering(model: str | None, local: Path | None, server: Server) -> "Iterator[tuple[Client, str, str]]":
    """Who answers: the client, the model's name, and what the rows call the server."""
    if local is None:
        with connected(server) as client:
            yield client, str(model), server.address
        return
    from pupil_client.labelling.local import serving

    with told(), serving(local) as served, connected(Server(served.address, server.timeout)) as client:
        yield client, served.model, str(local)


@contextmanager
def _crew(engine: str, address: str, local: Path | None, server: Server) -> "Iterator[Hire]":
    """Who labels: threads, or the nodes of a cluster, who say on standard error when they come and go."""
    if engine == "threads":
        from pupil_client.labelling.job import threads

        yield partial(threads, say=say)
        return
    # Read once, as Ray is imported: or else it prints on standard output, over many lines, why a node or a worker died.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    try:
        from pupil_client.labelling.cluster import Terms, connected
    except ModuleNotFoundError as error:
        raise click.ClickException(f"--engine ray needs {error.name}: pip install 'pupil[ray]'") from None
    from pupil_client.labelling.cluster_crew import ClusterCrew
    from pupil_client.labelling.node import own_server

    reach = partial(own_server, local.absolute(), server.timeout) if local else server.client
    with told(), connected(address):
        yield partial(ClusterCrew, Terms(reach, local is not None, say))


@click.group(
    short_help="Export labels files to other tools, import corrections.",
    epilog="\b\nExample:\n  pupil labels export labels.parquet --to folders --output accepted/",
)
def labels() -> None:
    """What `pupil label` wrote: export it to other tools, import what people corrected there."""


@labels.command(epilog="\b\nExample:\n  pupil labels export labels.parquet --to label-studio --output review.json")
@click.argument("file", type=FILE)
@click.option("--to", "form", required=True, type=click.Choice(FORMS), help="The form.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="A new folder, or a file.")
@click.option("--only", type=ONLY_ROWS,
              help="Which rows.  [default: accepted into folders, abstained to Label Studio, else all]")  # fmt: skip
@click.option("--copy", is_flag=True, help="Into folders: copies instead of hard links.")
@click.option("--prefix", default="", help="To Label Studio: what it puts before a path, /data/local-files/?d= say.")
def export(file: Path, form: str, output: Path, only: str | None, copy: bool, prefix: str) -> None:
    """Write the rows of FILE in another form.

    Abstentions are a review queue: where both models were asked (columns agree and kl) first those on which they
    differ, then the images whose best two classes are closest.
    """
    from pupil_client.labelling import exports
    from pupil_client.labelling.review import choose
    from pupil_client.labelling.rows import read_rows

    only = only or ONLY.get(form, "all")
    with told():
        rows = choose(read_rows(file), only)
        if form == "folders":
            done = exports.to_folders(rows, output, copy=copy)
        elif form == "label-studio":
            done = exports.to_label_studio(rows, output, prefix=prefix)
        elif form == "fiftyone":
            done = exports.to_fiftyone(rows, output)
        else:
            done = exports.to_table(rows, output, form)
    none = f": none is {only}, --only all takes every one" if only != "all" and not (done.rows or done.left_out) else ""
    click.echo(f"{done.sentence()}{none}", err=True)


@labels.command(
    short_help="Write images in tars, tables and arrays into files.",
    epilog="\b\nExample:\n  pupil labels extract labels.parquet shards/ --output review/",
)
@click.argument("file", type=FILE)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE…", type=PATH)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="A new folder.")
@click.option("--only", default="abstained", show_default=True, type=ONLY_ROWS, help="Which rows.")
def extract(file: Path, sources: tuple[Path, ...], output: Path, only: str) -> None:
    """Write images that lie in tars, tables or arrays into files of their own, for people and other tools to see.

    FILE is what `pupil label` made of SOURCE; OUTPUT/labels.jsonl has the chosen rows, and can be exported.
    """
    from pupil_client.labelling.extract import extract as write
    from pupil_client.labelling.review import choose
    from pupil_client.labelling.rows import read_rows
    from pupil_client.labelling.sources import open_sources

    with told():
        done = write(lambda: choose(read_rows(file), only), open_sources(sources), output)
    click.echo(done.sentence(), err=True)


@labels.command(
    short_help="Draw images of a pool at random, for people to label.",
    epilog="\b\nExample:\n  pupil labels sample shards/ --images 500 --output sample/",
)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE…", type=PATH)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="A new folder.")
@click.option("--images", default=500, show_default=True, type=click.IntRange(min=1), help="How many.")
@click.option("--seed", default=0, show_default=True, help="Another one draws others.")
@click.option("--prefix", default="", help="What Label Studio puts before a path, /data/local-files/?d= say.")
def sample(sources: tuple[Path, ...], output: Path, images: int, seed: int, prefix: str) -> None:
    """Draw images of SOURCE at random into files of their own, for people to label and pupil certify to count.

    In OUTPUT lie the images, sample.csv whose column label is to be filled in, and tasks.json for Label Studio.
    """
    from pupil_client.labelling.drawing import TABLE, draw
    from pupil_client.labelling.sources import open_sources

    with told():
        done = draw(open_sources(sources), images, output, seed=seed, prefix=prefix)
    click.echo(done.sentence(), err=True)
    how = f"pupil certify --labels {output / TABLE} --model MODEL --pool {shlex.join(map(str, sources))} …"
    click.echo(f"once the column label of {output / TABLE} is filled in: {how}", err=True)


@labels.command(
    "import",
    short_help="Make a table of a Label Studio project, to train with.",
    epilog="\b\nExample:\n  pupil labels import reviewed.json --output corrected.csv",
)
@click.argument("file", type=FILE)
@click.option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="A .csv or .parquet.")
@click.option("--split", default="train", show_default=True, type=click.Choice(SPLITS), help="What the images are for.")
def import_(file: Path, output: Path, split: str) -> None:
    """Turn FILE, a Label Studio project exported as JSON, into a table for `data.source=table`.

    What people looked at because a model was in doubt is no fair sample of a pool: train with it, and calibrate
    only with images that were drawn at random.
    """
    from pupil_client.labelling.corrections import import_label_studio

    with told():
        done = import_label_studio(file, output, split=split)
    click.echo(done.sentence(), err=True)
