"""The receptive field of a net's last map, growing layer by layer over the grid of its input."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw

from pupil_training.errors import RecipeError
from pupil_training.models.classifier import InputSize
from pupil_training.models.describe import Layer
from pupil_training.models.receptive import Axis, Field

SIDE = 640  # of the drawn input and what lies around it, in pixels of the picture
LEGEND = 300  # its width
LINE = 16  # its lines' height
LINES, GRID = (20, 40, 90), (200, 200, 200)
Box = tuple[int, int, int, int]  # left, top, right, bottom; in pixels of the input, right and bottom excluded


def receptive_picture(layers: Sequence[Layer], size: InputSize) -> bytes:
    """A PNG file: the field of each layer that sees more than those before it, the first one darkest.

    The black frame is the input; what lies around it is padding. The fields are those of the last map's middle place
    and of places on the way to it. Raises RecipeError where no layer gives a map whose field is known.
    """
    growing = _growing(layers)
    if not growing:
        raise RecipeError("no layer of this net gives a map whose receptive field is known")
    boxes = _boxes([field for _, field in growing], growing[-1][0].output[1:])
    frame = (0, 0, size.width, size.height)
    left, top, right, bottom = _around([*boxes, frame])
    scale = max(1, SIDE // max(right - left, bottom - top))
    height = max((bottom - top) * scale, LINE * len(boxes)) + 1
    image = Image.new("RGB", ((right - left) * scale + LEGEND, height), "white")
    draw = ImageDraw.Draw(image)

    drawn = [_moved(box, left, top, scale) for box in boxes]
    shades = [_shade(n, len(boxes)) for n in range(len(boxes))]
    for box, shade in reversed([*zip(drawn, shades, strict=True)]):
        draw.rectangle(box, fill=shade)
    _grid(draw, _moved(frame, left, top, scale), scale)
    for box in drawn:
        draw.rectangle(box, outline=LINES)
    for n, ((layer, field), shade) in enumerate(zip(growing, shades, strict=True)):
        x, y = (right - left) * scale + LINE, n * LINE
        draw.rectangle((x, y + 3, x + 10, y + 13), fill=shade, outline=LINES)
        draw.text((x + LINE, y + 2), f"{field.height.size} x {field.width.size}  {layer.name} {layer.kind}", "black")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _growing(layers: Sequence[Layer]) -> list[tuple[Layer, Field]]:
    """The layers that see more than all before them."""
    found: list[tuple[Layer, Field]] = []
    for layer in layers:
        if layer.spatial and layer.field is not None:
            largest = max((field.height.size * field.width.size for _, field in found), default=1)
            if layer.field.height.size * layer.field.width.size > largest:
                found.append((layer, layer.field))
    return found


def _boxes(fields: Sequence[Field], last: tuple[int, ...]) -> list[Box]:
    """The field of the last map's middle place, and one inside the other those of the places before it."""
    rows, columns = (axis.at(places // 2) for axis, places in zip(fields[-1], last, strict=True))
    boxes = []
    for field in reversed(fields):
        rows, columns = _nearest(field.height, _middle(rows)), _nearest(field.width, _middle(columns))
        boxes.append((columns.start, rows.start, columns.stop, rows.stop))
    return boxes[::-1]


def _nearest(axis: Axis, middle: float) -> range:
    """The field of the place that is nearest to there."""
    return axis.at(round((middle - _middle(axis.at(0))) / axis.jump))


def _middle(pixels: range) -> float:
    return (pixels.start + pixels.stop) / 2


def _around(boxes: Sequence[Box]) -> Box:
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


def _moved(box: Box, left: int, top: int, scale: int) -> Box:
    """From pixels of the input to those of the picture."""
    corners = zip(box, (left, top, left, top), strict=True)
    first, second, third, fourth = ((at - origin) * scale for at, origin in corners)
    return first, second, third, fourth


def _grid(draw: ImageDraw.ImageDraw, frame: Box, scale: int) -> None:
    """The input's pixels where they are large enough to be told apart, and its edge."""
    left, top, right, bottom = frame
    if scale >= 4:
        for x in range(left, right, scale):
            draw.line((x, top, x, bottom), fill=GRID)
        for y in range(top, bottom, scale):
            draw.line((left, y, right, y), fill=GRID)
    draw.rectangle(frame, outline="black", width=2)


def _shade(number: int, of: int) -> tuple[int, int, int]:
    """Blue for the first layer, paler with every one that sees more."""
    pale = (number + 1) / (of + 1)
    red, green, blue = (round(full + (235 - full) * pale) for full in (30, 80, 190))
    return red, green, blue
