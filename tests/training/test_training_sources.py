"""Data sets in the forms that others publish them in."""

import gzip
import hashlib
import io
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pupil_training.data.splits import SOURCES, Splits, load_split
from pupil_training.errors import DataError, RecipeError
from pupil_training.loop import train
from pupil_training.preprocess import Preprocess
from pupil_training.recipe import Recipe, parse_recipe
from pupil_training.settings import SOURCES as KNOWN
from pupil_training.settings import DataSettings

NO_SHARES = {"validation": 0, "calibration": 0}


def settings(root: Path, source: str, **values: object) -> DataSettings:
    return DataSettings.model_validate({"root": root, "source": source, **NO_SHARES, **values})


def noise(count: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


# idx


def idx(array: NDArray[np.uint8]) -> bytes:
    """As the page on MNIST says: two zero bytes, 8 for unsigned bytes, the number of sizes, the sizes, the bytes."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """12 and 6 pictures of 6×5 of three classes, half of the files gzipped."""
    folder = tmp_path / "idx"
    folder.mkdir()
    for prefix, count in (("train", 12), ("t10k", 6)):
        labels = np.arange(count, dtype=np.uint8) % 3
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(noise(count, 6, 5)))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return folder


def test_idx_files_give_their_pixels_and_labels_gzipped_or_not(idx_folder: Path) -> None:
    data = settings(idx_folder, "idx", height=6, width=5, shortest_side=6)
    images = load_split(settings(idx_folder, "idx", height=5, width=5), "train")
    assert images.images[..., 0].tolist() == noise(12, 6, 5)[:, :5].tolist()  # the middle of 6 rows, rounded down
    assert images.labels is not None
    assert images.labels.tolist() == [0, 1, 2] * 4
    assert images.classes == ("0", "1", "2")
    assert images.digests[3] == hashlib.sha256(noise(12, 6, 5)[3].tobytes()).hexdigest()
    assert np.asarray(Image.open(io.BytesIO(images.encoded(3)))).tolist() == noise(12, 6, 5)[3].tolist()
    resized = Preprocess.of(data).fit(Image.fromarray(noise(6, 6, 5)[2]))
    assert load_split(data, "test").images[2].tolist() == resized.tolist()


def test_idx_classes_may_have_names_and_each_needs_an_image(idx_folder: Path) -> None:
    (idx_folder / "classes.txt").write_text("cat\ndog\n\nowl\n")
    assert load_split(settings(idx_folder, "idx"), "test").classes == ("cat", "dog", "owl")
    (idx_folder / "classes.txt").write_text("cat\ndog\nowl\nfox\n")
    with pytest.raises(DataError, match="train has no image of class 'fox'"):
        load_split(settings(idx_folder, "idx"), "train")
    assert len(load_split(settings(idx_folder, "idx", only=("dog", "cat")), "train")) == 8


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (IMAGES, idx(noise(12, 6, 5))[:-1], r"truncated, 12×6×5 bytes are announced, 359 are there"),
        (IMAGES, idx(noise(12, 6, 5)) + b"\0", r"too long, 12×6×5 bytes are announced, 361 are there"),
        (IMAGES, b"\0\0\x08\x03", r"truncated, 4 bytes are not even a header"),
        (IMAGES, idx(noise(12, 6, 5)[..., None]), r"begins with 0x00000804, .* with 0x00000803"),
        (IMAGES, idx(noise(0, 6, 5)), "empty"),
        (LABELS, gzip.compress(idx(noise(11)), mtime=0), "12 train images, but 11 labels"),
        (LABELS, gzip.compress(idx(noise(12)), mtime=0)[:-9], "truncated, or not gzipped"),
        (LABELS, b"plain", "truncated, or not gzipped"),
        (LABELS, None, r"train images, but no labels-idx1-ubyte\[\.gz\] beside them"),
        (IMAGES, None, r"no train-images-idx3-ubyte\[\.gz\] here"),
    ],
)
def test_an_idx_file_that_is_damaged_is_named(idx_folder: Path, file: str, content: bytes | None, message: str) -> None:
    (idx_folder / file).unlink()
    if content is not None:
        (idx_folder / file).write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        load_split(settings(idx_folder, "idx"), "train")
    assert "\n" not in str(error.value)


def test_a_label_out_of_range_is_named_with_its_place(idx_folder: Path, tiny_mnist: Path, tmp_path: Path) -> None:
    (idx_folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.uint8([0, 1, 2, 0, 3, 2]))))
    with pytest.raises(DataError, match="idx, test: image 4 has label 3, but the classes are 0 to 2"):
        load_split(settings(idx_folder, "idx"), "test")
    raw = Path(shutil.copytree(tiny_mnist, tmp_path / "own")) / "MNIST" / "raw"
    (raw / "t10k-labels-idx1-ubyte").write_bytes(idx(np.full(20, 10, dtype=np.uint8)))
    with pytest.raises(DataError, match="image 0 has label 10, but the classes are 0 to 9"):
        load_split(settings(tmp_path / "own", "mnist"), "test")


def test_mnist_is_read_as_torchvision_reads_it(tiny_mnist: Path) -> None:
    from torchvision.datasets import MNIST

    for split in ("train", "test"):
        theirs, ours = MNIST(tiny_mnist, train=split == "train"), load_split(settings(tiny_mnist, "mnist"), split)
        assert torch.equal(ours.images[..., 0], theirs.data)
        assert torch.equal(ours.labels, theirs.targets)
        whole = hashlib.sha256()
        for image, label in zip(theirs.data.numpy(), theirs.targets.tolist(), strict=True):
            whole.update(f"{hashlib.sha256(image.tobytes()).hexdigest()} {label}\n".encode())
        assert ours.sha256 == whole.hexdigest()


# torchvision


def test_a_set_of_torchvision_is_found_by_name(tiny_mnist: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_mnist / "MNIST", tmp_path / "FashionMNIST")
    for split in ("train", "test"):
        theirs = load_split(settings(tmp_path, "torchvision/FashionMNIST"), split)
        ours = load_split(settings(tiny_mnist, "mnist"), split)
        assert torch.equal(theirs.images, ours.images)
        assert theirs.digests == ours.digests
        assert torch.equal(theirs.labels, ours.labels)
        assert theirs.classes[-1] == "Ankle boot"


def test_a_set_of_torchvision_is_read_by_its_own_names_of_splits(bars_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "country211"
    shutil.copytree(bars_folder / "train", folder / "train")
    shutil.copytree(bars_folder / "test", folder / "valid")
    data = settings(tmp_path, "torchvision/Country211", validation=0.1)
    validation = load_split(data, "validation")
    expected = load_split(settings(bars_folder, "folders"), "test")
    assert torch.equal(validation.images, expected.images)
    assert torch.equal(validation.labels, expected.labels)
    assert validation.classes == ("cross", "level", "upright")
    broken = folder / "valid" / "level" / "0.png"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(DataError, match=r"validation/10: not a readable image .*; 1 of 30 images are unreadable"):
        load_split(data, "validation")


def test_imagenets_two_kinds_of_crane_are_told_apart(bars_folder: Path, tmp_path: Path) -> None:
    names = {"cross": ("crane",), "level": ("cock", "rooster"), "upright": ("crane",)}
    torch.save((names, []), tmp_path / "meta.bin")
    for theirs, ours in (("train", "train"), ("val", "test")):
        shutil.copytree(bars_folder / ours, tmp_path / theirs)
    validation = load_split(settings(tmp_path, "torchvision/ImageNet"), "validation")
    assert validation.classes == ("crane", "cock, rooster", "crane (2)")
    assert torch.equal(validation.labels, load_split(settings(bars_folder, "folders"), "test").labels)


FAKE = {"size": 12, "image_size": [3, 9, 9], "num_classes": 3}


def test_fake_data_trains_kept_or_streamed(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    data = {"source": "torchvision/FakeData", "options": {**FAKE, "size": 60}, "height": 28, "width": 28}
    kept, streamed = (
        train(recipe(steps=4, eval_every=4, data={**data, "memory": memory, "workers": 0}), tmp_path / memory)
        for memory in ("keep", "stream")
    )
    for name, value in kept.model.state_dict().items():
        assert torch.equal(value, streamed.model.state_dict()[name]), name
    assert kept.classes == ("0", "1", "2")


def test_fake_data_is_all_train(tmp_path: Path) -> None:
    from torchvision.datasets import FakeData

    data = settings(tmp_path, "torchvision/FakeData", options=FAKE, height=9, width=9, channels=3)
    theirs = FakeData(12, (3, 9, 9), 3)
    ours = load_split(data, "train")
    assert ours.images.tolist() == [np.asarray(image).tolist() for image, _ in theirs]
    assert ours.labels is not None
    assert ours.labels.tolist() == [int(label) for _, label in theirs]
    assert not Splits(data).has("test")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("FashonMNIST", {}, r"no such data set; did you mean FashionMNIST\?"),
        ("KMNIST", {}, r"not in .*; set data\.root, or data\.download = true"),
        (
            "FakeData",
            {"options": {"sizes": 3}},
            r"unexpected keyword argument 'sizes'.* data\.options are the arguments",
        ),
    ],
)
def test_what_torchvision_cannot_give_is_said_in_one_line(tmp_path: Path, name: str, values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        load_split(settings(tmp_path, f"torchvision/{name}", **values), "train")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


# all of them


def test_the_settings_know_the_sources_that_there_are() -> None:
    assert {*KNOWN, "torchvision"} == set(SOURCES)
    with pytest.raises(RecipeError, match=r"data\.source: 'folder' is none of folders, table, idx, mnist, cifar"):
        parse_recipe({"data": {"source": "folder"}}, "here")


def test_a_folder_elsewhere_is_the_pool_of_any_source(
    recipe: Callable[..., Recipe], bars_folder: Path, tiny_mnist: Path, tmp_path: Path
) -> None:
    nested = Path(shutil.copytree(bars_folder / "pool", tmp_path / "some" / "where"))
    (nested / "notes.txt").write_text("no image")
    data = settings(tiny_mnist, "mnist", pool_root=tmp_path / "some")
    pool = load_split(data, "pool")
    assert pool.labels is None
    assert torch.equal(pool.images, load_split(settings(bars_folder, "folders"), "pool").images)
    method = {"method": "pseudo_label", "batch_size": 4}
    run = train(
        recipe(data={**data.model_dump(), "validation": 0.2}, pool=method, steps=2, eval_every=2), tmp_path / "run"
    )
    assert run.result["images"] == {"train": 80, "validation": 20, "pool": 12}
    with pytest.raises(DataError, match="nowhere: no such folder"):
        load_split(settings(tiny_mnist, "mnist", pool_root=tmp_path / "nowhere"), "pool")
    with pytest.raises(RecipeError, match="pool_root is the whole pool"):
        parse_recipe({"data": {"pool_root": "here", "pool": 0.5}}, "here")
