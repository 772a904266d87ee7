"""`pupil augment`: the sheet shows the pictures that training would see."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from pupil_training.augment import Views
from pupil_training.data.feed import Batch
from pupil_training.preprocess import Preprocess
from pupil_training.preview_cli import augment
from pupil_training.recipe import load_recipe

Invoke = Callable[..., Result]
POLICY = ["augment.rotate=20", "augment.brightness=0.5"]
STRONG = ["pool.strong.randaugment=2", "pool.strong.cutout=10"]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Invoke:
    """Runs the command on a recipe of nothing but defaults, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text("seed = 3")
    return lambda *words: CliRunner().invoke(augment, ["mine.toml", *map(str, words)])


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Two photographs that are neither square nor grey, in a folder."""
    folder = tmp_path / "images"
    folder.mkdir()
    paths = [folder / "first.png", folder / "second.jpg"]
    for seed, path in enumerate(paths):
        coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((70, 50), Image.Resampling.BILINEAR).save(path)
    return paths


def sheet(path: str = "preview.png") -> NDArray[np.uint8]:
    return np.asarray(Image.open(path))


def places(whole: NDArray[np.uint8], picture: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Where a grey picture (28, 28, 1) stands, four times as large: top and left of each place."""
    large = picture.repeat(4, 0).repeat(4, 1).repeat(3, 2)
    height, width = large.shape[:2]
    corners = np.argwhere((whole[: 1 - height, : 1 - width] == large[0, 0]).all(2))
    return [
        (t, left) for t, left in corners.tolist() if np.array_equal(whole[t : t + height, left : left + width], large)
    ]


def test_a_row_is_the_plain_picture_and_its_views_epoch_by_epoch_and_strong_ones_stand_below(
    invoke: Invoke, images: list[Path]
) -> None:
    told = invoke(*images, *POLICY, *STRONG, "--epochs", 3)
    assert (told.exit_code, told.stdout) == (0, "preview.png\n")
    recipe = load_recipe("mine.toml", [*POLICY, *STRONG])
    plain = np.stack([Preprocess.of(recipe.data).decode(path.read_bytes()) for path in images])
    rows: list[tuple[int, int]] = []
    for views in (Views(recipe.augment, 3), Views(recipe.pool.strong, 3, "strong")):
        seen = [
            views(Batch(1, 0, torch.from_numpy(plain), None, torch.arange(2), torch.full((2,), e))) for e in range(3)
        ]
        for row in range(2):
            pictures = [(view[row] * 255).round().byte().permute(1, 2, 0).numpy() for view in seen]
            found = [places(sheet(), picture) for picture in (plain[row], *pictures)]
            here = [next(place for place in several if place[0] > (rows[-1][0] if rows else 0)) for several in found]
            assert len({top for top, _ in here}) == 1
            assert [left for _, left in here] == sorted({left for _, left in here})
            rows.append(here[0])
    assert rows == sorted(set(rows))
    assert {left for _, left in rows} == {rows[0][1]}


def test_of_a_folder_the_first_images_are_shown(invoke: Invoke, images: list[Path]) -> None:
    heights = []
    for words in ([images[0]], [images[0].parent, "--first", 1], [images[0].parent], [*images, images[0].parent]):
        assert invoke(*words).exit_code == 0
        heights.append(sheet().shape[0])
    one, two, four = heights[1:]
    assert heights[0] == one
    assert four - two == 2 * (two - one)


def test_large_pictures_keep_their_size(invoke: Invoke, images: list[Path]) -> None:
    large = ["data.height=120", "data.width=100"]
    assert invoke(images[0], *large, "--epochs", 1, "--output", "mine.png").stdout == "mine.png\n"
    assert 200 < sheet("mine.png").shape[1] < 240


def test_images_that_are_called_like_settings_are_images(invoke: Invoke, images: list[Path]) -> None:
    assert invoke(images[0].rename("seed=7.png")).exit_code == 0
    assert invoke("seed=8").stderr == "Error: no image to show; name some, or a folder\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.png"], "nowhere.png: no such image or folder"),
        (["mine.toml"], "mine.toml: not a readable image"),
        (["images", "augment.rotat=2"], "did you mean 'augment.rotate'?"),
        (["images/first.png", "augment.mixup=0.2"], "give an even number of them, not 1"),
        (["images", "--output", "mine.jpg"], "mine.jpg: a preview is a PNG file"),
        (["images", "--output", "nowhere/mine.png"], "No such file or directory"),
    ],
)
def test_a_mistake_is_answered_in_one_line(invoke: Invoke, images: list[Path], words: list[str], message: str) -> None:
    told = invoke(*words)
    assert told.exit_code == 1
    assert told.stderr.startswith("Error: ")
    assert told.stderr.count("\n") == 1
    assert message in told.stderr
    assert not list(Path().glob("*.png"))


def test_help_ends_with_an_example() -> None:
    *_, head, example = CliRunner().invoke(augment, ["--help"]).stdout.splitlines()
    assert head.strip() == "Example:"
    assert example.strip().startswith("pupil augment ")
