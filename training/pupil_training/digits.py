"""scikit-learn's 1,797 handwritten digits as the class folders of docs/files.md: real scans, no download.

python -m pupil_training.digits demo/digits
"""

import csv
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from pupil_training.commands import one_line_errors
from pupil_training.data.pictures import png
from pupil_training.files import folder_written_whole

COUNTS = {"train": 150, "validation": 150, "calibration": 450, "test": 400}  # the rest, 647, is the pool


def write_digits(folder: Path, seed: int = 0) -> None:
    """Writes the splits of `COUNTS`, `pool/` without labels, and `pool_labels.csv` for judging only.

    Grey PNG files of 8×8 pixels; the scans' values 0 to 16 are spread over 0 to 255 so that they can be told
    back. Whole or not at all. Raises DataError where the folder exists.
    """
    scans, labels = load_digits(return_X_y=True)
    images = np.rint(scans.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    with folder_written_whole(folder) as partial:
        _write(partial, images, labels, seed)


def _write(folder: Path, images: NDArray[np.uint8], labels: NDArray[np.int64], seed: int) -> None:
    rest = np.arange(len(labels))
    for split, count in COUNTS.items():
        chosen, rest = train_test_split(rest, train_size=count, stratify=labels[rest], random_state=seed)
        for i in chosen:
            _write_png(folder / split / str(labels[i]), i, images[i])
    with (folder / "pool_labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image", "label"])
        for i in np.sort(rest):
            table.writerow([_write_png(folder / "pool", i, images[i]).relative_to(folder).as_posix(), labels[i]])


def _write_png(folder: Path, number: int, pixels: NDArray[np.uint8]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:04}.png"
    path.write_bytes(png(pixels))
    return path


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Which images go to which split.")
def main(folder: Path, seed: int) -> None:
    """Write scikit-learn's handwritten digits to FOLDER, split into train, validation, calibration, test and pool.

    Example: python -m pupil_training.digits demo/digits
    """
    with one_line_errors():
        write_digits(folder, seed)
    click.echo(f"{folder}: {', '.join(f'{count} {split}' for split, count in COUNTS.items())}, 647 pool", err=True)


if __name__ == "__main__":
    main()
