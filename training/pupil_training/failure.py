"""What is left of a run whose loss became no number: the step, its images and the weights before it, to replay.

python -m pupil_training.failure runs/teacher/failure.pt
"""

from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from torch import Tensor, nn

from pupil_training.commands import one_line_errors
from pupil_training.data.feed import Batch
from pupil_training.errors import RunError
from pupil_training.files import written_whole
from pupil_training.models import Classifier
from pupil_training.objectives.objective import Losses
from pupil_training.recipe import Recipe
from pupil_training.runs import new_classifier

FILE = "failure.pt"


class Diagnosis(NamedTuple):
    """Where numbers ended."""

    step: int
    terms: dict[str, float]
    layer: str | None  # the first whose output is not finite; None where the net's answer still is
    images: list[int]  # of the batch, those for which that is so


def write_failure(
    folder: Path, recipe: Recipe, student: Classifier, batch: Batch, losses: Losses
) -> FloatingPointError:
    """Keeps what made `losses`, and the error that says so.

    To be called before the optimiser's step, while the weights are those that made them.
    """
    state: dict[str, Any] = {
        "recipe": recipe.model_dump_json(),
        "classes": list(student.classes),
        "step": batch.step,
        "part": batch.part,
        "terms": {name: term.item() for name, term in losses.items()},
        "images": batch.images.cpu(),
        "chosen": batch.chosen,
        "epochs": batch.epochs,
        "weights": {name: tensor.cpu() for name, tensor in student.state_dict().items()},
    }
    with written_whole(folder / FILE) as file:
        torch.save(state, file)
    terms = ", ".join(f"{name} {value:.4g}" for name, value in state["terms"].items())
    return FloatingPointError(
        f"the loss is no number any more at step {batch.step} ({terms}); where it began: "
        f"python -m pupil_training.failure {folder / FILE}"
    )


def check_answers(logits: Tensor, step: int) -> None:
    """Raises FloatingPointError for answers that are no numbers, before the weights after this step are kept."""
    if not logits.isfinite().all():
        raise FloatingPointError(
            f"after step {step} the model's answers are no numbers any more: lower optim.learning_rate, or set "
            "optim.clip; what was saved before stays"
        )


def replay(path: Path) -> Diagnosis:
    """Passes the batch through the net once more, as it was in training, and watches every layer. Raises RunError."""
    from pupil_training.augment import views_of

    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        recipe = Recipe.model_validate_json(state["recipe"])
    except Exception as error:  # torch.load raises half a dozen types for a file that is not its own
        raise RunError(f"{path}: damaged, or not what a failed run left ({type(error).__name__})") from None
    model = new_classifier(recipe.model, recipe.data, tuple(state["classes"]))
    model.load_state_dict(state["weights"])
    bad: list[tuple[str, list[int]]] = []
    for name, layer in model.named_modules():
        if not list(layer.children()):
            layer.register_forward_hook(_watch(name, bad))
    batch = Batch(state["step"], state["part"], state["images"], None, state["chosen"], state["epochs"])
    with torch.no_grad():
        model.train()(views_of(recipe)(batch))
    layer, images = bad[0] if bad else (None, [])
    return Diagnosis(state["step"], state["terms"], layer, [int(state["chosen"][i]) for i in images])


def _watch(name: str, bad: list[tuple[str, list[int]]]) -> Any:
    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        finite = output.detach().flatten(1).isfinite().all(1)
        if not finite.all():
            bad.append((name, (~finite).nonzero()[:, 0].tolist()))

    return hook


@click.command()
@click.argument("file", type=click.Path(exists=True, path_type=Path))
def main(file: Path) -> None:
    """Replay the step that ended a run, and name the layer and the images where numbers ended."""
    with one_line_errors():
        found = replay(file)
    terms = ", ".join(f"{name} {value}" for name, value in found.terms.items())
    click.echo(f"step {found.step}: {terms}")
    if found.layer is None:
        click.echo("the net's answer is finite: the loss itself is at fault")
    else:
        click.echo(f"first in layer {found.layer}, for {len(found.images)} images: {found.images[:20]}")


if __name__ == "__main__":
    main()
