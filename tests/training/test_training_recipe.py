from pathlib import Path

import pytest

from pupil_training.errors import RecipeError
from pupil_training.models import InputSize, build_net
from pupil_training.recipe import Recipe, load_recipe, parse_recipe, recipe_folder

SHIPPED = sorted(path.stem for path in recipe_folder().glob("*.toml"))


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_holds_only_what_differs_and_is_named_after_its_file(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, "steps = 7\n[optim]\nlearning_rate = 0.5"))
    assert recipe == Recipe.model_validate({"name": "mine", "steps": 7, "optim": {"learning_rate": 0.5}})


def test_overrides_go_by_dots_and_may_be_bare_words(tmp_path: Path) -> None:
    overrides = ["data.root=../shared/data", "model.widths=[4, 8]", "augment.flip=true", "seed=3"]
    recipe = load_recipe(written(tmp_path, "seed = 1"), overrides)
    assert (recipe.data.root, recipe.model.widths) == (Path("../shared/data"), (4, 8))
    assert (recipe.augment.flip, recipe.seed) == (True, 3)


def test_yes_and_no_may_be_written_as_in_python(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, ""), ["augment.flip=True", "compile=False"])
    assert (recipe.augment.flip, recipe.compile) == (True, False)


def test_a_recipe_may_begin_with_the_mark_of_an_editor(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("steps = 7", encoding="utf-8-sig")
    assert load_recipe(tmp_path / "recipe.toml").steps == 7


def test_a_tilde_is_the_home_folder_wherever_a_place_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/mira")
    recipe = load_recipe(written(tmp_path, "[distill]\nteacher = ['~/runs/a', 'runs/b~']"), ["data.root=~/photos"])
    assert recipe.data.root == Path("/home/mira/photos")
    assert recipe.distill.teacher == ("/home/mira/runs/a", "runs/b~")


def test_a_recipe_survives_the_way_through_json() -> None:
    recipe = parse_recipe({"distill": {"teacher": "runs/t"}, "model": {"widths": [4, 8]}}, "here")
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[distill]\ntemprature = 2", "unknown setting 'distill.temprature'; did you mean 'distill.temperature'?"),
        ("temprature = 2", "unknown setting 'temprature'; did you mean 'distill.temperature'?"),
        (
            "steps = 'many'",
            "steps: input should be a valid integer, unable to parse string as an integer, found 'many'",
        ),
        (
            "[pool]\nfoo = 2",
            "unknown setting 'pool.foo'; the settings of pool are pool.method, pool.batch_size, pool.weight, "
            "pool.rise, pool.threshold",
        ),
        ("[data]\nshortest_side = 20", "shortest_side 20 is less than the input's 28×28"),
        ("[distill]\npool = true", "the pool has no labels: with pool = true set hard_weight = 0"),
        ("[augment]\nhue = 0.1", "augment.hue needs colours, but data.channels is 1"),
        ("[pool.strong]\nsaturation = 0.1", "pool.strong.saturation needs colours, but data.channels is 1"),
        ("[augment]\nshift = 28", "augment.shift 28 moves pictures of 28×28 out of sight"),
        ("[augment]\nmagnitude = 31", "a magnitude is a whole number from 0 to 30 or 'random', found 31"),
        ("[augment]\ntrivial = true\nrandaugment = 2", "randaugment and trivial are both on; choose one"),
        ("[augment]\nmixup = 0.2\ncutmix = 1", "mixup and cutmix are both on; choose one"),
        ("[augment]\nperspective = 0.7", "augment.perspective: input should be less than or equal to 0.6, found 0.7"),
        (
            "[transfer]\nmode = 'head'",
            "transfer.mode = 'head' freezes what was learned elsewhere, but nothing is taken over: set transfer.run or "
            "model.weights",
        ),
        ("seed = -1", "seed: input should be greater than or equal to 0, found -1"),
        ("[data]\nsplit_seed = -1", "data.split_seed: input should be greater than or equal to 0, found -1"),
        ("[data]\nonly = ['cat']", "data.only keeps two classes or more, each named once, found cat"),
        (
            "[data]\nonly = ['cat', 'dog', 'cat']",
            "data.only keeps two classes or more, each named once, found cat, dog, cat",
        ),
        ("[pool]\nrise = [0.5, 0.2]", "pool.rise begins at 0.5 of the steps, after its end at 0.2"),
        ("[distill]\nteacher = 5", "distill.teacher.0: input should be a valid string, found 5"),
        ("steps = 0", "steps: input should be greater than or equal to 1, found 0"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert str(error.value) == f"{path}: {message}"


def test_cached_logits_beside_augmentation_must_be_asked_for_in_words() -> None:
    distill = {"teacher": "t", "logits": "cached"}
    with pytest.raises(RecipeError, match="not augmented, but augment is on"):
        parse_recipe({"distill": distill, "augment": {"shift": 2}}, "here")
    asked = {"distill": {**distill, "mismatched_views": True}, "augment": {"shift": 2}}
    assert parse_recipe(asked, "here").distill.mismatched_views


@pytest.mark.parametrize("override", ["seed", "=3", "seed.more=1"])
def test_a_broken_override_is_refused(override: str) -> None:
    with pytest.raises(RecipeError, match=f"^{override}: "):
        load_recipe(SHIPPED[0], ["seed=1", override])


def test_an_unknown_recipe_is_answered_with_the_shipped_ones() -> None:
    with pytest.raises(RecipeError, match="digits_teacher"):
        load_recipe("digits_taecher")


def test_what_is_not_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="not TOML"):
        load_recipe(written(tmp_path, "steps = = 3"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_loads_builds_its_net_and_says_what_it_gives(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    size = InputSize(recipe.data.height, recipe.data.width, recipe.data.channels)
    assert build_net(recipe.model, size, 10)
    first_lines = (recipe_folder() / f"{name}.toml").read_text(encoding="utf-8").partition("\n\n")[0]
    assert all(line.startswith("#") for line in first_lines.splitlines())
    assert f"pupil {'distill' if recipe.distill.teacher else 'train'} {name}" in first_lines
    assert "%" in first_lines or "Not measured yet." in first_lines
