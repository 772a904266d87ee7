"""A finished run: the folder that training writes, read back."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pupil_training import checkpoint
from pupil_training.data import ImageSet, Splits
from pupil_training.errors import DataError, RunError
from pupil_training.models import Classifier, InputSize, build_net
from pupil_training.recipe import Recipe, parse_recipe
from pupil_training.settings import DataSettings, ModelSettings


@dataclass(frozen=True)
class Run:
    """A trained model with everything that is known about it."""

    folder: Path
    recipe: Recipe
    model: Classifier  # in eval mode, on the CPU, its temperature set
    result: dict[str, Any]  # result.json

    @property
    def classes(self) -> tuple[str, ...]:
        return self.model.classes

    def load_split(self, split: str) -> ImageSet:
        """A split of the data that the run was trained on. Raises DataError, also where its classes changed."""
        return self.splits().load(split)

    def splits(self) -> Splits:
        """All of them, as they are on the disk now. Raises DataError where their classes changed."""
        splits = Splits(self.recipe.data)
        if splits.classes != self.classes:
            raise DataError(f"{self.recipe.data.root}: {differing_classes(splits.classes, self.classes, self.folder)}")
        return splits


def load_run(folder: Path) -> Run:
    """The run in a folder. Raises RunError: none there, unfinished, damaged, or with NaN weights."""
    if not (folder / "recipe.json").is_file():
        lacks = "no recipe.json" if folder.is_dir() else "no such folder"
        raise RunError(f"{folder}: not a run ({lacks}); `pupil train` and `pupil distill` write one")
    if not (folder / "result.json").is_file():
        raise RunError(f"{folder}: the run is unfinished; give the command that started it once more, with --resume")
    recipe = load_recipe_json(folder)
    result: dict[str, Any] = read_json(folder / "result.json")
    model = new_classifier(recipe.model, recipe.data, tuple(result["classes"]))
    state = checkpoint.load(folder / "checkpoint.pt").model
    try:
        model.load_state_dict(state)
    except RuntimeError:
        raise RunError(f"{folder}/checkpoint.pt: not the weights of {recipe.model.name} in recipe.json") from None
    return Run(folder, recipe, model.eval(), result)


def load_recipe_json(folder: Path) -> Recipe:
    """The recipe that a run was started with."""
    return parse_recipe(read_json(folder / "recipe.json"), str(folder / "recipe.json"))


def read_json(path: Path) -> Any:
    """Raises RunError where the file is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path}: not JSON ({error})") from None


def new_classifier(model: ModelSettings, data: DataSettings, classes: tuple[str, ...]) -> Classifier:
    """An untrained classifier for the pictures of a data set."""
    size = InputSize(data.height, data.width, data.channels)
    return Classifier(build_net(model, size, len(classes)), classes, size, mirror=model.mirror)


def differing_classes(ours: tuple[str, ...], theirs: tuple[str, ...], name: str | Path) -> str:
    """How two class lists differ, in words; `name` owns `theirs`."""
    if set(ours) == set(theirs):
        return f"the same classes as {name}, in another order: {list(ours)}, not {list(theirs)}"
    missing, extra = [sorted(set(a) - set(b)) for a, b in ((theirs, ours), (ours, theirs))]
    return f"other classes than {name}: without {missing}, with {extra} instead"
