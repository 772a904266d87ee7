"""Teachers that are no runs: bundles, and servers in processes of their own."""

import json
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor, nn

from pupil_client.command import main
from pupil_training.errors import NotInstalled, RunError, TeacherError, TrainingError
from pupil_training.judge.judgement import facts, judge
from pupil_training.judge.load import Exam, load_candidate
from pupil_training.loop import train
from pupil_training.models import Classifier, InputSize
from pupil_training.pixels import to_images, to_pixels
from pupil_training.recipe import Recipe, parse_recipe
from pupil_training.runs import load_run
from pupil_training.teachers import Teacher, load_teachers, logits_of_teacher, together

CPU = torch.device("cpu")
SIZE = InputSize(6, 6, 3)
CLASSES = tuple(f"class-{letter}" for letter in "abcdefgh")  # those of the toolbox's bundles
MakeRecipe = Callable[..., Recipe]


def judged(folder: Path) -> dict[str, Any]:
    """What `pupil evaluate --json` says of one run."""
    judgement = judge(load_candidate(folder), Exam("test"))
    return facts(judgement, judgement)


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory, toolbox: Any) -> Path:
    """Class folders of noise in the size and the classes of the toolbox's bundles."""
    root = tmp_path_factory.mktemp("letters")
    for seed, split, count in ((100, "train", 6), (200, "validation", 2), (300, "test", 3)):
        for place, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for i, pixels in enumerate(toolbox.random_pixels(count, seed=seed + place)):
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture
def make(letters: Path) -> MakeRecipe:
    """A recipe that follows a teacher alone."""

    def recipe(teacher: object, steps: int = 12, **settings: Any) -> Recipe:
        values = {
            "name": "student", "steps": steps, "batch_size": 8, "log_every": 5, "eval_every": 5,
            "data": {"root": letters, "height": 6, "width": 6, "channels": 3, "calibration": 0},
            "model": {"name": "vgg", "widths": [4], "convolutions": 1},
            "distill": {"teacher": teacher, "hard_weight": 0, "soft_weight": 1, "temperature": 2},
        }  # fmt: skip
        return parse_recipe({**values, **settings}, "here")

    return recipe


def load(*names: object, classes: tuple[str, ...] = CLASSES, size: InputSize = SIZE) -> Teacher:
    student = Classifier(nn.Flatten(), classes, size)
    return together(load_teachers([str(name) for name in names], student, CPU))


def scores(teacher: Teacher, images: np.ndarray) -> Tensor:
    return (logits_of_teacher(teacher, torch.from_numpy(images)) / teacher.temperature).softmax(1).double()


def same(found: Tensor, expected: np.ndarray) -> bool:
    return torch.allclose(found, torch.from_numpy(expected), atol=1e-5)


def weights(folder: Path) -> dict[str, Tensor]:
    return load_run(folder).model.state_dict()


def test_a_bundle_answers_as_its_graph_does_worked_out_without_it(repository: Path, toolbox: Any) -> None:
    images = toolbox.random_pixels(150, seed=5)  # more than the graph gets at once
    teacher = load(repository / "teacher/1")
    assert same(scores(teacher, images), toolbox.linear_scores(images, seed=1))
    facts = json.loads((repository / "teacher/1/bundle.json").read_text())
    assert teacher.described() == {
        "name": "teacher", "bundle": str(repository / "teacher/1"), "version": 1, "fingerprint": facts["fingerprint"],
    }  # fmt: skip


def test_a_model_in_a_repository_is_its_newest_version(repository: Path, toolbox: Any) -> None:
    for version in (2, 10):
        toolbox.write_bundle(repository, "teacher", version, seed=version)
    (repository / "teacher/.11.4711").mkdir()  # an export that was killed
    assert load(repository / "teacher").described()["version"] == 10
    assert load(repository / "teacher/2").described()["version"] == 2


def test_pixels_between_two_levels_are_rounded(repository: Path, toolbox: Any) -> None:
    images = toolbox.random_pixels(4, seed=5)
    pixels = to_pixels(torch.from_numpy(images))
    assert torch.equal(to_images(pixels), torch.from_numpy(images))
    nearly = (pixels + 0.4 / 255).clamp(0, 1)
    teacher = load(repository / "teacher")
    assert torch.equal(teacher(nearly), teacher(pixels))
    assert not torch.equal(teacher((pixels + 0.6 / 255).clamp(0, 1)), teacher(pixels))


def test_a_bundle_with_its_classes_in_another_order_answers_in_the_students(repository: Path, toolbox: Any) -> None:
    images = toolbox.random_pixels(3, seed=5)
    teacher = load(repository / "teacher", classes=CLASSES[::-1])
    assert same(scores(teacher, images).flip(1), toolbox.linear_scores(images, seed=1))


def test_a_bundle_of_another_size_or_of_other_classes_is_refused(repository: Path) -> None:
    with pytest.raises(RunError, match="takes pictures of 6×6×3, the student of 28×28×1"):
        load(repository / "teacher", size=InputSize(28, 28, 1))
    with pytest.raises(RunError, match=r"other classes than the teacher .*: without \['class-h'\]"):
        load(repository / "teacher", classes=CLASSES[:-1])


def broken(folder: Path, what: str) -> None:
    graph, file = folder / "model.onnx", folder / "bundle.json"
    if what == "changed":
        graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    elif what == "gone":
        graph.unlink()
    elif what == "later":
        file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 2}))
    else:
        file.write_text(what)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("changed", r"model\.onnx: not the file that bundle\.json was written for; export the bundle again"),
        ("gone", r"model\.onnx: no such file"),
        ("later", r"bundle\.json: not of format 1"),
        ("[1]", r"bundle\.json: not of format 1"),
        ("{", r"bundle\.json: not JSON"),
        ('{"format": 1}', r"bundle\.json: says nothing of model, version"),
    ],
)
def test_a_bundle_that_is_not_whole_is_refused(repository: Path, what: str, message: str) -> None:
    broken(repository / "teacher/1", what)
    with pytest.raises(TrainingError, match=message):
        load(repository / "teacher")


def test_without_onnxruntime_a_bundle_says_what_brings_it(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(NotInstalled, match=r"a bundle needs onnxruntime: pip install 'pupil\[export\]'"):
        load(repository / "teacher")


def test_a_student_learns_from_a_bundle_and_is_judged_beside_it_while_it_is_there(
    make: MakeRecipe, repository: Path, toolbox: Any, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    run = train(make(repository / "teacher"), tmp_path / "runs/student")
    assert {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()} == before
    entry = run.result["teachers"][0]
    assert (entry["name"], entry["version"]) == ("teacher", 1)
    assert (run.folder / entry["bundle"]).resolve() == (repository / "teacher/1").resolve()
    report = judged(run.folder)
    images = run.load_split("test")
    theirs = torch.from_numpy(toolbox.linear_scores(images.images.numpy(), seed=1))
    ours = (run.model(to_pixels(images.images)) / run.model.temperature).softmax(1).double()
    assert report["agreement"] == {"right": int((ours.argmax(1) == theirs.argmax(1)).sum()), "of": 24}
    assert report["kl"] == pytest.approx((theirs * (theirs / ours).log()).sum(1).mean().item(), rel=1e-4)
    shutil.rmtree(repository)
    assert "agreement" not in judged(run.folder)


def test_a_server_answers_as_the_graph_behind_it(server: Any, toolbox: Any) -> None:
    images = toolbox.random_pixels(150, seed=5)
    for name in ("teacher", "teacher/1"):
        teacher = load(f"grpc://{server.address}/{name}")
        assert same(scores(teacher, images), toolbox.linear_scores(images, seed=1))
        assert teacher.temperature == 1.0
    about = teacher.described()
    assert (about["name"], about["server"], about["version"]) == ("teacher", server.address, 1)
    assert len(about["fingerprint"]) == 64


def test_several_teachers_of_different_kinds_teach_the_mean_of_their_scores(
    server: Any, repository: Path, toolbox: Any
) -> None:
    images = toolbox.random_pixels(5, seed=5)
    both = load(repository / "teacher", f"grpc://{server.address}/student")
    expected = (toolbox.linear_scores(images, seed=1) + toolbox.linear_scores(images, seed=2)) / 2
    assert same(scores(both, images), expected)
    assert both.name == "teacher + student"


def test_a_server_that_cannot_teach_is_named_in_one_line(server: Any) -> None:
    cases = {
        f"grpc://{server.address}": ": a server is named grpc://host:port/model, ",
        f"grpc://{server.address}/dean": "dean.* cannot teach: .*student.*teacher",
        f"grpc://{server.address}/teacher@newest": "cannot teach: .*newest",
        f"grpc://{server.address}/teacher/x": "cannot teach: .*whole number",
        "grpc://127.0.0.1:9/teacher": "cannot teach: no server at 127.0.0.1:9",
    }
    for name, message in cases.items():
        with pytest.raises(TeacherError, match=message) as error:
            load(name)
        assert "\n" not in str(error.value)


def test_a_server_that_asks_for_a_token_is_shown_that_of_the_environment(
    repository: Path, toolbox: Any, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = CliRunner().invoke(main, ["token", "trainer", "--scope", "infer"])
    tokens = repository.parent / "tokens.toml"
    tokens.write_text(made.stdout)
    images = toolbox.random_pixels(3, seed=4)
    with start("--tokens", str(tokens)) as server:
        with pytest.raises(TeacherError, match="cannot teach: a valid token is needed"):
            load(f"grpc://{server.address}/teacher")
        monkeypatch.setenv("PUPIL_TOKEN", made.stderr.split()[-1])
        teacher = load(f"grpc://{server.address}/teacher")
        assert same(scores(teacher, images), toolbox.linear_scores(images, 1))
    assert "TOKEN" not in str(teacher.described()).upper()


def test_a_server_is_asked_by_alias_and_stays_the_version_that_it_was(
    repository: Path, toolbox: Any, start: Callable[..., Any]
) -> None:
    from pupil_client import Client

    toolbox.write_bundle(repository, "teacher", 2, seed=7)
    images = toolbox.random_pixels(3, seed=5)
    with start() as server, Client(server.address) as client:
        client.load("teacher/1", keep_others=True)
        client.set_alias("teacher", "first", 1)
        teacher = load(f"grpc://{server.address}/teacher@first")
        client.load("teacher/2", keep_others=True)
        client.set_alias("teacher", "first", 2)
        assert teacher.described()["version"] == 1
        assert same(scores(teacher, images), toolbox.linear_scores(images, seed=1))
        assert same(scores(load(f"grpc://{server.address}/teacher@first"), images), toolbox.linear_scores(images, 7))


def until_it_answers(address: str) -> None:
    """grpc remembers for some seconds, over all channels of a process, that nobody was at an address."""
    from pupil_client import Client, PupilError

    patience = time.monotonic() + 60
    with Client(address) as client:
        while time.monotonic() < patience:
            try:
                client.models()
            except PupilError:
                continue
            return


def test_a_run_whose_server_went_away_ends_in_one_line_and_goes_on_when_it_is_back(
    make: MakeRecipe, start: Callable[..., Any], tmp_path: Path
) -> None:
    folder, ended = tmp_path / "student", []

    def learn(settings: Recipe) -> None:
        try:
            train(settings, folder)
        except TeacherError as error:
            ended.append(str(error))

    with start() as server:
        settings = make(f"grpc://{server.address}/teacher", steps=150, augment={"shift": 1})
        whole = train(settings, tmp_path / "whole")
        thread = threading.Thread(target=learn, args=(settings,))
        thread.start()
        metrics = folder / "metrics.jsonl"
        while thread.is_alive() and not (metrics.exists() and '"step": 20,' in metrics.read_text()):
            time.sleep(0.005)
        server.process.kill()
        thread.join(60)
    (line,) = ended
    assert line.startswith(f"the teacher grpc://{server.address}/teacher stopped teaching")
    assert "--resume" in line
    assert "\n" not in line
    port = server.address.rpartition(":")[2]
    with start("--port", port) as server:
        until_it_answers(server.address)
        resumed = train(settings, folder, resume=True)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert resumed.result["teachers"][0]["server"] == server.address
    assert "agreement" not in judged(folder)
    assert resumed.result["metrics"]["validation_agreement"]["of"] == 16
