"""When the student may answer, and when the teacher must: thresholds of a cascade with a promise.

An image costs a loss, or none, whoever answers it. The promise: with probability 1 - delta over calibration sets, at
most a share `limit` of the traffic is lost. It takes images from the traffic that trained nothing and chose nothing.
"""

from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pupil_trust.arrays import confidences, one_each, right_or_wrong, share
from pupil_trust.certificates import NotCertifiable
from pupil_trust.pac import needed_images, p_value

Goal = Literal["accuracy", "worse", "disagreement"]
DEFER_ALL = 2.0  # a threshold that no confidence reaches
FINE = np.array([DEFER_ALL, *(1 / (1 + np.exp(-np.arange(14, -5, -0.02)))), 0.0])  # even steps of log odds
COARSE = np.array([*FINE[:-1:25], 0.0])


def pair_name(student: str, teacher: str) -> str:
    """What the file is called that holds the answers of just these two graphs, by what identifies each of them."""
    return sha256(f"{student} {teacher}".encode()).hexdigest()[:32]


class Losses(NamedTuple):
    """Whether each calibration image is lost where the student answers, and where the teacher does: bool (N,)."""

    student: NDArray[np.bool_]
    teacher: NDArray[np.bool_]


def wrong_answers(student_right: ArrayLike, teacher_right: ArrayLike) -> Losses:
    """Goal `accuracy`: an image is lost where whoever answers is wrong."""
    return Losses(~right_or_wrong(student_right, "student_right"), ~right_or_wrong(teacher_right, "teacher_right"))


def setbacks(student_right: ArrayLike, teacher_right: ArrayLike) -> Losses:
    """Goal `worse`: lost where the student is wrong and the teacher would be right; its lucky wins do not count."""
    student, teacher = right_or_wrong(student_right, "student_right"), right_or_wrong(teacher_right, "teacher_right")
    return Losses(~student & teacher, np.zeros(len(teacher), dtype=np.bool_))


def disagreements(agree: ArrayLike) -> Losses:
    """Goal `disagreement`: lost where the student answers otherwise than the teacher would. It needs no labels."""
    same = right_or_wrong(agree, "agree")
    return Losses(~same, np.zeros(len(same), dtype=np.bool_))


def losses_of(goal: Goal, student: ArrayLike, teacher: ArrayLike, labels: ArrayLike | None) -> Losses:
    """From the classes that both said and the right ones, whole numbers (N,) each.

    Raises NotCertifiable for a goal that needs labels where nobody knows them (None).
    """
    if labels is None:
        if goal != "disagreement":
            raise NotCertifiable("the images have no labels, and without them only disagreement can be promised")
        labels = teacher
    said, told, right = (np.asarray(classes, dtype=np.int64) for classes in (student, teacher, labels))
    if not said.shape == told.shape == right.shape:  # numpy would compare one class with every image
        raise ValueError(f"classes of {said.shape}, {told.shape} and {right.shape} images; as many of each are wanted")
    if goal == "disagreement":
        return disagreements(said == told)
    return setbacks(said == right, told == right) if goal == "worse" else wrong_answers(said == right, told == right)


@dataclass(frozen=True, kw_only=True)
class CascadeCertificate:
    """A threshold at which the student answers, with the promise that it carries and the counts that prove it.

    The student answers where its confidence is >= `threshold`; of `images` calibration images it left a share of
    `deferred` to the teacher, and `lost` of all were lost.
    """

    goal: Goal
    limit: float
    delta: float
    threshold: float
    images: int
    lost: int
    deferred: float
    p_value: float
    student: str  # fingerprints, with the precision of the graph where it is not the only one
    teacher: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """The certificate that `to_dict` wrote. ValueError where something is missing or too much."""
        try:
            return cls(**plain)
        except TypeError as error:
            raise ValueError(f"not a cascade's certificate: {error}") from None


def cascade_certificate(
    confidence: ArrayLike,
    losses: Losses,
    *,
    goal: Goal,
    limit: float,
    delta: float,
    student: str,
    teacher: str,
) -> CascadeCertificate:
    """The cheapest threshold at which at most `limit` of the traffic is lost, with probability 1 - `delta`.

    Fixed-sequence testing (Angelopoulos et al. 2021, section 2.3) over thresholds that run strict to loose, from
    leaving everything to the teacher on: each by the exact binomial tail over all images, up to the first that fails.
    `confidence` (N,) is the student's.

    Raises NotCertifiable with what it would take, and where not even the teacher alone keeps the promise.
    """
    numbers = confidences(confidence)
    theirs, ours = one_each(numbers, losses.teacher), one_each(numbers, losses.student)
    share(limit, "limit")
    share(delta, "delta")
    last: CascadeCertificate | None = None
    thresholds = _thresholds(goal)
    for threshold, answered, lost in zip(thresholds, *_counts(numbers, ours, theirs, thresholds), strict=True):
        p = p_value(lost, len(numbers), 1 - limit)
        if p > delta:
            break
        last = CascadeCertificate(
            goal=goal, limit=limit, delta=delta, threshold=float(threshold), images=len(numbers), lost=lost,
            deferred=1 - answered / len(numbers), p_value=p, student=student, teacher=teacher,
        )  # fmt: skip
    if last is None:
        raise NotCertifiable(_missing(limit, delta, int(theirs.sum()), len(numbers)))
    return last


def _thresholds(goal: Goal) -> NDArray[np.float64]:
    """Strict to loose, whatever the images: to depend on no loss they depend on none of them.

    Where the teacher loses nothing, a looser threshold can only lose more, and fine steps cost nothing. Else each
    step is one more occasion to stop by chance.
    """
    return COARSE if goal == "accuracy" else FINE


def _counts(
    confidence: NDArray[np.float64], ours: NDArray[np.bool_], theirs: NDArray[np.bool_], thresholds: NDArray[np.float64]
) -> tuple[list[int], list[int]]:
    """How many images the student answers at each threshold, and how many are lost there by either."""
    order = np.argsort(-confidence)  # the surest first
    answered = len(order) - np.searchsorted(confidence[order[::-1]], thresholds)
    student, teacher = (np.concatenate([[0], np.cumsum(each[order])]) for each in (ours, theirs))
    return answered.tolist(), (student[answered] + teacher[-1] - teacher[answered]).tolist()


def _missing(limit: float, delta: float, lost: int, images: int) -> str:
    needed = needed_images(1 - limit, delta, lost)
    return (
        f"a loss of at most {limit} at delta {delta:g} needs at least {needed} calibration images, {lost} of them "
        f"lost with the teacher alone, has {images}; ask for less, or calibrate with more images"
    )


class CascadePoint(NamedTuple):
    """What a threshold gives on the images that were looked at; no promise."""

    threshold: float
    deferred: float
    accuracy: float


def cascade_curve(confidence: ArrayLike, student_right: ArrayLike, teacher_right: ArrayLike) -> list[CascadePoint]:
    """Accuracy against the share that is left to the teacher, at every confidence that occurs, strict to loose."""
    numbers = confidences(confidence)
    ours, theirs = one_each(numbers, student_right), one_each(numbers, teacher_right)
    if not len(numbers):
        raise ValueError("confidence is empty; at least one image is wanted")
    points = []
    for threshold in (DEFER_ALL, *np.unique(numbers)[::-1].tolist()):
        answers = numbers >= threshold
        points.append(CascadePoint(threshold, float(1 - answers.mean()), float(np.where(answers, ours, theirs).mean())))
    return points
