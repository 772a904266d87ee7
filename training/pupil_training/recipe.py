"""The settings of a run: typed, frozen, read from TOML and `key=value` overrides."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pupil_training.errors import RecipeError

Share = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseModel):
    """A group of settings; unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(Settings):
    """Where the images are, what becomes of them, and which splits are cut out of `train`."""

    source: Literal["folders", "mnist"] = "folders"
    root: Path = Path("data")
    height: Count = 28
    width: Count = 28
    channels: Literal[1, 3] = 1
    shortest_side: Count | None = None  # of the resized picture before the crop; the input's longer side if absent
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    unreadable: Literal["refuse", "skip"] = "refuse"
    validation: Share = 0.1  # shares of `train`, cut out where a split has no folder of its own
    calibration: Share = 0.1
    pool: Share = 0.0
    split_seed: int = 0  # apart from the run's seed, so that teacher and student share their splits

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.shortest_side is not None and self.shortest_side < max(self.height, self.width):
            raise ValueError(f"shortest_side {self.shortest_side} is less than the input's {self.height}×{self.width}")
        return self


class ModelSettings(Settings):
    """Which net, and what its builder takes. `None` means that the builder chooses by the input's size."""

    name: str = "lenet5"
    widths: tuple[Count, ...] | None = None  # vgg: channels of each block
    convolutions: Count = 2  # vgg: in each block
    dropout: Share = 0.0
    weights: Path | None = None  # torchvision/…: a local file of pretrained weights


class OptimSettings(Settings):
    """The optimiser and its learning rate (`pupil_training.optim`)."""

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Positive = 0.005
    weight_decay: Weight = 0.01
    momentum: Share = 0.9  # sgd
    warmup: Share = 0.25  # the share of the steps in which the rate rises; then it falls along a cosine


class AugmentSettings(Settings):
    """How far a training picture may be moved; everything is off by default (`pupil_training.augment`)."""

    shift: Annotated[int, Field(ge=0)] = 0  # pixels
    rotate: Weight = 0.0  # degrees
    scale: Share = 0.0  # 0.1: between 0.9 and 1.1 times
    shear: Weight = 0.0  # degrees
    brightness: Share = 0.0
    contrast: Share = 0.0
    flip: bool = False

    @property
    def active(self) -> bool:
        return self != AugmentSettings()


class DistillSettings(Settings):
    """The teacher and the weights of `pupil_training.losses.distillation_loss`."""

    teacher: Path | None = None  # a run
    temperature: Positive = 4.0
    hard_weight: Weight = 0.1
    soft_weight: Weight = 0.9
    pool: bool = False  # follow the teacher on the pool too; there are no labels then, so hard_weight is 0
    logits: Literal["live", "cached"] = "live"  # cached: computed once, on pictures that are not augmented
    mismatched_views: bool = False  # allow cached logits beside augmentation: the teacher saw another picture

    @model_validator(mode="after")
    def _has_something_to_follow(self) -> Self:
        if self.hard_weight == 0 and self.soft_weight == 0:
            raise ValueError("hard_weight and soft_weight are both 0: there is nothing to learn from")
        if self.pool and self.hard_weight > 0:
            raise ValueError("the pool has no labels: with pool = true set hard_weight = 0")
        return self


class LabelsSettings(Settings):
    """Accepted pseudo-labels that join the training split."""

    file: Path | None = None
    kind: Literal["hard", "soft"] = "hard"


class Recipe(Settings):
    """Every setting of one run."""

    name: str = "run"
    seed: int = 0
    steps: Count = 1000
    batch_size: Count = 64
    log_every: Count = 50
    eval_every: Count = 500  # evaluate on the validation split, and save
    device: Literal["auto", "cpu", "cuda"] = "auto"
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    optim: OptimSettings = OptimSettings()
    augment: AugmentSettings = AugmentSettings()
    distill: DistillSettings = DistillSettings()
    labels: LabelsSettings = LabelsSettings()

    @model_validator(mode="after")
    def _views_match(self) -> Self:
        cached = self.distill.teacher is not None and self.distill.logits == "cached"
        if cached and self.augment.active and not self.distill.mismatched_views:
            raise ValueError(
                "distill.logits = 'cached' teaches on pictures that are not augmented, but augment is on: "
                "switch it off, use 'live', or set distill.mismatched_views = true"
            )
        if self.distill.pool and self.labels.file is not None:
            raise ValueError("distill.pool learns without labels, so labels.file has no place beside it")
        return self


def load_recipe(recipe: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by path, or by the name of a shipped one, with `group.key=value` overrides on top.

    Raises RecipeError: no such recipe, not TOML, an unknown setting (with the nearest known one), a wrong type.
    """
    path = find_recipe(recipe)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not TOML ({error})") from None
    values.setdefault("name", path.stem)
    for override in overrides:
        _override(values, override)
    return parse_recipe(values, str(path))


def parse_recipe(values: Mapping[str, Any], source: str) -> Recipe:
    """The settings in `values`; `source` is named in errors."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"{source}: {_explain(error)}") from None


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


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"{override}: an override is written key=value, for example optim.learning_rate=0.01")
    *groups, name = key.split(".")
    for group in groups:
        values = values.setdefault(group, {})
        if not isinstance(values, dict):
            raise RecipeError(f"{override}: '{group}' is a setting, not a group of settings")
    values[name] = _value(text)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word or path


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
    return f"; did you mean '{near[0]}'?" if near else f"; the settings are {', '.join(known)}"


def _names(settings: type[Settings], prefix: str = "") -> Iterator[str]:
    for name, field in settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            yield from _names(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name
