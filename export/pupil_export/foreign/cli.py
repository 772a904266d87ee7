"""`pupil import`."""

import json
import re
from collections import Counter
from pathlib import Path

import click

from pupil_training.commands import one_line_errors


def _numbers(context: click.Context, parameter: click.Parameter, value: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in value.split(","))
    except ValueError:
        wanted = "numbers with commas between are wanted, such as 0.5 or 0.485,0.456,0.406"
        raise click.BadParameter(f"{value!r}: {wanted}") from None


def _size(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    if not (found := re.fullmatch("([1-9][0-9]*)[x×]([1-9][0-9]*)", value)):
        raise click.BadParameter(f"{value!r}: height and width are wanted, such as 224x224")
    return int(found[1]), int(found[2])


@click.command(
    "import",
    short_help="Make a bundle of an ONNX classifier from elsewhere.",
    epilog="\b\nExample:\n"
    "  pupil import net.onnx --repository repository --name net --classes classes.txt --mean 0.5 --std 0.5",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--repository", required=True, type=click.Path(path_type=Path), help="The folder of bundles.")
@click.option("--name", required=True, help="The model's name.")
@click.option("--version", type=int, help="A whole number.  [default: the next one]")
@click.option("--classes", required=True, help="A file with one a line, or a,b,c, in the order of the outputs.")
@click.option("--mean", required=True, callback=_numbers, help="Of pixels from 0 to 1: one number, or one a channel.")
@click.option("--std", required=True, callback=_numbers, help="Likewise.")
@click.option("--size", callback=_size, metavar="HxW", help="Where the graph takes any.  [default: the graph's]")
@click.option("--resize", type=click.IntRange(1), help="Of the shorter side, before the crop.  [default: the input's]")
@click.option("--interpolation", type=click.Choice(["bilinear", "bicubic"]), default="bilinear", show_default=True)
@click.option("--layout", type=click.Choice(["nchw", "nhwc"]), help="[default: by which side is 1 or 3]")
@click.option("--output", help="Which output is the scores or logits.  [default: the only one]")
@click.option(
    "--softmax",
    type=click.Choice(["inside", "outside"]),
    help="Whether the outputs are probabilities.  [default: inside where they sum to 1]",
)
@click.option("--images", type=click.Path(path_type=Path), help="A folder to take goldens from.  [default: patterns]")
@click.option("--licence", default="", help="Of the model, for its card.")
@click.option("--json", "as_json", is_flag=True, help="Print the bundle's path and facts as one JSON object.")
def import_command(
    model: Path,
    repository: Path,
    name: str,
    version: int | None,
    classes: str,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    size: tuple[int, int] | None,
    resize: int | None,
    interpolation: str,
    layout: str | None,
    output: str | None,
    softmax: str | None,
    images: Path | None,
    licence: str,
    as_json: bool,
) -> None:
    """Make a bundle of the ONNX classifier in the file MODEL, and print the bundle's path.

    Any graph with one float image input and a number for each class will do, its batch free or fixed at 1. The
    bundle's graph is compared with the file's own first.
    """
    from pupil_export.foreign.bundle import Feeding, import_model

    feeding = Feeding(
        mean=mean,
        std=std,
        layout=layout,
        size=size,
        resize=resize,
        interpolation=interpolation,
        output=output,
        softmax=softmax,
    )
    with one_line_errors():
        folder = import_model(
            model,
            repository,
            name=name,
            classes=_classes(classes),
            feeding=feeding,
            version=version,
            images=images,
            licence=licence,
        )
    facts = json.loads((folder / "bundle.json").read_bytes())
    if as_json:
        shown = ("model", "version", "fingerprint", "input", "resize", "max_batch", "graph")
        click.echo(json.dumps({"path": str(folder), **{key: facts[key] for key in shown}}, ensure_ascii=False))
        return
    side, graph = facts["input"], facts["graph"]
    batch = "one image at a time" if facts["max_batch"] == 1 else "any number of images at a time"
    click.echo(
        f"{side['height']}×{side['width']}×{side['channels']} {graph['layout']}, {batch}, "
        f"{len(facts['classes'])} classes, softmax {graph['softmax']}",
        err=True,
    )
    click.echo(folder)


def _classes(said: str) -> list[str]:
    """The lines of a file of this name, or else what stands between commas."""
    file = Path(said)
    try:
        names = file.read_text(encoding="utf-8").splitlines() if file.is_file() else said.split(",")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file}: {error}") from None
    names = [name.strip() for name in names]
    while names and not names[-1]:
        names.pop()
    if len(names) < 2 or "" in names:
        lacks = "" if "," in said or file.is_file() else "no such file; "
        wanted = "a file with one class a line is wanted, or a,b,c, two at least"
        raise click.ClickException(f"--classes {said}: {lacks}{wanted}")
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise click.ClickException(f"--classes {said}: '{twice[0]}' stands there twice; give each class its own name")
    return names
