"""The settings of a run, group by group: typed, frozen, every default here."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]  # numpy takes none below 0, torch none above
Place = Annotated[Path, AfterValidator(Path.expanduser)]  # no shell looks at ~ in data.root=~/photos
Padding = Literal["edge", "reflect"]
STRONGEST = 30  # the last of the magnitudes of RandAugment and TrivialAugment


def _one_or_several(value: Any) -> Any:
    several = value if isinstance(value, (list, tuple)) else [value]
    return tuple(str(Path(each).expanduser()) if _is_place(each) else each for each in several)


def _is_place(value: Any) -> bool:
    return isinstance(value, Path) or (isinstance(value, str) and value.startswith("~"))


Teachers = Annotated[tuple[str, ...], BeforeValidator(_one_or_several)]


def _magnitude(value: Any) -> Any:
    if value != "random" and not (type(value) is int and 0 <= value <= STRONGEST):
        raise ValueError(f"a magnitude is a whole number from 0 to {STRONGEST} or 'random', found {value!r}")
    return value


Magnitude = Annotated[int | Literal["random"], BeforeValidator(_magnitude)]


class Settings(BaseModel):
    """A group of settings; unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


SOURCES = ("folders", "table", "idx", "mnist", "cifar")


def _known_source(value: str) -> str:
    if value not in SOURCES and not value.startswith("torchvision/"):
        raise ValueError(f"data.source: '{value}' is none of {', '.join(SOURCES)}, torchvision/NAME")
    return value


def _regular_expression(value: str) -> str:
    try:
        groups = re.compile(value).groups
    except re.error as error:
        raise ValueError(f"data.groups: '{value}' is not a regular expression ({error})") from None
    if value and not groups:
        raise ValueError(f"data.groups: '{value}' has no group in parentheses, which would be the key")
    return value


class DataSettings(Settings):
    """Where the images are, what becomes of them, and which splits are cut out of `train`."""

    source: Annotated[str, AfterValidator(_known_source)] = "folders"
    root: Place = Path("data")
    table: Place | None = None  # table: CSV or Parquet with the columns path, label, and if need be split and group
    options: dict[str, Any] = {}  # torchvision/NAME: more arguments of the data set's constructor
    download: bool = False  # torchvision/NAME: fetch what is missing in root
    pool_root: Place | None = None  # a folder of unlabelled images elsewhere, which is then the pool
    height: Count = 28
    width: Count = 28
    channels: Literal[1, 3] = 1
    shortest_side: Count | None = None  # of the resized picture before the crop; the input's longer side if absent
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    unreadable: Literal["refuse", "skip"] = "refuse"
    only: tuple[str, ...] = ()  # the classes to keep; the model knows no others
    leave_out: tuple[str, ...] = ()  # classes without a training picture, which the model knows all the same
    labels: Count | None = None  # how many of train's images keep their label, class by class; the rest is pool
    validation: Share = 0.1  # shares of the labelled images of `train`, cut out where a split has no folder of its own
    calibration: Share = 0.1
    pool: Share = 0.0
    split_seed: Seed = 0  # apart from the run's seed, so that teacher and student share their splits
    groups: Annotated[str, AfterValidator(_regular_expression)] = ""  # over the path; one key, one split
    splits: Place | None = None  # another run's splits.json, whose splits are taken as they are
    overlap: Literal["refuse", "drop", "allow"] = "refuse"  # one image in training and where the model is judged
    memory: Literal["auto", "keep", "stream"] = "auto"  # stream: decode images when they are needed, every time
    memory_limit_gb: Positive = 4.0  # auto: a set that takes more is streamed
    workers: Whole | None = None  # processes that decode for training; as many as there are usable cores if absent

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.shortest_side is not None and self.shortest_side < max(self.height, self.width):
            raise ValueError(f"shortest_side {self.shortest_side} is less than the input's {self.height}×{self.width}")
        if self.labels is not None and self.pool > 0:
            raise ValueError("labels makes a pool of the rest of train, so pool has no place beside it")
        if self.pool_root is not None and (self.labels is not None or self.pool > 0):
            raise ValueError("data.pool_root is the whole pool, so data.labels and data.pool have no place beside it")
        if self.only and (len(self.only) < 2 or len(set(self.only)) < len(self.only)):
            raise ValueError(f"data.only keeps two classes or more, each named once, found {', '.join(self.only)}")
        return self

    @model_validator(mode="after")
    def _suits_the_source(self) -> Self:
        if (self.source == "table") != (self.table is not None):
            raise ValueError("data.source = 'table' and data.table = FILE go together")
        if self.groups and self.source not in ("folders", "table"):
            raise ValueError(f"data.groups is about paths, which the images of '{self.source}' have not")
        if self.options and not self.source.startswith("torchvision/"):
            raise ValueError(f"data.options is for torchvision/NAME, not for '{self.source}'")
        return self


class ModelSettings(Settings):
    """Which net, and what its builder takes. `None` means that the builder chooses by the input's size."""

    name: str = "lenet5"
    widths: tuple[Count, ...] | None = None  # channels of each block, units of each hidden layer
    convolutions: Count = 2  # vgg: in each block
    dropout: Share = 0.0
    mirror: bool = False  # once trained, look at each picture and at its mirror image, and say the mean
    input_dropout: Share = 0.0  # mlp: of pixels
    max_norm: Weight = 0.0  # mlp: the longest that the weights into one hidden unit may be; 0 leaves them alone
    drop_path: Share = 0.0  # resnet, wrn, timm/…: of the last block; earlier ones drop less
    weights: Place | None = None  # torchvision/…: pretrained, by their name there (DEFAULT, IMAGENET1K_V1), or a file
    download: bool = False  # fetch weights that are named and not in torch's cache yet
    neighbours: Count = 5  # knn
    features: Place | None = None  # knn: compare what this run's net sees before its last layer, not pixels
    body: "ModelSettings | None" = None  # knn: the net of these features, noted by training so that the run has it all


class OptimSettings(Settings):
    """The optimiser and its learning rate (`pupil_training.optim`)."""

    name: Literal["adamw", "sgd", "muon"] = "adamw"
    learning_rate: Positive = 0.005
    weight_decay: Weight = 0.01
    momentum: Share = 0.9  # sgd
    schedule: Literal["cosine", "linear", "constant"] = "cosine"  # how the rate falls after its rise
    warmup: Share = 0.25  # the share of the steps in which the rate rises
    bias_rate: Positive = 1.0  # biases and norms learn this many times as fast
    clip: Weight = 0.0  # the longest gradient, over all weights together; 0 leaves it alone


class AugmentSettings(Settings):
    """How far a training picture may be changed, in this order; all off by default (`pupil_training.augment`)."""

    crop: Share = 0.0  # the least share of the picture's area; 0.08 is Inception's
    aspect: Annotated[float, Field(ge=1, le=10)] = 4 / 3  # crop: how much wider, or higher, than the picture it may be
    perspective: Annotated[float, Field(ge=0, le=0.6)] = 0.0  # how far the corners may go inwards; from 2/3 on it folds
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0  # degrees
    shear: Annotated[float, Field(ge=0, le=80)] = 0.0  # degrees
    scale: Share = 0.0  # 0.1: between 0.9 and 1.1 times
    shift: Whole = 0  # pixels
    flip: Literal[False, True, "alternate"] = False  # alternate: every other epoch (Jordan 2024)
    padding: Padding = "edge"  # what comes in from outside, in randaugment and trivial too
    randaugment: Whole = 0  # how many operations (Cubuk et al. 2020)
    magnitude: Magnitude = 9  # of randaugment; random: another one each time
    trivial: bool = False  # one operation of any strength (Müller, Hutter 2021)
    contrast: Share = 0.0  # 0.1: between 0.9 and 1.1 times; so the next two
    brightness: Share = 0.0
    saturation: Share = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # shares of the colour circle, either way
    blur: Annotated[float, Field(ge=0, le=10)] = 0.0  # the greatest standard deviation of the Gaussian, in pixels
    cutout: Whole = 0  # the side of a grey square, in pixels
    mixup: Weight = 0.0  # alpha of the Beta distribution of the shares
    cutmix: Weight = 0.0

    @property
    def active(self) -> bool:
        return any(value for name, value in self if name not in ("aspect", "padding", "magnitude"))

    @property
    def mixes(self) -> bool:
        return self.mixup > 0 or self.cutmix > 0

    @model_validator(mode="after")
    def _one_of_each_kind(self) -> Self:
        if self.mixup > 0 and self.cutmix > 0:
            raise ValueError("mixup and cutmix are both on; choose one")
        if self.randaugment and self.trivial:
            raise ValueError("randaugment and trivial are both on; choose one")
        return self


class TransferSettings(Settings):
    """Weights from another run, and how fast they change (`pupil_training.transfer`)."""

    run: Place | None = None  # a finished run; everything but its last layer is taken over
    mode: Literal["whole", "head", "gradual"] = "whole"  # head: nothing else learns; gradual: layer after layer
    body_rate: Positive = 0.1  # whole, gradual: what was taken over learns this many times as fast as the new layer
    unfreeze_every: Count = 100  # gradual: steps between two layers, from the last one down


class DkdSettings(Settings):
    """The weights of decoupled distillation (`pupil_training.losses.dkd`)."""

    alpha: Weight = 1.0  # how sure of the target
    beta: Weight = 8.0  # how the other classes share the rest


class DistSettings(Settings):
    """The weights of the two correlations (`pupil_training.losses.dist`)."""

    beta: Weight = 1.0  # over the classes of an image
    gamma: Weight = 1.0  # over the images of a batch, or of its part


class DistillSettings(Settings):
    """The teacher, and how it is followed (`pupil_training.objectives.distilled`)."""

    teacher: Teachers = ()  # runs, bundles, grpc://host:port/model; several are averaged
    method: Literal["kd", "dkd", "dist", "hard"] = "kd"  # hard: the teacher's best class
    temperature: Positive = 4.0
    standardise: bool = False  # kd, dkd: follow the logits' z-scores
    hard_weight: Weight = 0.1
    soft_weight: Weight = 0.9  # of the method
    dkd: DkdSettings = DkdSettings()
    dist: DistSettings = DistSettings()
    hint: dict[str, str] = {}  # student's layer = teacher's layer, to be followed through a projection
    hint_weight: Positive = 1.0
    attention: dict[str, str] = {}  # student's layer = teacher's layer, to look where it looks
    attention_weight: Positive = 1000.0  # the authors' value, for maps of 32 to 8 pixels a side; smaller ones need less
    pool: bool = False  # follow the teacher on the pool too; there are no labels then, so hard_weight is 0
    logits: Literal["live", "cached", "views"] = "live"  # cached: asked once, on plain pictures; views: on some views
    views: Count = 8  # views of each image, which come round again
    cache: Place | None = None  # the folder of the answers; beside the run and named by their origin if absent
    cache_top: Count | None = None  # how many classes an answer keeps; up to 10 if absent
    mismatched_views: bool = False  # allow cached logits beside augmentation: the teacher saw another picture
    match_prior: bool = False  # shift the biases until the mean scores on the pool are the classes' true shares

    @property
    def watches_layers(self) -> bool:
        return bool(self.hint or self.attention)

    @model_validator(mode="after")
    def _has_something_to_follow(self) -> Self:
        if self.hard_weight == 0 and self.soft_weight == 0 and not self.watches_layers:
            raise ValueError("hard_weight and soft_weight are both 0: there is nothing to learn from")
        if self.pool and self.hard_weight > 0:
            raise ValueError("the pool has no labels: with pool = true set hard_weight = 0")
        return self

    @model_validator(mode="after")
    def _method_fits(self) -> Self:
        if self.standardise and self.method not in ("kd", "dkd"):
            raise ValueError(f"distill.standardise goes with method 'kd' or 'dkd', not with '{self.method}'")
        if self.watches_layers and self.logits != "live":
            raise ValueError("distill.hint and distill.attention watch the teacher itself: set distill.logits = 'live'")
        return self


class LabelsSettings(Settings):
    """Accepted pseudo-labels that join the training split."""

    file: Place | None = None
    kind: Literal["hard", "soft"] = "hard"
    balance: bool = False  # of each class the surest ones up to the median; rare ones up to five times
    ratio: Weight = 0.0  # repeat labelled images until an epoch has this many pseudo-labelled for each; 0: as they are


class SelfTrainSettings(Settings):
    """Rounds of teacher -> accepted labels -> student (`pupil_training.selftrain`)."""

    rounds: Count = 3
    teacher: Place | None = None  # a finished run to begin with; else one is trained on the labels alone
    teacher_steps: Count | None = None  # of that first one; `steps` if absent
    student: ModelSettings | None = None  # of the rounds after it; `model` if absent
    guarantee: Literal["pac", "fdr", "fixed", "none"] = "pac"
    precision: Annotated[float, Field(gt=0, lt=1)] | None = None  # if absent, a quarter of the teacher's own error
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.05  # over all rounds together
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None  # fixed: the least confidence; pac: a floor under it
    noised_teacher: bool = False  # label augmented pictures, with dropout: only to see what it costs
    keep_going: bool = False  # go on after a round whose student is no better on the validation split

    @model_validator(mode="after")
    def _certifies_what_it_labels(self) -> Self:
        if self.noised_teacher and self.guarantee in ("pac", "fdr"):
            raise ValueError("noised_teacher labels with noise, which no certificate covers: use fixed or none")
        return self


class PoolSettings(Settings):
    """How the pool teaches while the model learns (`pupil_training.objectives`); off by default."""

    method: Literal["none", "pseudo_label", "fixmatch", "mean_teacher"] = "none"
    batch_size: Count = 256  # images of the pool a step, beside `batch_size` labelled ones
    weight: Weight = 1.0  # of the pool's term
    rise: tuple[Share, Annotated[float, Field(gt=0, le=1)]] = (0.0, 0.4)  # from 0 to `weight`, in shares of the steps
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.95  # fixmatch: the least confidence; pseudo_label: 0 is Lee's
    # fixmatch: what the student sees of the pool; in the paper, after flip and shift, randaugment = 2 at magnitude =
    # "random" and a cutout of half the side
    strong: AugmentSettings = AugmentSettings()

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.rise[0] > self.rise[1]:
            raise ValueError(f"pool.rise begins at {self.rise[0]} of the steps, after its end at {self.rise[1]}")
        return self
