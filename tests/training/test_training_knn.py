"""k nearest neighbours: a net that keeps its training images, and the run that is written without a step."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from pupil_training.errors import RecipeError, RunError
from pupil_training.evaluate import logits_of
from pupil_training.judge.judgement import facts, judge
from pupil_training.judge.load import Exam, load_candidate
from pupil_training.loop import train
from pupil_training.models import InputSize, build_net
from pupil_training.models.knn import SMOOTHING, NearestNeighbours
from pupil_training.models.stages import head
from pupil_training.pixels import to_pixels
from pupil_training.recipe import Recipe
from pupil_training.runs import Run, load_run
from pupil_training.settings import ModelSettings

MakeRecipe = Callable[..., Recipe]
KNN = {"name": "knn", "neighbours": 3}


def judged(folder: Path) -> dict[str, Any]:
    """What `pupil evaluate --json` says of one run."""
    judgement = judge(load_candidate(folder), Exam("test"))
    return facts(judgement, judgement)


def neighbours(known: torch.Tensor, labels: list[int], *, k: int, classes: int, side: int = 1) -> NearestNeighbours:
    """A net that knows uint8 pixels (M, D)."""
    net = build_net(ModelSettings(name="knn", neighbours=k), InputSize(side, known.shape[1] // side, 1), classes)
    assert isinstance(net, NearestNeighbours)
    net.remember(known, torch.tensor(labels))
    return net


def line(*values: int) -> torch.Tensor:
    """Pictures of one pixel."""
    return torch.tensor(values, dtype=torch.uint8)[:, None]


def ask(net: NearestNeighbours, *values: int) -> torch.Tensor:
    """Scores (N, K) of pictures of one pixel."""
    return net(line(*values)[:, :, None, None].float() / 255).softmax(1)


def smoothed(shares: np.ndarray, k: int) -> np.ndarray:
    """scikit-learn's shares of the votes, with what every class has before anybody votes."""
    return (shares * k + SMOOTHING) / (k + SMOOTHING * shares.shape[1])


@pytest.mark.parametrize("k", [1, 5, 20])
def test_the_scores_are_scikit_learns_shares_of_the_votes(k: int) -> None:
    scans, labels = load_digits(return_X_y=True)
    noise = np.random.default_rng(0).integers(0, 16, scans.shape)  # scans of 17 values are often equally far
    images = (scans * 15 + noise).astype(np.uint8)
    known, asked = images[:1200], images[1200:]
    oracle = KNeighborsClassifier(k, algorithm="brute").fit(known.astype(float), labels[:1200])
    net = neighbours(torch.from_numpy(known), labels[:1200].tolist(), k=k, classes=10, side=8)
    scores = net(torch.from_numpy(asked).reshape(-1, 1, 8, 8).float() / 255).softmax(1)
    far = oracle.kneighbors(asked.astype(float), k + 1)[0]
    clear = far[:, -1] > far[:, -2]  # of the equally far, scikit-learn lets the first ones vote
    assert clear.mean() > 0.99
    np.testing.assert_allclose(scores[clear], smoothed(oracle.predict_proba(asked.astype(float)), k)[clear], atol=1e-5)


def test_whoever_is_as_near_as_the_last_neighbour_votes_too() -> None:
    net = neighbours(line(10, 20, 20, 90), [0, 1, 1, 0], k=1, classes=2)
    assert torch.allclose(ask(net, 15), torch.tensor([[1 + SMOOTHING, 2 + SMOOTHING]]) / (3 + 2 * SMOOTHING))
    assert ask(net, 10, 20, 80).argmax(1).tolist() == [0, 1, 0]


def test_the_order_of_the_known_images_does_not_matter() -> None:
    random = torch.Generator().manual_seed(0)
    known = torch.randint(0, 8, (300, 4), generator=random, dtype=torch.uint8)  # equal distances everywhere
    labels = torch.randint(0, 3, (300,), generator=random)
    order = torch.randperm(300, generator=random)
    asked = torch.randint(0, 8, (50, 1, 1, 4), generator=random) / 255
    one, other = (
        neighbours(known[row], labels[row].tolist(), k=7, classes=3)(asked) for row in (torch.arange(300), order)
    )
    assert torch.allclose(one, other, atol=1e-6)


def test_many_questions_are_answered_in_parts_as_they_are_alone() -> None:
    random = torch.Generator().manual_seed(0)
    known = torch.randint(0, 256, (20_000, 2), generator=random, dtype=torch.uint8)
    net = neighbours(known, [0, 1] * 10_000, k=3, classes=2)
    asked = torch.rand(1000, 1, 1, 2, generator=random)  # 20 million distances: more than are held at once
    together = net(asked)
    for first in (0, 799, 800, 999):
        assert torch.allclose(together[first : first + 1], net(asked[first : first + 1]), atol=1e-5)


def test_fewer_images_than_neighbours_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"neighbours = 5, but there are only 4 training images"):
        neighbours(line(1, 2, 3, 4), [0, 1, 0, 1], k=5, classes=2)
    net = neighbours(line(1, 2, 3, 4), [0, 1, 1, 1], k=4, classes=2)
    assert torch.allclose(ask(net, 1)[0, 1], torch.tensor(0.75), atol=0.01)


def test_more_than_a_graph_can_hold_is_refused_with_the_way_out() -> None:
    net = build_net(ModelSettings(name="knn"), InputSize(224, 224, 3), 2)
    images = torch.empty(20_000, 224 * 224 * 3, dtype=torch.uint8, device="meta")
    with pytest.raises(RecipeError, match=r"take 3,010,720,000 bytes, .*holds 2,000,000,000: .*model\.features"):
        net.remember(images, torch.zeros(20_000, dtype=torch.int64))


def test_a_net_whose_last_layer_is_not_its_end_has_no_features() -> None:
    with pytest.raises(RecipeError, match="lenet5-1998 makes its logits with more than one layer"):
        build_net(ModelSettings(name="knn", body=ModelSettings(name="lenet5-1998")), InputSize(28, 28, 1), 10)


@pytest.fixture(scope="module")
def pixels_run(recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(recipe(name="pixels", model=KNN), tmp_path_factory.mktemp("runs") / "pixels")


@pytest.fixture(scope="module")
def features_run(recipe: MakeRecipe, teacher_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Its features' run is gone once it is trained."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(teacher_run.folder, folder / "teacher")
    run = train(recipe(name="features", model={**KNN, "features": folder / "teacher"}), folder / "features")
    shutil.rmtree(folder / "teacher")
    return run


def right(run: Run, rows: Callable[[torch.Tensor], np.ndarray]) -> int:
    """How many validation images scikit-learn gets right with the run's training images, seen through `rows`."""
    known, asked = (run.load_split(split) for split in ("train", "validation"))
    assert known.labels is not None
    assert asked.labels is not None
    oracle = KNeighborsClassifier(3, algorithm="brute").fit(rows(known.images), known.labels)
    return int((oracle.predict(rows(asked.images)) == asked.labels.numpy()).sum())


def test_a_run_on_pixels_is_a_run_like_any_other(pixels_run: Run) -> None:
    result = json.loads((pixels_run.folder / "result.json").read_text())
    counted = result["metrics"]["validation_accuracy"]
    assert counted == {"right": right(pixels_run, lambda images: images.flatten(1).numpy().astype(float)), "of": 12}
    assert (result["steps"], result["parameters"], result["teachers"]) == (0, 0, [])
    assert result["multiply_adds"] == 36 * 28 * 28 + 36 * 3  # 36 images known; their votes
    lines = (pixels_run.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(each) for each in lines] == [{"step": 0, "validation_accuracy": counted["right"] / 12}]


def test_a_run_on_features_compares_what_the_other_net_sees_before_its_last_layer(
    features_run: Run, teacher_run: Run
) -> None:
    net, seen = teacher_run.model, []
    hook = head(net.net).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

    def features(images: torch.Tensor) -> np.ndarray:
        with torch.no_grad():
            net(to_pixels(images))
        return seen.pop().numpy()

    counted = features_run.result["metrics"]["validation_accuracy"]
    assert counted["right"] == right(features_run, features) >= 10
    hook.remove()


@pytest.mark.parametrize("name", ["pixels_run", "features_run"])
def test_a_run_is_read_back_as_it_was_written(name: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(name)
    again = load_run(run.folder)
    images = run.load_split("test").images
    assert torch.equal(logits_of(again.model, images), logits_of(run.model, images))
    assert again.model.temperature == run.model.temperature
    assert judged(run.folder)["accuracy"]["of"] == 30


def test_a_finished_run_stands_in_the_way_unless_forced(recipe: MakeRecipe, tmp_path: Path) -> None:
    train(recipe(model=KNN), tmp_path)
    with pytest.raises(RunError, match="holds a finished run"):
        train(recipe(model=KNN), tmp_path)
    assert train(recipe(model={**KNN, "neighbours": 1}), tmp_path, force=True).recipe.model.neighbours == 1


def test_it_teaches_a_net_that_learns(recipe: MakeRecipe, features_run: Run, tmp_path: Path) -> None:
    student = train(recipe(distill={"teacher": str(features_run.folder)}), tmp_path)
    assert student.result["teachers"][0]["name"] == "features"
    assert student.result["metrics"]["validation_agreement"]["of"] == 12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": {"neighbours": 100}}, "neighbours = 100, but there are only 36 training images"),
        ({"distill": {"teacher": "{teacher}"}}, "'knn' only keeps labelled images: leave distill.teacher"),
        ({"transfer": {"run": "{teacher}"}}, "only keeps labelled images"),
        ({"augment": {"mixup": 0.2}}, "one class an image"),
        ({"model": {"features": "nowhere"}}, "nowhere: not a run"),
        ({"model": {"features": "{pixels}"}}, "is itself a run of 'knn'"),
        ({"model": {"features": "{teacher}"}, "data": {"height": 32, "width": 32}}, "28×28×1, not 32×32×1"),
    ],
)
def test_what_it_cannot_do_is_one_line_and_leaves_nothing(
    recipe: MakeRecipe, pixels_run: Run, teacher_run: Run, tmp_path: Path, settings: dict[str, dict], message: str
) -> None:
    places = {"pixels": pixels_run.folder, "teacher": teacher_run.folder}
    filled = {
        group: {name: value.format(**places) if isinstance(value, str) else value for name, value in values.items()}
        for group, values in settings.items()
    }
    filled["model"] = {**KNN, **filled.get("model", {})}
    with pytest.raises((RecipeError, RunError), match=message):
        train(recipe(**filled), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_there_are_no_weights_to_take_over(recipe: MakeRecipe, pixels_run: Run, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="NearestNeighbours has no layer that learns"):
        head(pixels_run.model.net)
    with pytest.raises(RecipeError, match="pixels: weights of another architecture"):
        train(recipe(transfer={"run": pixels_run.folder}), tmp_path)
