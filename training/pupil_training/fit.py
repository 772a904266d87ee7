"""The run of a model that learns without steps: it keeps its training images."""

import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from pupil_training import checkpoint
from pupil_training.checkpoint import Checkpoint
from pupil_training.data.images import Images, batches
from pupil_training.data.training import TrainingData, gather
from pupil_training.devices import pick_device
from pupil_training.errors import RecipeError
from pupil_training.files import written_whole
from pupil_training.models import Classifier
from pupil_training.models.knn import KNN, NearestNeighbours
from pupil_training.models.stages import without_head
from pupil_training.pixels import to_pixels
from pupil_training.recipe import Recipe
from pupil_training.run_folder import finish, open_run
from pupil_training.runs import Run, load_run, new_classifier
from pupil_training.settings import ModelSettings
from pupil_training.team import Team


def fit(recipe: Recipe, folder: Path, team: Team, *, resume: bool, force: bool) -> Run | None:
    """The finished run in `folder`, for the team's leader; one that was interrupted begins anew.

    Of the recipe the data, the pseudo-labels and the model count; there is nothing to optimise or to augment.
    Raises TrainingError for what the user can mend.
    """
    started = time.monotonic()
    _check(recipe)
    source = load_run(recipe.model.features) if recipe.model.features else None
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"body": _body(source)})})
    data = gather(recipe)
    model = new_classifier(recipe.model, recipe.data, data.classes).eval()
    if source is not None:
        _see_through(source, model)
    _keep(data, model.to(pick_device(recipe.device, team.here)))
    open_run(recipe, data.written, {}, folder, team, resume=resume, force=force)  # now that nothing is missing
    if not team.leads:
        return None
    state = Checkpoint(0, time.monotonic() - started, model.state_dict(), raw={}, own={}, optimizer={}, scaler={})
    checkpoint.save(folder / "checkpoint.pt", state)
    run = finish(folder, recipe, model, data, [], None, time.monotonic() - started)
    right = run.result["metrics"]["validation_accuracy"]
    with written_whole(folder / "metrics.jsonl") as file:
        file.write((json.dumps({"step": 0, "validation_accuracy": right["right"] / right["of"]}) + "\n").encode())
    return run


def _check(recipe: Recipe) -> None:
    taught = recipe.distill.teacher or recipe.pool.method != "none"
    if taught or recipe.transfer.run is not None or recipe.model.weights is not None:
        raise RecipeError(
            "model.name = 'knn' only keeps labelled images: leave distill.teacher, pool.method, transfer.run and "
            "model.weights out; model.features = RUN compares what another run's net sees"
        )


def _body(source: Run | None) -> ModelSettings | None:
    if source is not None and source.recipe.model.name == KNN:
        raise RecipeError(f"model.features: {source.folder} is itself a run of 'knn', which has no features")
    return None if source is None else source.recipe.model


def _see_through(source: Run, model: Classifier) -> None:
    """Gives the model the source's normalisation and its net without the head."""
    if source.model.input != model.input:
        theirs, ours = ("×".join(map(str, size)) for size in (source.model.input, model.input))
        raise RecipeError(f"model.features: {source.folder} takes pictures of {theirs}, not {ours}; give both one size")
    model.mean.copy_(source.model.mean)
    model.std.copy_(source.model.std)
    _neighbours(model).body = without_head(source.model.net)


def _keep(data: TrainingData, model: Classifier) -> None:
    """Makes the model know the training images."""
    if data.targets is None or data.targets.ndim > 1:
        raise RecipeError("model.name = 'knn' needs one class an image: no distill.pool, mixup, cutmix or soft labels")
    net = _neighbours(model)
    if net.known.dtype == torch.uint8:
        known = data.images[:].permute(0, 3, 1, 2).flatten(1)  # in the order of flattened pixels
    else:
        known = _features(model, net.body, data.images)
    net.remember(known.to(model.mean.device), data.targets.to(model.mean.device))


@torch.no_grad()
def _features(model: Classifier, body: nn.Module, images: Images) -> Tensor:
    """(N, D) of uint8 images (N, H, W, C)."""
    pixels = (to_pixels(part) for part in batches(images, model.mean.device))
    return torch.cat([body((part - model.mean) / model.std).flatten(1) for part in pixels])


def _neighbours(model: Classifier) -> NearestNeighbours:
    assert isinstance(model.net, NearestNeighbours)
    return model.net
