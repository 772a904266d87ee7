"""The recipes of docs/training.md, as a user copies them."""

import re
import tomllib
from pathlib import Path

import pytest

from pupil_training.recipe import parse_recipe
from pupil_training.runs import new_classifier

RECIPES = re.findall("```toml\n(.*?)```", (Path(__file__).parents[2] / "docs/training.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("text", RECIPES, ids=lambda text: text.splitlines()[0].strip("# "))
def test_a_recipe_of_the_documentation_is_understood_and_builds_its_net(text: str) -> None:
    recipe = parse_recipe(tomllib.loads(text), "docs/training.md")
    model = recipe.model.model_copy(update={"weights": None})  # which a test does not download
    assert new_classifier(model, recipe.data, ("cat", "dog")).classes == ("cat", "dog")


def test_the_two_recipes_look_at_the_same_pictures() -> None:
    teacher, student = (parse_recipe(tomllib.loads(text), "docs/training.md") for text in RECIPES)
    assert teacher.data == student.data
    assert student.distill.teacher == ("runs/teacher",)
