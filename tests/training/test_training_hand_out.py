"""A recipe's images, handed to a client that cannot read recipes: it must find what training will know again."""

import io
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pupil_client.labelling.samples import read_sample
from pupil_client.labelling.sources import open_source
from pupil_training.data.hand_out import hand_out
from pupil_training.data.splits import Splits
from pupil_training.errors import DataError
from pupil_training.recipe import parse_recipe


def recipe(**data: Any) -> Any:
    return parse_recipe({"name": "x", "steps": 1, "data": data}, "x")


@pytest.mark.parametrize("kind", ["files", "pixels"])
def test_the_client_sees_the_bytes_that_training_knows_each_image_by(
    digits: Path, tiny_mnist: Path, tmp_path: Path, kind: str
) -> None:
    asked = recipe(root=digits) if kind == "files" else recipe(source="mnist", root=tiny_mnist, pool=0.5)
    hand_out(asked, tmp_path / "given")
    splits = Splits(asked.data)
    pool = open_source(next((tmp_path / "given").glob("pool.*")))
    digests = [_sha256(picture.read().data) for picture in pool.pictures()]
    assert digests == list(splits.marked("pool").marks[0])
    validation = read_sample(tmp_path / "given/validation.csv")
    labels = splits.listing("validation").labels.tolist()
    assert [each.label for each in validation] == [splits.classes[number] for number in labels]
    pictures = [splits.listing("validation").pictures[0].encoded(), validation[0].picture.read().data]
    assert _pixels(pictures[0]) == _pixels(pictures[1])


def test_it_is_there_whole_or_not_at_all(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        hand_out(recipe(root=tmp_path / "nowhere"), tmp_path / "given")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/mine").touch()
    with pytest.raises(DataError, match="taken: exists already; remove it or choose another folder"):
        hand_out(recipe(root=digits), tmp_path / "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken"]


def _sha256(data: bytes) -> str:
    return sha256(data).hexdigest()


def _pixels(file: bytes) -> bytes:
    return Image.open(io.BytesIO(file)).tobytes()
