import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from pupil_training import checkpoint
from pupil_training.data.feed import Batch
from pupil_training.errors import RunError, TrainingError
from pupil_training.evaluate import logits_of
from pupil_training.failure import main as diagnose
from pupil_training.failure import replay, write_failure
from pupil_training.loop import train
from pupil_training.models import Classifier
from pupil_training.pixels import to_pixels
from pupil_training.recipe import Recipe
from pupil_training.runs import Run, load_run
from pupil_training.teachers import load_teachers, logits_of_teacher, together
from pupil_training.teachers.run_teacher import RunTeacher

MakeRecipe = Callable[..., Recipe]
TrainAndKill = Callable[..., None]


def fingerprint(model: nn.Module) -> str:
    whole = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        whole.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return whole.hexdigest()


def accuracy(run: Run, split: str) -> float:
    images = run.load_split(split)
    assert images.labels is not None
    return (logits_of(run.model, images.images).argmax(1) == images.labels).float().mean().item()


def test_training_learns_bars_that_it_has_not_seen(teacher_run: Run) -> None:
    assert accuracy(teacher_run, "test") > 0.9


def test_two_runs_with_one_seed_end_in_the_same_weights(recipe: MakeRecipe, tmp_path: Path) -> None:
    settings = {"augment": {"shift": 2, "rotate": 5, "contrast": 0.2}, "model": {"dropout": 0.3}}
    first, again = (train(recipe(**settings, seed=5), tmp_path / name) for name in ("first", "again"))
    other = train(recipe(**settings, seed=6), tmp_path / "other")
    assert fingerprint(first.model) == fingerprint(again.model) != fingerprint(other.model)


def test_a_run_that_was_killed_and_resumed_ends_in_the_same_weights(
    recipe: MakeRecipe, train_and_kill: TrainAndKill, tmp_path: Path
) -> None:
    settings = recipe(steps=150, eval_every=10, log_every=5, model={"dropout": 0.3}, augment={"shift": 1})
    whole = train(settings, tmp_path / "whole")
    train_and_kill(settings, tmp_path / "killed", at='"step": 25')
    assert not (tmp_path / "killed" / "result.json").exists()
    with pytest.raises(RunError, match="unfinished"):
        load_run(tmp_path / "killed")
    resumed = train(settings, tmp_path / "killed", resume=True)
    assert fingerprint(resumed.model) == fingerprint(whole.model)
    metrics = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "killed")]
    assert metrics[0] == metrics[1]


def test_an_interrupted_run_is_not_lost_by_the_same_command(
    recipe: MakeRecipe, train_and_kill: TrainAndKill, tmp_path: Path
) -> None:
    train_and_kill(recipe(steps=150, eval_every=10, log_every=5), tmp_path, at='"step": 25')
    with pytest.raises(RunError, match="holds an interrupted run; --resume goes on with it, --force begins anew"):
        train(recipe(steps=150, eval_every=10, log_every=5), tmp_path)
    assert checkpoint.load(tmp_path / "checkpoint.pt").step in (20, 30)
    assert train(recipe(steps=12), tmp_path, force=True).result["steps"] == 12


def test_a_run_is_not_resumed_with_other_settings(recipe: MakeRecipe, tmp_path: Path) -> None:
    train(recipe(), tmp_path)
    (tmp_path / "result.json").unlink()
    with pytest.raises(RunError, match=r"other settings: optim\.learning_rate=0\.5 \(it was 0\.005\)"):
        train(recipe(optim={"learning_rate": 0.5}), tmp_path, resume=True)


def test_a_finished_run_is_not_overwritten_unless_forced(recipe: MakeRecipe, tmp_path: Path) -> None:
    before = fingerprint(train(recipe(), tmp_path).model)
    for resume in (False, True):
        with pytest.raises(RunError, match="holds a finished run"):
            train(recipe(seed=9), tmp_path, resume=resume)
    assert fingerprint(load_run(tmp_path).model) == before
    assert fingerprint(train(recipe(seed=9), tmp_path, force=True).model) != before


def test_a_finished_run_survives_a_command_that_cannot_start(recipe: MakeRecipe, tmp_path: Path) -> None:
    before = fingerprint(train(recipe(), tmp_path / "run").model)
    for settings in (recipe(data={"root": tmp_path}), recipe(distill={"teacher": tmp_path / "nowhere"})):
        with pytest.raises(TrainingError):
            train(settings, tmp_path / "run", force=True)
    assert fingerprint(load_run(tmp_path / "run").model) == before


def test_a_run_read_back_gives_the_same_answers(recipe: MakeRecipe, tmp_path: Path) -> None:
    run = train(recipe(), tmp_path)
    back = load_run(tmp_path)
    images = run.load_split("validation").images
    assert torch.equal(logits_of(run.model, images), logits_of(back.model, images))
    assert (back.classes, back.recipe, back.result) == (run.classes, run.recipe, run.result)
    assert back.model.temperature.item() == run.result["temperature"] != 1.0
    assert not back.model.training


def test_the_temperature_makes_the_validation_split_likeliest(recipe: MakeRecipe, tmp_path: Path) -> None:
    run = train(recipe(), tmp_path)  # twelve steps, so that some answers are wrong
    images = run.load_split("validation")
    assert images.labels is not None
    logits = logits_of(run.model, images.images)
    fitted = run.result["temperature"]
    nll = [nn.functional.cross_entropy(logits / t, images.labels).item() for t in (fitted * 0.9, fitted, fitted * 1.1)]
    assert run.result["metrics"]["validation_nll"] == pytest.approx(nll[1], abs=1e-6)
    assert nll[1] < min(nll[0], nll[2])


def test_a_loss_that_is_no_number_is_named_with_its_step_and_can_be_replayed(
    recipe: MakeRecipe, tmp_path: Path
) -> None:
    with pytest.raises(
        FloatingPointError, match=r"no number any more at step \d+ \(hard (nan|inf)\); .*failure\.pt$"
    ) as error:
        train(recipe(optim={"name": "sgd", "learning_rate": 1e30}), tmp_path)
    found = replay(tmp_path / "failure.pt")
    assert f"at step {found.step} " in str(error.value)
    assert found.layer is not None
    assert found.images
    told = CliRunner().invoke(diagnose, [str(tmp_path / "failure.pt")])
    assert f"first in layer {found.layer}, for {len(found.images)} images" in told.stdout
    other = tmp_path / "splits.json"
    told = CliRunner().invoke(diagnose, [str(other)])
    assert told.stderr == f"Error: {other}: damaged, or not what a failed run left (UnpicklingError)\n"
    torch.save({"step": 1}, tmp_path / "checkpoint.pt")
    with pytest.raises(RunError, match=r"checkpoint\.pt: damaged, or not what a failed run left \(KeyError\)"):
        replay(tmp_path / "checkpoint.pt")


def test_a_poisoned_image_is_found_by_replaying_the_step(recipe: MakeRecipe, tmp_path: Path) -> None:
    settings = recipe(steps=1, batch_size=36, model={"name": "vgg", "widths": [4]})
    student = train(settings, tmp_path).model
    student.net[0].weight.data[2] = float("inf")
    images = torch.zeros(3, 28, 28, 1, dtype=torch.uint8)
    batch = Batch(
        7, 0, images, torch.zeros(3, dtype=torch.int64), torch.tensor([5, 8, 2]), torch.zeros(3, dtype=torch.int64)
    )
    error = write_failure(tmp_path, settings, student, batch, {"hard": torch.tensor(float("nan"))})
    assert "at step 7 (hard nan)" in str(error)
    found = replay(tmp_path / "failure.pt")
    assert (found.step, found.layer, sorted(found.images)) == (7, "net.0", [2, 5, 8])


def test_a_distilled_student_follows_its_teacher_and_says_how_closely(
    recipe: MakeRecipe, teacher_run: Run, tmp_path: Path
) -> None:
    distill = {"teacher": teacher_run.folder, "hard_weight": 0.0, "soft_weight": 1.0}
    settings = recipe(steps=120, eval_every=120, batch_size=16, distill=distill, augment={"shift": 5})
    student = train(settings, tmp_path / "student")
    images = student.load_split("validation").images
    same = logits_of(student.model, images).argmax(1) == logits_of(teacher_run.model, images).argmax(1)
    assert student.result["metrics"]["validation_agreement"] == {"right": int(same.sum()), "of": 12}
    assert student.result["metrics"]["validation_kl"] > 0
    assert student.result["teachers"][0]["name"] == "teacher"
    assert (student.folder / student.result["teachers"][0]["run"]).resolve() == teacher_run.folder.resolve()
    assert accuracy(student, "test") > 0.8


def test_the_teacher_is_the_same_after_a_student_was_taught(
    recipe: MakeRecipe, teacher_run: Run, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in teacher_run.folder.iterdir()}
    train(recipe(distill={"teacher": teacher_run.folder}), tmp_path)
    assert {path.name: path.read_bytes() for path in teacher_run.folder.iterdir()} == before


def test_a_teacher_inside_a_training_module_keeps_its_state_and_answers_without_noise(teacher_run: Run) -> None:
    teacher = RunTeacher.load(teacher_run.folder, torch.device("cpu"))
    before = fingerprint(teacher)
    whole = nn.ModuleList([teacher, nn.Linear(2, 2)]).train()
    pixels = to_pixels(teacher_run.load_split("test").images)
    first, again = teacher(pixels), teacher(pixels)
    assert whole.training
    assert torch.equal(first, again)
    assert fingerprint(teacher) == before
    assert not first.requires_grad


def test_cached_logits_teach_what_live_ones_do_where_nothing_is_augmented(
    recipe: MakeRecipe, teacher_run: Run, tmp_path: Path
) -> None:
    live, cached = (
        train(recipe(distill={"teacher": teacher_run.folder, "logits": logits}), tmp_path / logits)
        for logits in ("live", "cached")
    )
    for ours, theirs in zip(live.model.state_dict().values(), cached.model.state_dict().values(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3)  # the cache is float16


def test_a_student_learns_from_the_pool_without_any_label(recipe: MakeRecipe, teacher_run: Run, tmp_path: Path) -> None:
    distill = {"teacher": teacher_run.folder, "hard_weight": 0.0, "pool": True}
    run = train(recipe(distill=distill), tmp_path)
    assert run.result["images"] == {"train": 36, "validation": 12, "pool": 12}
    assert set(run.result["data"]) == {"train", "validation", "pool"}


def test_a_teacher_of_other_classes_is_refused_with_the_difference(
    recipe: MakeRecipe, teacher_run: Run, bars_folder: Path, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        for name in ("cross", "level"):
            (tmp_path / split).mkdir(exist_ok=True)
            (tmp_path / split / name).symlink_to(bars_folder / split / name)
    settings = recipe(data={"root": tmp_path}, distill={"teacher": teacher_run.folder})
    with pytest.raises(RunError, match=r"other classes than the teacher .*: without \['upright'\], with \[\]"):
        train(settings, tmp_path / "student")


def test_a_teacher_with_the_classes_in_another_order_answers_in_the_students(teacher_run: Run) -> None:
    student = Classifier(nn.Flatten(), ("upright", "level", "cross"), teacher_run.model.input)
    (teacher,) = load_teachers([str(teacher_run.folder)], student, torch.device("cpu"))
    images = teacher_run.load_split("test").images
    assert torch.allclose(logits_of_teacher(teacher, images).flip(1), logits_of(teacher_run.model, images), atol=1e-5)
    assert teacher.described()["name"] == "teacher"


def test_several_teachers_teach_the_mean_of_their_calibrated_scores(
    recipe: MakeRecipe, teacher_run: Run, tmp_path: Path
) -> None:
    other = train(recipe(name="other"), tmp_path / "other")
    names = [str(teacher_run.folder), str(tmp_path / "other")]
    both = together(load_teachers(names, teacher_run.model, torch.device("cpu")))
    images = teacher_run.load_split("test").images
    scores = [(logits_of(run.model, images) / run.model.temperature).softmax(1) for run in (teacher_run, other)]
    assert torch.allclose(logits_of_teacher(both, images).softmax(1), (scores[0] + scores[1]) / 2, atol=1e-5)
    student = train(recipe(distill={"teacher": names}), tmp_path / "student")
    assert [teacher["name"] for teacher in student.result["teachers"]] == ["teacher", "other"]


def test_a_teacher_of_another_picture_size_is_refused(recipe: MakeRecipe, teacher_run: Run, tmp_path: Path) -> None:
    settings = recipe(data={"height": 32, "width": 32}, distill={"teacher": teacher_run.folder})
    with pytest.raises(RunError, match="takes pictures of 28×28×1, the student of 32×32×1"):
        train(settings, tmp_path)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run"):
        load_run(tmp_path)


def test_a_published_lenet_trains_too(recipe: MakeRecipe, tmp_path: Path) -> None:
    settings = recipe(steps=60, eval_every=60, batch_size=16, model={"name": "lenet5-1998"})
    assert accuracy(train(settings, tmp_path), "test") > 0.6
