import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pupil_training.data import Splits, load_split
from pupil_training.data.cut import cut
from pupil_training.errors import DataError
from pupil_training.settings import DataSettings


def settings(root: Path, **values: object) -> DataSettings:
    return DataSettings.model_validate({"root": root, "validation": 0.2, "calibration": 0.2, **values})


@pytest.fixture
def own_folder(bars_folder: Path, tmp_path: Path) -> Path:
    """A copy of the bars that a test may spoil."""
    return Path(shutil.copytree(bars_folder, tmp_path / "bars"))


def test_a_cut_takes_its_share_of_every_class_and_no_image_twice() -> None:
    labels = [0] * 50 + [1] * 10
    parts = cut(labels, "ab", {"validation": 0.2, "pool": 0.5}, seed=3)
    together = np.concatenate(list(parts.values()))
    assert sorted(together.tolist()) == list(range(60))
    counts = {name: np.bincount(np.array(labels)[chosen]).tolist() for name, chosen in parts.items()}
    assert counts == {"train": [15, 3], "validation": [10, 2], "pool": [25, 5]}


def test_a_cut_is_decided_by_its_seed() -> None:
    labels = [0, 1] * 20
    first, again, other = (cut(labels, "ab", {"validation": 0.5}, seed)["validation"].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_a_share_that_is_too_small_for_a_class_is_refused() -> None:
    with pytest.raises(DataError, match=r"class 'cat' has 3 images, too few for one in validation at data\.validation"):
        cut([0] * 9 + [1] * 3, ["dog", "cat"], {"validation": 0.1}, seed=0)


def test_the_splits_of_class_folders_share_no_picture(bars_folder: Path) -> None:
    splits = {name: load_split(settings(bars_folder), name) for name in ("train", "validation", "calibration", "test")}
    assert {name: len(images) for name, images in splits.items()} == {
        "train": 36, "validation": 12, "calibration": 12, "test": 30,
    }  # fmt: skip
    digests = [hashlib.sha256(images.encoded(i)).digest() for images in splits.values() for i in range(len(images))]
    assert len(set(digests)) == 90


def test_pixels_and_labels_are_those_of_the_files(bars_folder: Path) -> None:
    images = load_split(settings(bars_folder), "test")
    assert images.classes == ("cross", "level", "upright")
    assert images.labels is not None
    assert images.labels.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    picture = np.asarray(Image.open(bars_folder / "test" / "level" / "0.png"))
    assert images.images[10, :, :, 0].tolist() == picture.tolist()
    assert images.encoded(10) == (bars_folder / "test" / "level" / "0.png").read_bytes()


def test_the_pool_has_no_labels_from_its_own_folder_or_cut_from_train(bars_folder: Path, own_folder: Path) -> None:
    assert load_split(settings(bars_folder), "pool").labels is None
    shutil.rmtree(own_folder / "pool")
    pool = load_split(settings(own_folder, pool=0.25), "pool")
    assert (len(pool), pool.labels) == (15, None)
    with pytest.raises(DataError, match=r"no pool split of its own, and data\.pool = 0 cuts none"):
        load_split(settings(own_folder), "pool")


def test_the_hash_of_a_set_follows_files_and_labels_but_not_the_input_size(own_folder: Path) -> None:
    before = load_split(settings(own_folder), "test").sha256
    assert load_split(settings(own_folder, height=32, width=32), "test").sha256 == before
    (own_folder / "test" / "level" / "0.png").rename(own_folder / "test" / "cross" / "level.png")
    assert load_split(settings(own_folder), "test").sha256 != before


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere/train: no such folder"):
        load_split(settings(tmp_path / "nowhere"), "train")


def test_an_empty_class_is_named(own_folder: Path) -> None:
    shutil.rmtree(own_folder / "test" / "level")
    (own_folder / "test" / "level").mkdir()
    with pytest.raises(DataError, match=r"test/level: no images \(\.jpg"):
        load_split(settings(own_folder), "test")


def test_classes_that_differ_between_splits_are_named(own_folder: Path) -> None:
    shutil.copytree(own_folder / "test" / "level", own_folder / "test" / "slanted")
    with pytest.raises(DataError, match="only one of them has slanted"):
        load_split(settings(own_folder), "test")


def test_an_unreadable_image_is_named_and_counted_or_skipped_if_asked(own_folder: Path) -> None:
    broken = own_folder / "test" / "level" / "0.png"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(DataError, match=r"level/0\.png: not a readable image .*; 1 of 30 images are unreadable"):
        load_split(settings(own_folder), "test")
    broken.write_bytes(b"cat")
    with pytest.raises(DataError, match=r"level/0\.png: not a readable image \(it begins as none of JPEG, PNG"):
        load_split(settings(own_folder), "test")
    images = load_split(settings(own_folder, unreadable="skip"), "test")
    assert len(images) == 29
    assert [str(broken) in skipped for skipped in images.skipped] == [True]
    assert images.encoded(10) == (own_folder / "test" / "level" / "1.png").read_bytes()


def test_hidden_files_are_no_images(own_folder: Path) -> None:
    level = own_folder / "test" / "level"
    (level / "._0.png").write_bytes(b"a Mac's notes about 0.png")
    (level / ".ipynb_checkpoints").mkdir()
    shutil.copy(level / "0.png", level / ".ipynb_checkpoints" / "0-checkpoint.png")
    assert len(load_split(settings(own_folder), "test")) == 30


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\npool/00.png,cross\n", "has no column 'image'; its columns are path, label"),
        ("image,label\npool/00.png,slanted\n", "pool/00.png is labelled 'slanted', which is no class of train"),
    ],
)
def test_a_table_of_true_labels_that_does_not_fit_is_refused(own_folder: Path, content: str, message: str) -> None:
    (own_folder / "pool_labels.csv").write_text(content)
    with pytest.raises(DataError, match=f"pool_labels.csv: {message}"):
        Splits(settings(own_folder)).hidden_labels()


def test_a_spreadsheets_table_of_true_labels_is_read(own_folder: Path) -> None:
    rows = ["image,label", *(f"pool/{i:02}.png,{name}" for i, name in enumerate(["level", "cross", "upright"] * 4))]
    (own_folder / "pool_labels.csv").write_text("\r\n".join(rows), encoding="utf-8-sig")
    hidden = Splits(settings(own_folder)).hidden_labels()
    assert hidden is not None
    assert hidden.tolist() == [1, 0, 2] * 4


def test_mnist_comes_from_its_idx_files(tiny_mnist: Path) -> None:
    mnist = settings(tiny_mnist, source="mnist")
    test = load_split(mnist, "test")
    file = (tiny_mnist / "MNIST" / "raw" / "t10k-images-idx3-ubyte").read_bytes()
    pixels = np.frombuffer(file[16:], dtype=np.uint8).reshape(20, 28, 28)
    assert test.images[..., 0].tolist() == pixels.tolist()
    assert test.labels is not None
    assert test.labels.tolist() == [i % 10 for i in range(20)]
    assert [len(load_split(mnist, name)) for name in ("train", "validation", "calibration")] == [60, 20, 20]
    at_32 = load_split(settings(tiny_mnist, source="mnist", height=32, width=32), "test")
    resized = Image.fromarray(pixels[3]).resize((32, 32), Image.Resampling.BILINEAR)
    assert at_32.images[3, :, :, 0].tolist() == np.asarray(resized).tolist()
    with pytest.raises(DataError, match=r"no pool split of its own"):
        load_split(mnist, "pool")


def test_mnist_is_never_downloaded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no MNIST/raw"):
        load_split(settings(tmp_path, source="mnist"), "train")
    assert list(tmp_path.iterdir()) == []
