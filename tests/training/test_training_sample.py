"""How often pseudo-labelled images and labelled ones come in an epoch, and where their pictures are found."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pupil_training.augment import Views
from pupil_training.data.feed_memory import MemoryFeed
from pupil_training.data.order import Order
from pupil_training.data.sample import balanced, in_proportion
from pupil_training.data.splits import load_split
from pupil_training.data.training import gather
from pupil_training.errors import DataError
from pupil_training.loop import train
from pupil_training.recipe import Recipe
from pupil_training.runs import Run
from pupil_training.settings import AugmentSettings, DataSettings

MakeRecipe = Callable[..., Recipe]
CLASSES = ("cross", "level", "upright")


def test_balance_caps_at_the_median_by_confidence_and_repeats_rare_classes_at_most_five_times() -> None:
    labels = torch.tensor([0] * 8 + [1] * 6 + [2] * 4 + [3])  # counts 8, 6, 4, 1: the median is 5
    confidence = torch.tensor([0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6, *[0.5] * 11])
    repeats = balanced(labels, confidence)
    assert repeats[:8].tolist() == [0, 1, 0, 1, 0, 1, 1, 1]
    assert repeats[8:14].tolist() == [1, 1, 1, 1, 1, 0]  # equally sure: the first ones
    assert sorted(repeats[14:18].tolist()) == [1, 1, 1, 2]
    assert repeats[18:].tolist() == [5]
    rare = balanced(torch.tensor([0] * 20 + [1] * 20 + [2] * 2), torch.zeros(42))
    assert rare.tolist() == [1] * 40 + [5] * 2


@pytest.mark.parametrize(
    ("ratio", "labelled", "most"), [(0, 6, 1), (2, 12, 2), (3, 8, 2), (4, 6, 1), (7, 6, 1), (0.5, 48, 8)]
)
def test_labelled_images_are_repeated_until_the_proportion_holds(ratio: float, labelled: int, most: int) -> None:
    sample = in_proportion(6, torch.ones(24, dtype=torch.int64), ratio)
    counts = Counter(sample.tolist())
    assert sum(counts[i] for i in range(6)) == labelled
    assert {counts[i] for i in range(6, 30)} == {1}
    ours = [counts[i] for i in range(6)]
    assert max(ours) == most
    assert max(ours) - min(ours) <= 1


def test_an_epoch_of_a_sample_holds_each_copy_once_and_copies_get_views_of_their_own() -> None:
    images = torch.randint(0, 256, (3, 12, 12, 1), dtype=torch.uint8)
    sample = torch.tensor([0, 0, 0, 1, 2, 2])
    feed = MemoryFeed(images, torch.arange(3), Order(3, 6, seed=0, sample=sample))
    for step in (1, 2, 3):
        (batch,) = feed.parts(step)
        assert sorted(batch.chosen.tolist()) == list(range(6))
        assert torch.equal(batch.targets, sample[batch.chosen])
        assert torch.equal(batch.images, images[sample[batch.chosen]])
        assert batch.epochs.tolist() == [step - 1] * 6
    views = Views(AugmentSettings(shift=4, brightness=0.5), seed=0)(batch)
    copies = views[batch.targets == 0]
    assert len({view.numpy().tobytes() for view in copies}) == 3


def labels_file(folder: Path, digests: tuple[str, ...], image: str = "nowhere", **values: Any) -> Path:
    """Accepts every image of a pool, most of them as crosses."""
    rows: list[dict[str, Any]] = []
    for i, digest in enumerate(digests):
        label = CLASSES[max(0, i - (len(digests) - 3))]
        row = {"image": image, "sha256": digest, "label": label, "confidence": i / 100, "accepted": True}
        rows.append({**row, **values})
    rows[0]["classes"] = list(CLASSES)
    file = folder / "labels.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_images_are_found_in_the_pool_by_their_bytes_wherever_they_were_labelled(
    recipe: MakeRecipe, bars_folder: Path, tmp_path: Path
) -> None:
    pool = load_split(DataSettings(root=bars_folder), "pool")
    file = labels_file(tmp_path, pool.digests)
    data = gather(recipe(labels={"file": file}))
    assert torch.equal(data.images[36:], pool.images)
    assert data.targets is not None
    assert data.targets[36:].tolist() == [0] * 10 + [1, 2]
    with pytest.raises(DataError, match="its image nowhere is neither beside the file nor in the working folder, nor"):
        gather(recipe(labels={"file": labels_file(tmp_path, ("0" * 64,))}))


def test_a_set_without_files_finds_its_pool_by_bytes(recipe: MakeRecipe, tiny_mnist: Path, tmp_path: Path) -> None:
    data = {"source": "mnist", "root": tiny_mnist, "pool": 0.3, "validation": 0.2, "calibration": 0}
    pool = load_split(DataSettings.model_validate(data), "pool")
    rows = [{"image": "3", "sha256": digest, "label": "7", "accepted": True} for digest in pool.digests]
    rows[0]["classes"] = list("0123456789")
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = train(recipe(data=data, labels={"file": tmp_path / "labels.jsonl"}, steps=2, eval_every=2), tmp_path / "run")
    assert run.result["images"] == {"train": 50, "validation": 20, "pseudo-labelled": 30}


def test_a_recipe_balances_and_proportions_its_pseudo_labels(
    recipe: MakeRecipe, bars_folder: Path, tmp_path: Path
) -> None:
    pool = load_split(DataSettings(root=bars_folder), "pool")
    file = labels_file(tmp_path, pool.digests)  # 10 crosses, a level, an upright: the median is 1
    data = gather(recipe(labels={"file": file, "balance": True, "ratio": 1 / 24}))
    assert data.counts["pseudo-labelled"] == 3
    assert torch.equal(data.images[36:], pool.images[[9, 10, 11]])  # the surest cross
    assert data.sample is not None
    counts = Counter(data.sample.tolist())
    assert [counts[i] for i in range(36, 39)] == [1, 1, 1]
    assert {counts[i] for i in range(36)} == {2}


def test_soft_labels_are_balanced_by_their_best_class(recipe: MakeRecipe, bars_folder: Path, tmp_path: Path) -> None:
    pool = load_split(DataSettings(root=bars_folder), "pool")
    file = labels_file(tmp_path, pool.digests, scores=[0.2, 0.7, 0.1])
    data = gather(recipe(labels={"file": file, "balance": True, "kind": "soft"}))
    assert data.counts["pseudo-labelled"] == 12


def test_cached_logits_teach_what_live_ones_do_where_images_repeat(
    recipe: MakeRecipe, teacher_run: Run, bars_folder: Path, tmp_path: Path
) -> None:
    file = labels_file(tmp_path, load_split(DataSettings(root=bars_folder), "pool").digests)
    settings = {"labels": {"file": file, "balance": True, "ratio": 0.02}, "steps": 5}
    settings["optim"] = {"name": "sgd", "learning_rate": 0.05}  # few steps, which do not magnify what float16 rounds
    live, cached = (
        train(recipe(**settings, distill={"teacher": teacher_run.folder, "logits": logits}), tmp_path / logits)
        for logits in ("live", "cached")
    )
    for ours, theirs in zip(live.model.net.state_dict().values(), cached.model.net.state_dict().values(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3)
