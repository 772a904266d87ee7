import json
from pathlib import Path

import onnx
import pytest

from pupil_server.bundle import read_bundle
from pupil_server.bundle_facts import fingerprint
from pupil_server.errors import BundleError
from pupil_server.loading import prepare
from pupil_server.settings import ServerSettings


@pytest.fixture
def bundle(toolbox, tmp_path: Path) -> Path:
    return toolbox.write_bundle(tmp_path / "repository", "student", 3, seed=5)


def settings(bundle: Path) -> ServerSettings:
    return ServerSettings(repository=bundle.parent.parent, device="cpu")


def test_a_whole_bundle_is_read_with_its_calibration_and_goldens(bundle, toolbox) -> None:
    read = read_bundle(bundle)
    assert read.facts.classes == toolbox.classes
    assert read.calibration is not None
    assert (read.calibration.images, int((~read.calibration.correct).sum())) == (400, 4)
    assert [golden.name for golden in read.goldens] == ["golden/0.png", "golden/1.png", "golden/2.png"]


@pytest.mark.parametrize(
    "name", ["model.onnx", "calibration.json", "golden/golden.json", "golden/1.png", "bundle.json"]
)
def test_one_flipped_byte_anywhere_is_noticed(bundle: Path, name: str) -> None:
    data = bytearray((bundle / name).read_bytes())
    place = data.find(b"2026") + 3 if name == "bundle.json" else len(data) // 2
    data[place] ^= 1
    (bundle / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"{name}: changed since it was exported"):
        read_bundle(bundle)


@pytest.mark.parametrize("name", ["model.onnx", "calibration.json", "golden/0.png", "bundle.json"])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=name):
        read_bundle(bundle)


@pytest.mark.parametrize("outside", ["../../secret", "/etc/hostname", "golden/../../../secret"])
def test_a_bundle_that_names_files_outside_itself_is_refused(bundle: Path, toolbox, outside: str) -> None:
    facts = json.loads((bundle / "bundle.json").read_bytes())
    toolbox.seal(bundle, facts)
    facts["files"][outside] = "0" * 64
    facts["fingerprint"] = fingerprint(facts)
    (bundle / "bundle.json").write_text(json.dumps(facts))
    with pytest.raises(BundleError, match="outside the bundle"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "of format 2, but this version reads format 1; a newer Pupil wrote it"),
        ({"temperature": 0}, "temperature"),
        ({"classes": ["only"]}, "classes"),
        ({"input": {"height": 6, "width": 6, "channels": 2}}, "input.channels"),
        ({"resize": {"shortest_side": 3, "crop": "center", "interpolation": "bilinear"}}, "smaller than the input"),
        ({"version": 4}, "move it back"),
    ],
)
def test_facts_that_make_no_sense_are_named(bundle: Path, toolbox, change: dict[str, object], says: str) -> None:
    facts = json.loads((bundle / "bundle.json").read_bytes())
    toolbox.seal(bundle, facts | change)
    with pytest.raises(BundleError, match=says):
        read_bundle(bundle)


def test_a_graph_for_another_input_is_refused(bundle: Path, toolbox) -> None:
    facts = json.loads((bundle / "bundle.json").read_bytes())
    facts["input"] = {"height": 5, "width": 6, "channels": 3}
    toolbox.seal(bundle, facts)
    with pytest.raises(BundleError, match="wanted uint8 images N×5×6×3"):
        prepare(bundle, settings(bundle))


def test_a_graph_for_one_image_at_a_time_is_served_so_where_the_bundle_says_it(bundle: Path, toolbox) -> None:
    graph = onnx.load(bundle / "model.onnx")
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(graph, bundle / "model.onnx")
    facts = json.loads((bundle / "bundle.json").read_bytes())
    toolbox.seal(bundle, facts)
    with pytest.raises(BundleError, match="takes exactly 1 images, wanted a dynamic batch"):
        prepare(bundle, settings(bundle))
    toolbox.seal(bundle, facts | {"max_batch": 1})
    prepared = prepare(bundle, settings(bundle))  # which warms it with the largest batch it may get
    assert prepared.bundle.facts.largest_batch(32) == 1


def test_a_model_that_does_not_give_its_golden_scores_is_refused(bundle: Path, toolbox) -> None:
    goldens = json.loads((bundle / "golden/golden.json").read_bytes())
    goldens["images"][1]["scores"] = goldens["images"][0]["scores"]
    (bundle / "golden/golden.json").write_text(json.dumps(goldens))
    toolbox.seal(bundle, json.loads((bundle / "bundle.json").read_bytes()))
    with pytest.raises(BundleError, match=r"golden/1\.png scores differ by"):
        prepare(bundle, settings(bundle))


def test_a_class_list_that_is_too_short_is_refused(bundle: Path, toolbox) -> None:
    facts = json.loads((bundle / "bundle.json").read_bytes())
    toolbox.seal(bundle, facts | {"classes": facts["classes"][:-1]})
    with pytest.raises(BundleError, match="7 classes, the model gives 8 scores"):
        prepare(bundle, settings(bundle))


def test_a_file_that_is_no_graph_is_refused_in_words(bundle: Path, toolbox) -> None:
    (bundle / "model.onnx").write_bytes(b"no graph at all")
    toolbox.seal(bundle, json.loads((bundle / "bundle.json").read_bytes()))
    with pytest.raises(BundleError, match="ONNX Runtime refuses it on cpu"):
        prepare(bundle, settings(bundle))


def test_cuda_that_is_not_there_is_a_refusal_and_not_a_silent_fallback(bundle: Path) -> None:
    cuda = ServerSettings(repository=bundle.parent.parent, device="cuda")
    if list(Path("/dev").glob("nvidia[0-9]*")):
        assert prepare(bundle, cuda).session.device == "cuda"
        return
    with pytest.raises(BundleError, match="cuda"):
        prepare(bundle, cuda)
