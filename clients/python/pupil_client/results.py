"""What a server's answers become: plain frozen values that know nothing of gRPC."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnsweredBy:
    """Who answered, and what it took."""

    model: str
    version: int
    precision: str
    fingerprint: str
    queue_seconds: float
    compute_seconds: float


@dataclass(frozen=True, slots=True)
class ScoredClass:
    """One class with its calibrated probability; `index` is its place in the model's classes."""

    label: str
    index: int
    score: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """The label of one image with its confidence, the best classes, and the whole distribution if asked for."""

    label: str
    confidence: float
    top: tuple[ScoredClass, ...]  # best first
    scores: tuple[float, ...]  # in the order of the model's classes; empty unless asked for
    answered_by: AnsweredBy
    route: str = ""  # of a cascade: student, teacher, or student_overloaded, …_late, …_unavailable without a promise


@dataclass(frozen=True, slots=True)
class Cascade:
    """Lets the student answer where it is sure enough, and its teacher elsewhere.

    With probability 1 - `delta` over calibration sets, at most the share `limit` of the images is lost. Under the goal
    `disagreement` an image is lost where its answer is not the teacher's; under `worse` where its answer is wrong and
    the teacher's would be right; under `accuracy` where its answer is wrong.
    """

    limit: float = 0.01
    goal: str = "disagreement"
    delta: float = 0.05
    teacher: str | None = None  # the one that the student's bundle names, unless told otherwise
    student_alone: bool = False  # where the teacher is not loaded, the student answers everything: no promise


@dataclass(frozen=True, slots=True)
class Certificate:
    """A threshold together with the promise that it carries and the counts that prove it."""

    guarantee: str  # pac, fdr, fixed or none
    precision: float
    delta: float
    threshold: float
    calibration: int
    accepted: int
    wrong: int
    p_value: float
    coverage: float
    fingerprint: str


@dataclass(frozen=True, slots=True)
class PseudoLabel:
    """A prediction, whether the promise lets it count as a label, and the certificate behind that.

    An image that could not be read has an `error` and no prediction.
    """

    prediction: Prediction | None
    accepted: bool
    certificate: Certificate
    error: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Student and teacher on one image; `kl` is KL(teacher || student) of their scores, in nats."""

    student: Prediction
    teacher: Prediction
    agree: bool
    kl: float


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One version in the repository; `reason` says why it failed, the fields from `classes` on need it loaded."""

    name: str
    version: int
    state: str  # unloaded, loading, ready, unloading or failed
    reason: str
    aliases: tuple[str, ...]
    classes: tuple[str, ...]
    height: int
    width: int
    channels: int
    precision: str
    device: str
    fingerprint: str
    teacher: str
    certificates: tuple[Certificate, ...]
    created: str
    max_batch_images: int
    nodes: dict[str, int]  # how many nodes of the graph really run on each device
    precisions: tuple[str, ...]  # that it answers in
    by_name: bool  # whether the name alone means this version

    @property
    def exactly(self) -> str:
        """`student/2:fp32`: these weights and no others."""
        return f"{self.name}/{self.version}" + (f":{self.precision}" if self.precision else "")


@dataclass(frozen=True, slots=True)
class Watch:
    """A student's traffic since it was first served, or since the watch was reset."""

    model: str
    version: int
    precision: str
    fingerprint: str
    teacher: str  # fingerprint:precision of who was asked too; empty where nobody was yet
    compared: int  # images of a random sample that the teacher saw too
    disagreed: int  # of those
    disagreement: tuple[float, float]  # with probability 0.95 the true rate lies between these at every moment
    mean_kl: float  # KL(teacher || student) in nats
    classes: dict[str, tuple[int, int]]  # compared and agreed, by the class that the student predicted
    images: int  # of which the following was counted
    evidence: dict[str, float]  # that the kinds are not as in the calibration images, as a logarithm
    alarms: tuple[str, ...]  # what is beyond chance: agreement, or a kind
    lapsed: str  # why the student's certificates do not hold any more; empty: they do


@dataclass(frozen=True, slots=True)
class Seen:
    """Which of some images a model was trained on."""

    trained_on: int  # how many images with a person's label; 0: the bundle does not say
    labelled: tuple[int, ...]  # the places of those among the images that were asked about
    unlabelled: tuple[int, ...]  # of images that it learned from without such a label
    missing: tuple[str, ...]  # which images the bundle does not know, though the model learned from them
