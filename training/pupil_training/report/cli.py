"""`pupil report`."""

from pathlib import Path

import click

from pupil_training.commands import brought_by, check_place, one_line_errors, wait_briefly


@click.command(
    short_help="Write one HTML page with the pictures of some models.",
    epilog="\b\nExample:\n  pupil report runs/teacher runs/student --output report.html --shifts",
)
@click.argument("paths", nargs=-1, required=True, metavar="RUN|BUNDLE…", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The HTML file.")
@click.option("--split", default="test", show_default=True, help="train, validation, calibration or test.")
@click.option("--data", "overrides", multiple=True, metavar="KEY=VALUE", help="Another setting of the data, as root=….")
@click.option("--shifts", is_flag=True, help="Also on the same images darker, turned, cropped, ….")
def report(paths: tuple[Path, ...], output: Path, split: str, overrides: tuple[str, ...], shifts: bool) -> None:
    """Write one HTML page with the curves, mistakes and costs of some models, and print its path.

    The page needs no network and no other file. Models are compared with the first one.
    """
    check_place(output)
    with one_line_errors():
        wait_briefly()
        with brought_by("report", "pupil report"):
            from pupil_training.report.page import page
        from pupil_training.files import written_whole
        from pupil_training.judge.load import load_candidate

        candidates = [load_candidate(path, overrides) for path in paths]
        html = page(candidates, split, shifts=shifts)
        with written_whole(output) as file:
            file.write(html.encode())
    click.echo(output)
