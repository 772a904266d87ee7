"""Images that belong together stay in one split."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from PIL import Image

from pupil_training.data.cut import cut_groups
from pupil_training.data.folders import group_keys
from pupil_training.data.splits import Splits
from pupil_training.errors import DataError, RecipeError
from pupil_training.recipe import parse_recipe
from pupil_training.settings import DataSettings

SHARES = {"validation": 0.2, "calibration": 0.1, "pool": 0.15}


@st.composite
def grouped_labels(draw: st.DrawFn) -> tuple[list[int], list[str]]:
    """Labels of 3 classes, and groups of 1 to 9 images that may mix them."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=20, max_size=80))
    groups = [f"group {number}" for number, size in enumerate(sizes) for _ in range(size)]
    labels = draw(st.lists(st.integers(0, 2), min_size=len(groups), max_size=len(groups)))
    order = draw(st.permutations(range(len(groups))))
    return [labels[i] for i in order], [groups[i] for i in order]


@settings(max_examples=150, deadline=None)
@given(grouped_labels(), st.integers(0, 2**32))
def test_no_group_is_split_and_each_share_is_met_but_for_one_group(
    images: tuple[list[int], list[str]], seed: int
) -> None:
    labels, groups = images
    try:
        parts = cut_groups(labels, groups, SHARES, seed)
    except DataError:  # the only image of a class went elsewhere than to train
        reject()
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(labels)))
    held = {name: {groups[i] for i in chosen} for name, chosen in parts.items()}
    assert sum(len(each) for each in held.values()) == len(set(groups))
    largest = max(groups.count(group) for group in set(groups))
    for name, share in {**SHARES, "train": 1 - sum(SHARES.values())}.items():
        assert abs(len(parts[name]) - share * len(labels)) <= largest + 1e-6
    again = cut_groups(labels, groups, SHARES, seed)
    assert all(np.array_equal(parts[name], again[name]) for name in parts)


def test_a_cut_of_groups_is_decided_by_its_seed() -> None:
    labels, groups = [0, 1] * 200, [str(i // 4) for i in range(400)]
    first, other = (cut_groups(labels, groups, SHARES, seed)["validation"].tolist() for seed in (1, 2))
    assert first != other


def test_every_class_has_exactly_its_share_where_groups_of_one_size_allow_it() -> None:
    labels = np.repeat([0, 1, 2], [100, 50, 200])
    groups = [str(i // 5) for i in range(350)]
    parts = cut_groups(labels, groups, {"validation": 0.2, "calibration": 0.1}, seed=0)
    counts = {name: np.bincount(labels[chosen]).tolist() for name, chosen in parts.items()}
    assert counts == {"train": [70, 35, 140], "validation": [20, 10, 40], "calibration": [10, 5, 20]}


def test_mixed_groups_are_cut_more_evenly_than_by_chance() -> None:
    random = np.random.default_rng(0)
    groups = [str(group) for group in range(120) for _ in range(random.integers(1, 12))]
    leaning = {group: random.dirichlet([0.4] * 4) for group in set(groups)}
    labels = np.array([random.choice(4, p=leaning[group]) for group in groups])
    whole = np.bincount(labels, minlength=4)

    def uneven(chosen: np.ndarray) -> float:
        """The largest miss of a class's share, in shares."""
        return float(np.abs(np.bincount(labels[chosen], minlength=4) / (0.2 * whole) - 1).max())

    ours = [uneven(cut_groups(labels, groups, {"validation": 0.2}, seed)["validation"]) for seed in range(20)]
    chance = []
    for seed in range(20):
        some = set(np.random.default_rng(seed).permutation(120)[:24].astype(str))
        chance.append(uneven(np.flatnonzero([group in some for group in groups])))
    assert np.mean(ours) < 0.5 * np.mean(chance)


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(DataError, match=r"2 groups leave none for a calibration share of 0\.1"):
        cut_groups([0, 1] * 10, ["a"] * 10 + ["b"] * 10, {"validation": 0.2, "calibration": 0.1}, seed=0)


def film(root: Path, frames: int = 4, films: int = 6) -> Path:
    """Two classes of films, each with some frames."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / "train" / name).mkdir(parents=True)
        for number in range(films):
            for frame in range(frames):
                pixels = random.integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(root / "train" / name / f"{name}{number}_frame{frame}.png")
    return root


def films_of(splits: Splits, split: str) -> set[str]:
    return {picture.name.rpartition("_frame")[0] for picture in splits.listing(split).pictures}


def test_the_frames_of_one_film_stay_in_one_split_of_class_folders(tmp_path: Path) -> None:
    data = DataSettings(root=film(tmp_path), groups="^(.+)_frame", validation=0.3, calibration=0.2)
    splits = Splits(data)
    films = {split: films_of(splits, split) for split in ("train", "validation", "calibration")}
    assert {split: len(each) for split, each in films.items()} == {"train": 6, "validation": 4, "calibration": 2}
    assert len(set.union(*films.values())) == 12


def test_a_table_may_name_the_groups(tmp_path: Path) -> None:
    root = film(tmp_path / "films")
    lines = ["path,label,group"]
    for path in sorted(root.glob("train/*/*.png")):
        group = path.name.partition("_")[0]
        lines.append(f"{path.relative_to(root)},{path.parent.name},{'' if group == 'cat0' else group}")
    (tmp_path / "films.csv").write_text("\n".join(lines))
    data = {"source": "table", "root": root, "table": tmp_path / "films.csv", "validation": 0.3, "calibration": 0}
    splits = Splits(DataSettings.model_validate(data))
    train, validation = (films_of(splits, split) for split in ("train", "validation"))
    assert len(splits.listing("validation")) + len(splits.listing("train")) == 48
    assert train & validation <= {str(root / "train/cat/cat0")}  # whose rows name no group, so that each is its own


def test_a_group_in_two_splits_of_the_table_is_refused(tmp_path: Path, recipe: Callable[..., Any]) -> None:
    from pupil_training.data.training import gather

    root = film(tmp_path / "films")
    lines = ["path,label,group,split"]
    for number, path in enumerate(sorted(root.glob("train/*/*.png"))):
        split = "validation" if number % 4 == 0 else "train"
        lines.append(f"{path.relative_to(root)},{path.parent.name},{path.name.partition('_')[0]},{split}")
    (tmp_path / "films.csv").write_text("\n".join(lines))
    data = {"source": "table", "root": root, "table": tmp_path / "films.csv", "calibration": 0}
    with pytest.raises(
        DataError, match=r"cat0_frame1\.png in train and .*cat0_frame0\.png in validation are of one group, cat0"
    ):
        gather(recipe(data=data))


def test_the_key_is_the_first_group_that_took_part() -> None:
    assert group_keys(["a_frame1", "a_frame2", "b"], "^(.+)_frame|^(.+)$") == ["a", "a", "b"]
    with pytest.raises(DataError, match=r"b and 1 other of 3 images do not match; \|\^\(\.\+\)\$ at its end"):
        group_keys(["a_frame1", "b", "c"], "^(.+)_frame")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"groups": "("}, r"data\.groups: '\(' is not a regular expression"),
        ({"groups": "frame"}, r"data\.groups: 'frame' has no group in parentheses"),
        ({"groups": "(.)", "source": "mnist"}, r"data\.groups is about paths, which the images of 'mnist' have not"),
    ],
)
def test_groups_that_mean_nothing_are_refused(data: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe({"data": data}, "here")


def test_a_count_of_labels_would_tear_groups(tmp_path: Path) -> None:
    data = DataSettings(root=film(tmp_path), groups="^(.+)_frame", labels=8)
    with pytest.raises(DataError, match=r"data\.labels would tear groups apart"):
        Splits(data).listing("train")
