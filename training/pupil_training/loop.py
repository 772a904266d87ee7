"""The training run, told once, whatever it learns from."""

import time
from contextlib import closing
from pathlib import Path

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from pupil_training import checkpoint
from pupil_training.data.order import Cut
from pupil_training.data.training import gather
from pupil_training.devices import autocast, compiled, pick_device, usable_cores
from pupil_training.ema import Ema
from pupil_training.evaluate import logits_of, shares
from pupil_training.failure import check_answers, write_failure
from pupil_training.fit import fit
from pupil_training.learner import Learner
from pupil_training.log import RunLog
from pupil_training.malloc import keep_memory
from pupil_training.models.knn import KNN
from pupil_training.objectives import Lesson, build_objective
from pupil_training.optim import build_optimizer, learning_rate, set_rate
from pupil_training.recipe import Recipe
from pupil_training.run_folder import finish, open_run, origin
from pupil_training.runs import Run, load_run
from pupil_training.seeds import seed_everything, seed_step
from pupil_training.student import new_student
from pupil_training.teachers import load_teachers, logits_on
from pupil_training.teachers.kept import kept_answers
from pupil_training.team import Team, joined
from pupil_training.transfer import Thaw, rates


def train(recipe: Recipe, folder: Path, *, resume: bool = False, force: bool = False) -> Run:
    """The finished run in `folder`. Under `torchrun`, several processes train it together.

    On one machine's CPU the seed decides every weight, and a run that was killed and resumed ends in the
    same weights. The weights are the last step's: validation chooses nothing but the temperature.
    Where images are streamed, processes start that import the calling program: let it stand below
    `if __name__ == "__main__"`.
    Raises TrainingError for what the user can mend, FloatingPointError when the loss is no number any more.
    """
    keep_memory()
    with joined(recipe.device) as team:
        torch.set_num_threads(max(1, usable_cores() // team.beside))
        learn = fit if recipe.model.name == KNN else _train
        run = learn(recipe, folder, team, resume=resume, force=force)
        team.told(None)  # the leader writes the run; the others wait for it
        return run or load_run(folder)


def _train(recipe: Recipe, folder: Path, team: Team, *, resume: bool, force: bool) -> Run | None:
    started = time.monotonic()
    seed_everything(recipe.seed)
    device = pick_device(recipe.device, team.here)
    cut = Cut(recipe.accumulate, team.processes, team.process)

    data = gather(recipe)
    student = new_student(recipe, data.images, data.classes).to(device).to(memory_format=torch.channels_last)
    teachers = load_teachers(recipe.distill.teacher, student, device)
    ema = Ema(student, recipe.ema) if recipe.ema else None
    answers = kept_answers(recipe, folder, data, teachers, team, device)
    objective = build_objective(recipe, data, student, teachers, answers, ema, cut, device)
    optimizer = build_optimizer([*rates(student, recipe), (objective.own, 1.0)], recipe.optim)
    scaler = GradScaler(device.type, enabled=recipe.amp == "fp16")
    learner = Learner(student, objective, ema, optimizer, scaler, origin(data, teachers))
    thaw = Thaw(student, recipe.transfer)
    feed = data.feed(recipe, cut, device)
    theirs = logits_on(data.validation.images, teachers, device) if team.leads else None

    # now that nothing is missing
    before = open_run(recipe, data.written, learner.origin, folder, team, resume=resume, force=force)
    if before:
        learner.restore(before)
        started -= before.seconds

    lesson = Lesson(compiled(student) if recipe.compile else student, objective)
    whole = recipe.transfer.mode == "whole" and not recipe.distill.watches_layers  # which may be followed alone
    learn = team.wrap(lesson, all_used=whole)
    student.train()
    first_step = before.step + 1 if before else 1
    with closing(data), RunLog(folder, recipe, first_step, leads=team.leads) as log:
        log.say(data.sentence())
        for step in log.steps():
            rate = learning_rate(step, recipe.steps, recipe.optim)
            set_rate(optimizer, rate)
            seed_step(recipe.seed, step, team.process)
            thaw.at(step)

            parts = []
            for batch in feed.parts(step):
                with autocast(recipe.amp, device):
                    losses = learn(batch)
                loss = torch.stack(list(losses.values())).sum()
                if not loss.isfinite():
                    raise write_failure(folder, recipe, student, batch, losses)
                learner.scaler.scale(loss / recipe.accumulate).backward()  # type: ignore[no-untyped-call]
                parts.append(losses)

            if recipe.optim.clip:
                learner.scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(lesson.parameters(), recipe.optim.clip)
            learner.scaler.step(optimizer)
            learner.scaler.update()
            optimizer.zero_grad(set_to_none=True)
            if ema:
                ema.follow(step)

            evaluating = step == recipe.steps or step % recipe.eval_every == 0
            if evaluating or step % recipe.log_every == 0:
                terms = {name: team.mean(torch.stack([part[name] for part in parts]).mean()) for name in losses}
                log.write(step, loss=sum(terms.values()), learning_rate=rate, **terms)
            if evaluating and team.leads:
                logits = logits_of(learner.result, data.validation.images)
                check_answers(logits, step)
                log.write(step, **shares(logits, data.validation_labels, theirs))
                checkpoint.save(folder / "checkpoint.pt", learner.state(step, time.monotonic() - started))
    if not team.leads:
        return None
    return finish(folder, recipe, learner.result, data, teachers, theirs, time.monotonic() - started)
