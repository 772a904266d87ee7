"""Every net that has a name here leaves as a graph that agrees with it, k nearest neighbours up to the server."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from pupil_client import Client
from pupil_export import export
from pupil_export.answers import OnnxModel
from pupil_export.graph import Served, export_graph
from pupil_training.loop import train
from pupil_training.recipe import parse_recipe
from pupil_training.runs import load_run

Untrained = Callable[[str, int, int], Served]
Noise = Callable[[int, int, int], NDArray[np.uint8]]


def assert_exports(served: Served, images: NDArray[np.uint8], batch_sizes: tuple[int, ...]) -> None:
    """The graph gives what the net gives, whatever the batch."""
    model = OnnxModel(export_graph(served))
    for batch_size in batch_sizes:
        with torch.no_grad():
            logits, scores = served(torch.from_numpy(images[:batch_size]))
        answers = model(images[:batch_size])
        np.testing.assert_allclose(answers.logits, logits.numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(answers.scores, scores.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "side", "channels"),
    [
        ("linear", 9, 1),
        ("mlp", 9, 1),
        ("lenet5-1998", 28, 1),
        ("alexnet", 32, 3),
        ("vgg11-bn", 32, 3),
        ("resnet20", 32, 3),
        ("wrn-10-1", 32, 3),
        ("airbench", 32, 3),
    ],
)
def test_the_graph_of_every_net_agrees_with_it(
    untrained: Untrained, noise: Noise, name: str, side: int, channels: int
) -> None:
    assert_exports(untrained(name, side, channels), noise(5, side, channels), (1, 2, 5))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side"), [("alexnet", 227), ("vgg16", 224)])
def test_the_graph_of_a_net_at_its_published_size_agrees_with_it(
    untrained: Untrained, noise: Noise, name: str, side: int
) -> None:
    assert_exports(untrained(name, side, 3), noise(3, side, 3), (1, 3))


@pytest.mark.slow
def test_the_graph_of_a_net_of_timms_agrees_with_it(untrained: Untrained, noise: Noise) -> None:
    pytest.importorskip("timm")
    assert_exports(untrained("timm/vit_tiny_patch16_224", 32, 3), noise(3, 32, 3), (1, 3))


@pytest.fixture(scope="module")
def neighbours(digits: Path, runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of k nearest neighbours on `pixels` and on the `features` of the teacher."""
    folder = tmp_path_factory.mktemp("neighbours")
    for name, features in (("pixels", None), ("features", str(runs / "teacher"))):
        settings = {"name": name, "data": {"root": str(digits)}, "model": {"name": "knn", "features": features}}
        train(parse_recipe(settings, ""), folder / name)
    return folder


@pytest.mark.parametrize("name", ["pixels", "features"])
def test_the_graph_of_neighbours_agrees_with_them_and_holds_the_images_once(neighbours: Path, name: str) -> None:
    run = load_run(neighbours / name)
    images = run.load_split("test").images.numpy()
    assert_exports(Served(run.model), images, (1, 2, 400))
    dtype, width = (onnx.TensorProto.UINT8, 784) if name == "pixels" else (onnx.TensorProto.FLOAT, 84)
    stored = onnx.load_from_string(export_graph(Served(run.model))).graph.initializer
    assert [tensor.data_type for tensor in stored if list(tensor.dims) == [150, width]] == [dtype]


def test_neighbours_are_served_like_any_other_model(neighbours: Path, digits: Path, tmp_path: Path, toolbox) -> None:
    bundle = export(neighbours / "pixels", tmp_path / "models")
    facts = json.loads((bundle / "bundle.json").read_bytes())
    assert (facts["parameters"], facts["metrics"]["test_accuracy"]["of"]) == (0, 400)
    run = load_run(neighbours / "pixels")
    known, asked = (run.load_split(split) for split in ("train", "test"))
    oracle = KNeighborsClassifier(5).fit(known.images.flatten(1).numpy().astype(float), known.labels)
    votes = oracle.predict_proba(asked.images.flatten(1).numpy().astype(float))
    clear = np.flatnonzero(np.sort(votes)[:, -1] > np.sort(votes)[:, -2])[:40]
    with toolbox.run_server(tmp_path / "models") as server, Client(server.address) as client:
        predictions = client.classify([asked.encoded(i) for i in clear], model="pixels")
    assert [prediction.label for prediction in predictions] == [run.classes[best] for best in votes[clear].argmax(1)]
