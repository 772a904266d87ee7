"""`pupil models describe`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pupil_training.commands import one_line_errors

if TYPE_CHECKING:
    from pupil_training.models.describe import Description, Layer
    from pupil_training.models.receptive import Field
    from pupil_training.recipe import Recipe

HEADS = ("layer", "kind", "output", "sees", "jump", "parameters", "multiply-adds")


@click.command(
    short_help="Show a net layer by layer, with what it costs.",
    epilog="\b\nExample:\n  pupil models describe lenet5 --size 28x28x1 --classes 10 --picture lenet5.png",
)
@click.argument("name")
@click.option("--size", default="224x224x3", show_default=True, help="Height, width and channels of a picture.")
@click.option("--classes", default=1000, show_default=True, type=click.IntRange(min=1))
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Of the model, as in a recipe; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw the receptive field, as PNG.")
def describe(
    name: str, size: str, classes: int, settings: tuple[str, ...], as_json: bool, picture: Path | None
) -> None:
    """The net NAME layer by layer: its output, which pixels one place of it sees, and what it costs.

    `jump` is how many pixels lie between what two neighbouring places see.
    """
    with one_line_errors():
        from pupil_training.files import written_whole
        from pupil_training.models import InputSize, build_net
        from pupil_training.models.describe import describe as look_at

        recipe = _recipe(name, size, settings)
        data = recipe.data
        pixels = InputSize(data.height, data.width, data.channels)
        found = look_at(build_net(recipe.model, pixels, classes), pixels)
        if picture is not None:
            from pupil_training.models.receptive_picture import receptive_picture

            drawn = receptive_picture(found.layers, pixels)
            with written_whole(picture) as file:
                file.write(drawn)
    about = {"name": name, "input": pixels._asdict(), "classes": classes}
    click.echo(json.dumps(about | _facts(found), ensure_ascii=False) if as_json else _table(found))


def _recipe(name: str, size: str, settings: Sequence[str]) -> "Recipe":
    """The settings as a recipe holds them, so that they are checked and explained in the same way."""
    from pupil_training.errors import RecipeError
    from pupil_training.recipe import override, parse_recipe

    sides = size.lower().replace("×", "x").split("x")
    if len(sides) != 3 or not all(side.isdecimal() for side in sides):
        raise RecipeError(f"--size {size}: height, width and channels are wanted, for example 28x28x1")
    data = dict(zip(("height", "width", "channels"), map(int, sides), strict=True))
    values = {"data": data, "model": {"name": name}}
    for setting in settings:
        override(values, f"model.{setting}")
    return parse_recipe(values, f"models describe {name}")


def _facts(found: "Description") -> dict[str, Any]:
    """For a machine; a layer's field has size, jump and start along height and width."""
    layers = []
    for layer in found.layers:
        field = layer.field and {way: axis._asdict() for way, axis in layer.field._asdict().items()}
        layers.append(layer._asdict() | {"field": field})
    return found._asdict() | {"layers": layers}


def _table(found: "Description") -> str:
    """Names to the left, numbers to the right."""
    rows = [
        (each.name, each.kind, "×".join(map(str, each.output)), *_seen(each), _count(each.parameters),
         _count(each.multiply_adds))
        for each in found.layers
    ]  # fmt: skip
    rows = [HEADS, *rows, ("total", "", "", "", "", _count(found.parameters), _count(found.multiply_adds))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]), *cells[2:]]).rstrip())
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _seen(layer: "Layer") -> tuple[str, str]:
    """Field and jump of a layer, once where height and width agree."""
    field = layer.field
    if field is None:
        return "?", "?"
    size = f"{field.height.size}×{field.width.size}"
    return size, _jump(field) if layer.spatial else ""


def _jump(field: "Field") -> str:
    down, right = field.height.jump, field.width.jump
    return str(down) if down == right else f"{down}×{right}"


def _count(number: int) -> str:
    return f"{number:,}" if number else ""
