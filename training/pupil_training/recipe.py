"""A recipe: every setting of a run, read from TOML and `key=value` overrides."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ValidationError, model_validator

from pupil_training.errors import RecipeError
from pupil_training.settings import (
    AugmentSettings,
    Count,
    DataSettings,
    DistillSettings,
    LabelsSettings,
    ModelSettings,
    OptimSettings,
    PoolSettings,
    Seed,
    SelfTrainSettings,
    Settings,
    Share,
    TransferSettings,
)


class Recipe(Settings):
    """Every setting of one run."""

    name: str = "run"
    seed: Seed = 0
    steps: Count = 1000
    batch_size: Count = 64
    accumulate: Count = 1  # parts that a batch is cut into, one after the other, where it does not fit at once
    log_every: Count = 50
    eval_every: Count = 500  # evaluate on the validation split, and save
    device: Literal["auto", "cpu", "cuda"] = "auto"
    amp: Literal["off", "auto", "bf16", "fp16"] = "off"  # what products are computed in; auto: bf16 where it is faster
    compile: bool = False  # torch.compile, which needs a C++ compiler and a minute
    ema: Share = 0.0  # the decay of averaged weights, which become the result; 0 leaves them out
    smoothing: Share = 0.0  # of hard labels
    tensorboard: bool = False  # also write what TensorBoard shows
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    optim: OptimSettings = OptimSettings()
    augment: AugmentSettings = AugmentSettings()
    transfer: TransferSettings = TransferSettings()
    distill: DistillSettings = DistillSettings()
    labels: LabelsSettings = LabelsSettings()
    pool: PoolSettings = PoolSettings()
    selftrain: SelfTrainSettings = SelfTrainSettings()

    @model_validator(mode="after")
    def _teacher_can_answer(self) -> Self:
        how = self.distill
        if not how.teacher:
            return self
        if how.logits != "live" and self.augment.mixes:
            raise ValueError("mixup and cutmix mix other pictures every time: with them set distill.logits = 'live'")
        if how.logits == "cached" and self.augment.active and not how.mismatched_views:
            raise ValueError(
                "distill.logits = 'cached' teaches on pictures that are not augmented, but augment is on: "
                "switch it off, use 'views' or 'live', or set distill.mismatched_views = true"
            )
        if how.logits == "views" and not self.augment.active:
            raise ValueError("distill.logits = 'views', but augment is off and all views are alike: use 'cached'")
        if how.watches_layers and self.compile:
            raise ValueError("distill.hint and distill.attention watch layers, which compile = true takes apart")
        return self

    @model_validator(mode="after")
    def _pool_has_one_use(self) -> Self:
        if self.distill.pool and self.labels.file is not None:
            raise ValueError("distill.pool learns without labels, so labels.file has no place beside it")
        if self.pool.method != "none" and self.distill.teacher:
            raise ValueError("pool.method and distill.teacher are two ways to learn; choose one")
        if self.pool.method == "mean_teacher" and self.ema == 0:
            raise ValueError("the mean teacher is the average of the student's weights: set ema, for example 0.999")
        return self

    @model_validator(mode="after")
    def _views_suit(self) -> Self:
        for group, how in (("augment", self.augment), ("pool.strong", self.pool.strong)):
            for name in ("saturation", "hue"):
                if self.data.channels == 1 and getattr(how, name):
                    raise ValueError(f"{group}.{name} needs colours, but data.channels is 1")
            if how.shift >= min(self.data.height, self.data.width):
                size = f"{self.data.height}×{self.data.width}"
                raise ValueError(f"{group}.shift {how.shift} moves pictures of {size} out of sight")
        if self.pool.method != "none" and (self.augment.mixes or self.pool.strong.mixes):
            raise ValueError("mixup and cutmix mix targets too, which pool.method does not: switch one of them off")
        return self

    @model_validator(mode="after")
    def _something_was_learned(self) -> Self:
        if self.transfer.mode != "whole" and self.transfer.run is None and self.model.weights is None:
            raise ValueError(
                f"transfer.mode = '{self.transfer.mode}' freezes what was learned elsewhere, but nothing is taken "
                "over: set transfer.run or model.weights"
            )
        return self

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(f"a batch of {self.batch_size} cannot be cut into {self.accumulate} equal parts")
        if self.augment.mixes and self.batch_size // self.accumulate % 2:
            raise ValueError("mixup and cutmix mix pairs: the batch, or its part, must have an even size")
        return self


def load_recipe(recipe: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by path, or by the name of a shipped one, with `group.key=value` overrides on top.

    Raises RecipeError: no such recipe, not TOML, an unknown setting (with the nearest known one), a wrong type.
    """
    path = find_recipe(recipe)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors put a mark first
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not TOML ({error})") from None
    values.setdefault("name", path.stem)
    for setting in overrides:
        override(values, setting)
    return parse_recipe(values, str(path))


def parse_recipe(values: Mapping[str, Any], source: str) -> Recipe:
    """The settings in `values`; `source` is named in errors."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"{source}: {_explain(error)}") from None


def override_data(data: DataSettings, overrides: Sequence[str]) -> DataSettings:
    """Other settings of the data, `key=value` without the group's name. Raises RecipeError as `load_recipe` does."""
    values: dict[str, Any] = {"data": data.model_dump(mode="json")}
    for words in overrides:
        override(values, f"data.{words}")
    return parse_recipe(values, "--data").data


def find_recipe(recipe: str | Path) -> Path:
    """The file of a recipe that is given as a path or as the name of a shipped one."""
    if (path := Path(recipe)).is_file():
        return path
    shipped = recipe_folder()
    if (named := shipped / f"{recipe}.toml").is_file():
        return named
    names = ", ".join(sorted(path.stem for path in shipped.glob("*.toml")))
    raise RecipeError(f"{recipe}: no such recipe; give a TOML file or one of {names}")


def recipe_folder() -> Path:
    """Where the shipped recipes are: beside the package in a checkout, inside it in a wheel."""
    inside = Path(__file__).parent / "recipes"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "recipes"


def override(values: dict[str, Any], setting: str) -> None:
    """Puts `group.key=value` into nested `values`. Raises RecipeError where it is written in another way."""
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise RecipeError(f"{setting}: an override is written key=value, for example optim.learning_rate=0.01")
    *groups, name = key.split(".")
    for group in groups:
        values = values.setdefault(group, {})
        if not isinstance(values, dict):
            raise RecipeError(f"{setting}: '{group}' is a setting, not a group of settings")
    values[name] = _value(text)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text == "True" if text in ("True", "False") else text  # as in Python, or a bare word or path


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    setting = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown setting '{setting}'{_suggestion(setting)}"
    message = first["msg"].removeprefix("Value error, ")
    if not setting or first["type"] == "value_error":
        return message
    return f"{setting}: {message[0].lower()}{message[1:]}, found {first['input']!r}"


def _suggestion(setting: str) -> str:
    known = list(_names(Recipe))
    near = difflib.get_close_matches(setting, known, n=1, cutoff=0.75)
    last = setting.rpartition(".")[2]
    near = near or [name for name in known if difflib.get_close_matches(last, [name.rpartition(".")[2]], cutoff=0.75)]
    if near:
        return f"; did you mean '{near[0]}'?"
    group = setting.rpartition(".")[0]
    beside = [name for name in known if name.rpartition(".")[0] == group] or known
    return f"; the settings{f' of {group}' if group else ''} are {', '.join(beside)}"


def _names(settings: type[Settings], prefix: str = "") -> Iterator[str]:
    for name, field in settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            yield from _names(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name
