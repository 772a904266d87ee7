"""splits.json: what went where, used again, and no image on both sides."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pupil_client.labelling.sources import open_source
from pupil_training import read_splits
from pupil_training.data.splits import Splits, load_split
from pupil_training.data.training import gather
from pupil_training.errors import DataError, RunError
from pupil_training.loop import train
from pupil_training.recipe import Recipe
from pupil_training.settings import DataSettings

MakeRecipe = Callable[..., Recipe]
FOUR = ("train", "validation", "calibration", "test")


@pytest.fixture
def own_folder(bars_folder: Path, tmp_path: Path) -> Path:
    """A copy of the bars that a test may spoil."""
    return Path(shutil.copytree(bars_folder, tmp_path / "bars"))


def settings(root: Path, **values: object) -> DataSettings:
    return DataSettings.model_validate({"root": root, "validation": 0.2, "calibration": 0.2, **values})


def test_a_run_writes_down_which_image_went_where(recipe: MakeRecipe, bars_folder: Path, tmp_path: Path) -> None:
    run = train(recipe(data={"split_seed": 7}), tmp_path / "run")
    written = read_splits(run.folder / "splits.json")
    assert (written.split_seed, written.classes) == (7, ("cross", "level", "upright"))
    assert DataSettings.model_validate(written.settings) == run.recipe.data
    assert set(written.splits) == set(FOUR)
    for split, part in written.splits.items():
        images = run.load_split(split)
        assert part.sha256 == images.digests
        digests = [hashlib.sha256((bars_folder / name).read_bytes()).hexdigest() for name in part.images]
        assert part.sha256 == tuple(digests)


def test_the_pool_is_written_down_where_it_taught_or_was_cut(
    recipe: MakeRecipe, bars_folder: Path, own_folder: Path, tmp_path: Path
) -> None:
    shutil.rmtree(own_folder / "pool")
    cut = gather(recipe(data={"root": own_folder, "pool": 0.2})).written
    assert len(cut.splits["pool"].images) == 12
    assert not set(cut.splits["pool"].sha256) & set(cut.splits["train"].sha256)
    taught = gather(recipe(pool={"method": "pseudo_label"})).written
    assert taught.splits["pool"].images == tuple(f"pool/{i:02}.png" for i in range(12))


def test_images_of_a_set_without_files_are_written_down_by_split_and_place(
    recipe: MakeRecipe, tiny_mnist: Path
) -> None:
    written = gather(recipe(data={"source": "mnist", "root": tiny_mnist})).written
    images = load_split(settings(tiny_mnist, source="mnist"), "train")
    assert written.splits["train"].sha256 == images.digests
    assert written.splits["test"].images[:2] == ("test/0", "test/1")


def test_the_splits_of_a_run_are_used_again_whatever_seed_and_shares_say(
    recipe: MakeRecipe, own_folder: Path, tmp_path: Path
) -> None:
    first = train(recipe(data={"root": own_folder, "split_seed": 7}), tmp_path / "first")
    moved = own_folder.rename(tmp_path / "moved")
    (moved / "train" / "level" / "3.png").rename(moved / "train" / "level" / "renamed.png")
    shutil.copy(moved / "pool" / "00.png", moved / "train" / "cross" / "new.png")
    data = {"root": moved, "splits": first.folder / "splits.json", "validation": 0.4, "calibration": 0}
    again = train(recipe(data=data), tmp_path / "again")
    assert again.result["data"] == first.result["data"]
    before, after = (read_splits(run.folder / "splits.json").splits for run in (first, again))
    assert {split: part.sha256 for split, part in before.items()} == {
        split: part.sha256 for split, part in after.items()
    }
    assert not again.splits().cuts("calibration")


def test_a_split_that_is_not_written_is_the_sources_own_or_refused(
    recipe: MakeRecipe, bars_folder: Path, tmp_path: Path
) -> None:
    run = train(recipe(data={"calibration": 0, "overlap": "allow"}), tmp_path)
    assert set(read_splits(tmp_path / "splits.json").splits) == {"train", "validation"}
    data = settings(bars_folder, splits=run.folder / "splits.json")
    assert len(load_split(data, "test")) == 30
    assert not Splits(data).has("calibration")
    with pytest.raises(DataError, match=r"splits\.json: holds no calibration split, only train, validation, and"):
        load_split(data, "calibration")


def test_fewer_classes_of_written_splits_may_be_used(recipe: MakeRecipe, bars_folder: Path, tmp_path: Path) -> None:
    train(recipe(), tmp_path)
    two = settings(bars_folder, splits=tmp_path / "splits.json", only=("upright", "level"))
    images, whole = load_split(two, "train"), load_split(settings(bars_folder), "train")
    assert images.classes == ("upright", "level")
    assert images.labels is not None
    assert whole.labels is not None
    kept = whole.labels > 0
    assert torch.equal(images.images, whole.images[kept])
    assert torch.equal(images.labels, 2 - whole.labels[kept])


def test_missing_images_of_written_splits_are_named_and_counted(
    recipe: MakeRecipe, own_folder: Path, tmp_path: Path
) -> None:
    train(recipe(data={"root": own_folder}), tmp_path / "run")
    written = read_splits(tmp_path / "run" / "splits.json").splits["train"].images
    gone = written[:4]
    (own_folder / gone[0]).write_bytes((own_folder / "pool" / "00.png").read_bytes())
    for name in gone[1:]:
        (own_folder / name).unlink()
    names = ", ".join(gone[:3])
    with pytest.raises(DataError, match=f"train: 4 of its 36 images are missing or changed: {names}, …"):
        load_split(settings(own_folder, splits=tmp_path / "run" / "splits.json"), "train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file of splits"),
        ("{", r"not a splits\.json of format 1 \(JSON"),
        ('{"format": 2}', r"not a splits\.json of format 1 \(format"),
        (
            '{"split_seed": 0, "settings": {}, "classes": [], "splits": {"train": {"images": ["a"], "sha256": []}}}',
            "train has 1 images, but 0 digests",
        ),
    ],
)
def test_a_file_that_is_no_splits_json_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "splits.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read_splits(tmp_path / "splits.json")


def test_a_run_is_not_resumed_on_other_images(recipe: MakeRecipe, own_folder: Path, tmp_path: Path) -> None:
    train(recipe(data={"root": own_folder}), tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    validation = read_splits(tmp_path / "run" / "splits.json").splits["validation"].images
    (own_folder / validation[0]).write_bytes((own_folder / "pool" / "00.png").read_bytes())
    with pytest.raises(RunError, match="cannot resume, the images of validation are no longer the same"):
        train(recipe(data={"root": own_folder}), tmp_path / "run", resume=True)


def test_a_file_name_that_is_no_text_is_written_down_with_marks_in_its_place(
    recipe: MakeRecipe, own_folder: Path, tmp_path: Path
) -> None:
    level = own_folder / "train" / "level"
    (level / "0.png").rename(level / os.fsdecode(b"caf\xe9.png"))
    data = {"root": own_folder, "validation": 0, "calibration": 0}
    shutil.copytree(own_folder / "test", own_folder / "validation")
    shutil.rmtree(own_folder / "test")
    run = train(recipe(data=data), tmp_path / "run")
    assert "train/level/caf\ufffd.png" in read_splits(run.folder / "splits.json").splits["train"].images
    assert len(load_split(settings(own_folder, splits=run.folder / "splits.json"), "train")) == 60


# overlap


def twins(root: Path) -> dict[str, str]:
    """Copies one picture of train and one of validation into test, and says where they were."""
    parts = gather_written(root)
    for i, split in enumerate(("train", "validation")):
        shutil.copy(root / parts[split][0], root / "test" / "cross" / f"copy{i}.png")
    return {split: parts[split][0] for split in ("train", "validation")}


def gather_written(root: Path) -> dict[str, tuple[str, ...]]:
    splits = Splits(settings(root))
    return {split: tuple(splits.marked(split).names) for split in FOUR}


def test_an_image_in_training_and_in_test_is_refused_with_both_names(recipe: MakeRecipe, own_folder: Path) -> None:
    original = twins(own_folder)["train"]
    with pytest.raises(
        DataError, match=rf"^{original} in train and test/cross/copy0\.png in test are the same image"
    ) as e:
        gather(recipe(data={"root": own_folder}))
    assert "so are 1 of train in all; data.overlap = 'drop' leaves them out of train" in str(e.value)


@pytest.mark.parametrize("memory", ["keep", "stream"])
def test_dropping_takes_the_image_from_the_training_side_alone(
    recipe: MakeRecipe, own_folder: Path, tmp_path: Path, memory: str
) -> None:
    before = gather_written(own_folder)
    original = twins(own_folder)["train"]
    pictures = sorted((own_folder / "pool").iterdir())
    shutil.copy(pictures[0], own_folder / "test" / "level" / "from_pool.png")
    data = {"root": own_folder, "overlap": "drop", "memory": memory, "workers": 0}
    run = train(recipe(data=data, pool={"method": "pseudo_label"}), tmp_path / "run")
    assert run.result["images"] == {"train": 35, "validation": 12, "pool": 11}
    written = read_splits(run.folder / "splits.json")
    assert written.dropped == {"train": (original,), "pool": ("pool/00.png",)}
    assert written.splits["train"].images == before["train"][1:]
    assert written.splits["validation"].images == before["validation"]
    assert len(written.splits["test"].images) == 33
    assert run.load_split("train").sha256 == run.result["data"]["train"]


def test_overlap_may_be_allowed_and_then_the_test_split_is_not_looked_at(recipe: MakeRecipe, own_folder: Path) -> None:
    twins(own_folder)
    shutil.rmtree(own_folder / "test" / "level")  # which whoever lists the split would notice
    data = gather(recipe(data={"root": own_folder, "overlap": "allow"}))
    assert set(data.written.splits) == {"train", "validation", "calibration"}
    assert data.counts["train"] == 36


def test_an_image_in_validation_and_in_calibration_is_refused_or_dropped_from_validation(
    recipe: MakeRecipe, own_folder: Path
) -> None:
    for split in ("validation", "calibration"):
        shutil.copytree(own_folder / "test", own_folder / split)
    for path in sorted((own_folder / "calibration").glob("*/*.png"))[1:]:
        path.write_bytes(path.read_bytes() + b"another file")
    for path in sorted((own_folder / "test").glob("*/*.png")):
        path.write_bytes(path.read_bytes() + b"again another")
    with pytest.raises(DataError, match=r"validation/cross/0\.png in validation and calibration/cross/0\.png in cal"):
        gather(recipe(data={"root": own_folder}))
    dropped = gather(recipe(data={"root": own_folder, "overlap": "drop"}))
    assert len(dropped.validation) == 29
    assert len(dropped.written.splits["calibration"].images) == 30


def test_the_test_split_is_hashed_in_training_but_never_decoded(
    recipe: MakeRecipe, own_folder: Path, tmp_path: Path
) -> None:
    broken = own_folder / "test" / "level" / "0.png"
    broken.write_bytes(b"no picture at all")
    run = train(recipe(data={"root": own_folder}), tmp_path / "run")
    digest = hashlib.sha256(b"no picture at all").hexdigest()
    assert digest in read_splits(run.folder / "splits.json").splits["test"].sha256
    with pytest.raises(DataError, match=r"level/0\.png: not a readable image"):
        run.load_split("test")


@pytest.mark.parametrize("overlap", ["refuse", "drop"])
def test_a_pseudo_labelled_image_that_is_judged_on_is_no_training_image(
    recipe: MakeRecipe, bars_folder: Path, tmp_path: Path, overlap: str
) -> None:
    rows: list[dict[str, Any]] = []
    for name in ("pool/00.png", "test/level/0.png"):
        digest = hashlib.sha256((bars_folder / name).read_bytes()).hexdigest()
        rows.append({"image": str(bars_folder / name), "sha256": digest, "label": "level", "accepted": True})
    rows[0]["classes"] = ["cross", "level", "upright"]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = recipe(data={"overlap": overlap}, labels={"file": tmp_path / "labels.jsonl"})
    if overlap == "drop":
        assert gather(settings).counts["pseudo-labelled"] == 1
        return
    with pytest.raises(
        DataError, match=r"test/level/0\.png in labels\.file and test/level/0\.png in test are the same"
    ):
        gather(settings)


def test_a_client_knows_the_images_of_an_idx_file_by_the_digests_of_splits_json(
    recipe: MakeRecipe, tiny_mnist: Path
) -> None:
    data = {"source": "mnist", "root": tiny_mnist, "validation": 0.2, "calibration": 0}
    splits = gather(recipe(data=data)).written.splits
    sent = open_source(tiny_mnist / "MNIST/raw/train-images-idx3-ubyte").pictures()
    digests = {hashlib.sha256(picture.read().data).hexdigest() for picture in sent}
    assert digests == {*splits["train"].sha256, *splits["validation"].sha256}
