"""A recipe's pool and validation images in the forms that `pupil label` and `pupil certify` read.

python -m pupil_training.data.hand_out digits_student data.root=demo/data --output given
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from pupil_training.commands import one_line_errors
from pupil_training.data.pictures import FilePicture, Picture, PixelPicture
from pupil_training.errors import DataError
from pupil_training.files import folder_written_whole
from pupil_training.recipe import Recipe


def hand_out(recipe: Recipe, output: Path) -> None:
    """The folder `output`, whole or not at all: `pool.txt` with paths or `pool.npy` with pixels, `validation.csv`.

    Without a pool in the data there is none in the folder either.
    Each image keeps the bytes that training knows it by. Raises DataError.
    """
    from pupil_training.data.splits import Splits

    splits = Splits(recipe.data)
    validation = splits.listing("validation")
    with folder_written_whole(output) as folder:
        if splits.has("pool"):
            _write_pool(folder, splits.listing("pool").pictures)
        names = [_as_file(folder, number, picture) for number, picture in enumerate(validation.pictures)]
        labels = [splits.classes[number] for number in validation.labels.tolist()]
        with (folder / "validation.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("path", "label"), *zip(names, labels, strict=True)])


def _write_pool(folder: Path, pool: Sequence[Picture]) -> None:
    if all(isinstance(picture, FilePicture) for picture in pool):
        paths = [str(Path(picture.name).absolute()) for picture in pool]
        (folder / "pool.txt").write_text("\n".join(paths) + "\n", encoding="utf-8", errors="surrogateescape")
        return
    pixels = [picture.pixels for picture in pool if isinstance(picture, PixelPicture)]
    if len(pixels) != len(pool) or len({each.shape for each in pixels}) > 1:
        raise DataError("the pool is neither files nor pixels of one size; name a --pool that pupil label reads")
    np.save(folder / "pool.npy", np.stack(pixels))


def _as_file(folder: Path, number: int, picture: Picture) -> str:
    """Where the image lies, as seen from the table: its own file, or one that is made of its pixels."""
    if isinstance(picture, FilePicture):
        return str(Path(picture.name).absolute())
    name = f"validation/{number:06}.png"
    (folder / "validation").mkdir(exist_ok=True)
    (folder / name).write_bytes(picture.encoded())
    return name


@click.command()
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]…")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="A new folder.")
def main(recipe: str, overrides: tuple[str, ...], output: Path) -> None:
    """Write RECIPE's pool and validation images so that a client can send them to a server."""
    with one_line_errors():
        from pupil_training.recipe import load_recipe

        hand_out(load_recipe(recipe, overrides), output)


if __name__ == "__main__":
    main()
