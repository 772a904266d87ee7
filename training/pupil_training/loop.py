"""The training run, told once: with labels, with a teacher, or with both."""

import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from pupil_training import checkpoint
from pupil_training.augment import augment, to_pixels
from pupil_training.checkpoint import Checkpoint
from pupil_training.data.training import gather
from pupil_training.distill import Teach, Teacher, cached, live, load_teacher
from pupil_training.errors import RecipeError
from pupil_training.evaluate import accuracy, logits_of
from pupil_training.log import RunLog
from pupil_training.losses import distillation_loss
from pupil_training.malloc import keep_memory
from pupil_training.models import Classifier
from pupil_training.optim import build_optimizer, learning_rate
from pupil_training.recipe import Recipe
from pupil_training.run_folder import finish, open_run
from pupil_training.runs import Run, new_classifier
from pupil_training.seeds import batch_indices, generator, random_states, restore_random_states, seed_everything


def train(recipe: Recipe, folder: Path, *, resume: bool = False, force: bool = False) -> Run:
    """The finished run in `folder`; distilled where the recipe names a teacher.

    On one machine's CPU the seed decides every weight, and a run that was killed and resumed ends in the
    same weights. The weights are the last step's: validation chooses nothing but the temperature.
    Raises TrainingError for what the user can mend, FloatingPointError when the loss is no number any more.
    """
    started = time.monotonic()
    keep_memory()
    torch.set_num_threads(usable_cores())
    seed_everything(recipe.seed)
    device = pick_device(recipe.device)

    data = gather(recipe)
    images = data.images.to(device)
    targets = None if data.targets is None else data.targets.to(device)

    student = new_classifier(recipe.model, recipe.data, data.classes)
    student.normalise_by(data.images)
    student.to(device).to(memory_format=torch.channels_last)  # twice as fast for convolutions, also on a CPU
    teacher_run = load_teacher(recipe.distill.teacher, student) if recipe.distill.teacher else None
    teacher = None if teacher_run is None else _teach(recipe, Teacher(teacher_run.model.to(device)), images)
    optimizer = build_optimizer(student, recipe.optim)

    before = open_run(recipe, folder, resume=resume, force=force)  # now that nothing is missing
    if before:
        started -= before.seconds
        _restore(before, student, optimizer)

    student.train()
    with RunLog(folder, recipe, first_step=before.step + 1 if before else 1) as log:
        for step in log.steps():
            rate = learning_rate(step, recipe.steps, recipe.optim)
            for group in optimizer.param_groups:
                group["lr"] = rate

            chosen = batch_indices(step, recipe.batch_size, len(images), recipe.seed).to(device)
            labels = None if targets is None else targets[chosen]
            pixels = augment(to_pixels(images[chosen]), recipe.augment, generator(recipe.seed, "augment", step))

            logits = student(pixels)
            if teacher:
                loss = distillation_loss(
                    logits,
                    teacher(pixels, chosen),
                    labels,
                    temperature=recipe.distill.temperature,
                    hard_weight=recipe.distill.hard_weight,
                    soft_weight=recipe.distill.soft_weight,
                )
            else:
                assert labels is not None  # only a teacher can do without
                loss = F.cross_entropy(logits, labels)

            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()

            evaluating = step == recipe.steps or step % recipe.eval_every == 0
            if evaluating or step % recipe.log_every == 0:
                if not loss.isfinite():
                    raise FloatingPointError(f"the loss became {loss.item()} {log.since_last_line(step)}")
                log.write(step, loss=loss.item(), learning_rate=rate)
            if evaluating:
                right = accuracy(logits_of(student, data.validation.images), data.validation_labels)
                log.write(step, validation_accuracy=right.share)
                checkpoint.save(folder / "checkpoint.pt", _state(step, student, optimizer, started))

    return finish(folder, recipe, student.cpu(), data, teacher_run, time.monotonic() - started)


def usable_cores() -> int:
    """The cores that this process may use, which a container or taskset may have made few."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pick_device(name: str) -> torch.device:
    """ "auto" is CUDA where there is one. Raises RecipeError where CUDA is asked for and missing."""
    if name == "cuda" and not torch.cuda.is_available():
        raise RecipeError("device = 'cuda', but this machine has no CUDA device; use device = 'auto'")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _teach(recipe: Recipe, teacher: Teacher, images: Tensor) -> Teach:
    return cached(teacher, images) if recipe.distill.logits == "cached" else live(teacher)


def _state(step: int, student: Classifier, optimizer: Optimizer, started: float) -> Checkpoint:
    seconds = time.monotonic() - started
    return Checkpoint(step, seconds, student.state_dict(), optimizer.state_dict(), random_states())


def _restore(before: Checkpoint, student: Classifier, optimizer: Optimizer) -> None:
    student.load_state_dict(before.model)
    optimizer.load_state_dict(before.optimizer)
    restore_random_states(before.random)
