"""A cascade of two graphs that somebody else exported: of other sizes, and one that takes one image at a time."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pupil_client import Cascade, Client
from pupil_client.command import main
from pupil_client.own_server import running_server

IMAGES = 300
CLASSES = ("cat", "dog", "fox")


def weights(side: int) -> np.ndarray:
    """Of a class each: how bright the image is above, in the middle and below."""
    above = np.repeat(np.eye(3), [side // 3 + (side % 3 > band) for band in range(3)], axis=0)  # (side, 3)
    return np.tile(above[None, :, None, :], (3, 1, side, 1)).reshape(3 * side * side, 3).astype(np.float32) / side


def write_graph(file: Path, side: int, *, alone: bool) -> None:
    """A linear classifier of side × side RGB; `alone` it adds the batch's mean, so that it is right for one image."""
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])]
    if alone:
        nodes.append(helper.make_node("ReduceMean", ["y"], ["mean"], axes=[0], keepdims=1))
        nodes.append(helper.make_node("Add", ["y", "mean"], ["z"]))
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1 if alone else "N", 3, side, side]),
        helper.make_tensor_value_info("z" if alone else "y", TensorProto.FLOAT, [1 if alone else "N", 3]),
    ]
    graph = helper.make_graph(nodes, "linear", ends[:1], ends[1:], [numpy_helper.from_array(weights(side), "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), file)


def by_hand(image: Image.Image, side: int, *, alone: bool) -> np.ndarray:
    """Logits (3,), without ONNX."""
    small = image if side == image.width else image.resize((side, side), Image.Resampling.BILINEAR)
    fed = (np.array(small) / 255 - 0.5) / 0.25
    logits = fed.transpose(2, 0, 1).reshape(-1) @ weights(side).astype(np.float64)
    return 2 * logits if alone else logits


@pytest.fixture
def photos(tmp_path: Path) -> list[Image.Image]:
    (tmp_path / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 9, 9, 3), dtype=np.uint8)
    found = [Image.fromarray(image) for image in pixels]
    for number, photo in enumerate(found):
        photo.save(tmp_path / f"photos/{number:03}.png")
    return found


def test_both_are_shown_what_they_want_to_see_and_a_server_certifies_what_they_said(
    photos: list[Image.Image], tmp_path: Path
) -> None:
    for name, side, alone in (("small", 9, True), ("large", 6, False)):
        write_graph(tmp_path / f"{name}.onnx", side, alone=alone)
        words = ("import", tmp_path / f"{name}.onnx", "--repository", tmp_path / "models", "--name", name,
                 "--classes", ",".join(CLASSES), "--mean", 0.5, "--std", 0.25)  # fmt: skip
        assert CliRunner().invoke(main, [str(word) for word in words]).exit_code == 0
    assert json.loads((tmp_path / "models/small/1/bundle.json").read_text())["max_batch"] == 1
    small = np.array([by_hand(photo, 9, alone=True) for photo in photos])
    large = np.array([by_hand(photo, 6, alone=False) for photo in photos])
    same = small.argmax(axis=1) == large.argmax(axis=1)
    assert 0 < same.sum() < IMAGES

    words = ("cascade", tmp_path / "models/small/1", tmp_path / "models/large/1", "--images", tmp_path / "photos",
             "--limit", 0.05, "--json")  # fmt: skip
    done = CliRunner().invoke(main, [str(word) for word in words])
    row = json.loads(done.stdout)
    (written,) = (tmp_path / "models/small/cascades").iterdir()
    facts = json.loads(written.read_text())
    assert facts["predicted"] == small.argmax(axis=1).tolist()
    assert facts["teacher_predicted"] == large.argmax(axis=1).tolist()
    scores = np.exp(small) / np.exp(small).sum(axis=1, keepdims=True)
    assert facts["confidence"] == pytest.approx(scores.max(axis=1).tolist(), abs=1e-4)
    assert (row["cost"], row["time"]) == (None, None)

    files = sorted((tmp_path / "photos").iterdir())
    with running_server(tmp_path / "models", tmp_path / "log") as address, Client(address) as client:
        found = client.classify(files, model="small", cascade=Cascade(0.05, teacher="large"))
    wanted = ["student" if sure >= row["threshold"] else "teacher" for sure in facts["confidence"]]
    assert [each.route for each in found] == wanted
    assert set(wanted) == {"student", "teacher"}
    differ = sum(each.label != CLASSES[best] for each, best in zip(found, large.argmax(axis=1), strict=True))
    assert differ == row["lost"]
