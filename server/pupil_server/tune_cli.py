"""`pupil tune`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pupil_server.tune import Trial

COLUMNS = ("precision", "threads", "instances", "max batch", "images/s", "ms/batch")


@click.command(
    short_help="Measure which settings serve a bundle fastest here.",
    epilog="\b\nExample:\n  pupil tune repository/student/1 --seconds 30 --output tuned.toml",
)
@click.argument("bundle", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("tuned.toml"),
    show_default=True,
    help="The best settings, for pupil serve --config.",
)
@click.option("--seconds", type=click.FloatRange(0.1), default=60.0, show_default=True, help="For all trials together.")
@click.option("--max-batch", type=click.IntRange(1, 4096), default=64, show_default=True, help="The largest to try.")
@click.option("--precision", "precisions", multiple=True, help="Try only these; repeat for more.  [default: all]")
@click.option(
    "--most-milliseconds",
    type=click.FloatRange(0, min_open=True),
    default=float("inf"),
    help="That a batch may take.  [default: any]",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the trials and the best one as one JSON object.")
def tune(
    bundle: Path,
    output: Path,
    seconds: float,
    max_batch: int,
    precisions: tuple[str, ...],
    most_milliseconds: float,
    device: str,
    as_json: bool,
) -> None:
    """Measure which settings answer the images of BUNDLE (<repository>/<model>/<version>) fastest on this machine.

    Tries every precision of the bundle, the cores that are ours divided between instances in every way, and batches
    up to the largest. Another precision gives other scores, under its own certificates: the bundle's README.md
    compares them.
    """
    from pupil_server import tune as tuning
    from pupil_server.bundle import read_bundle
    from pupil_server.errors import BundleError
    from pupil_server.onnx_session import available
    from pupil_server.providers import best_device
    from pupil_server.resources import usable_cores

    try:
        read = read_bundle(bundle.resolve())
        for name in precisions:
            if name not in read.precisions:
                raise BundleError(f"{bundle}: has no {name}; it has {', '.join(read.precisions)}")
        where = best_device(available())[0] if device == "auto" else device
        largest = read.facts.largest_batch(max_batch)
        planned = tuning.settings(where, precisions or read.precisions, cores=usable_cores(), largest=largest)
        click.echo(_row(*COLUMNS), err=as_json)
        trials = []
        for trial in tuning.sweep(read, where, planned, seconds=seconds):
            trials.append(trial)
            rate, milliseconds = f"{trial.images_per_second:,.1f}", f"{trial.milliseconds:.3g}"
            click.echo(_row(*trial.setting, rate, milliseconds), err=as_json)
        chosen = tuning.best(trials, most_milliseconds=most_milliseconds)
        heading = f"pupil tune: {read.facts.model}/{read.facts.version}, {chosen.images_per_second:,.0f} images/s"
        tuning.write_settings(output, chosen.setting, device=where, heading=heading)
    except (BundleError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({"device": where, "best": _facts(chosen), "trials": [_facts(each) for each in trials]}))
    if len(trials) < len(planned):
        click.echo(f"the time was over after {len(trials)} of {len(planned)} trials; --seconds gives more", err=True)
    click.echo(f"wrote {output}; use it with pupil serve --config {output}", err=True)


def _row(*cells: object) -> str:
    return "  ".join(f"{cell!s:>9}" for cell in cells)


def _facts(trial: "Trial") -> dict[str, Any]:
    return {
        **trial.setting._asdict(),
        "images_per_second": trial.images_per_second,
        "milliseconds": trial.milliseconds,
    }
