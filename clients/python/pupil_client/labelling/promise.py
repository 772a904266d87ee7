"""What is asked of the labels, and what came of it in words."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from pupil_client.errors import NotCertified, PupilError
from pupil_client.labelling.rows import Table
from pupil_client.results import Certificate
from pupil_client.retries import Attempts, RetryBudget

USUAL = (0.999, 0.995, 0.99, 0.98, 0.95, 0.9, 0.8)  # precisions that are asked for
TRIES = 1000  # patience ends them sooner
ABOVE_ALL = 2.0  # a threshold that no confidence reaches


@dataclass(frozen=True, slots=True)
class Promise:
    """The settings of `Client.pseudo_label`."""

    guarantee: str = "pac"
    precision: float = 0.99
    delta: float = 0.05
    threshold: float | None = None

    @property
    def promises(self) -> bool:
        """Whether anything is promised."""
        return self.guarantee in ("pac", "fdr")


def what_would_do(precision: float, certify: Callable[[float], Certificate]) -> str:
    """`; precision 0.95 can be promised, …`: the best below that `certify` does not refuse, where there is one."""
    for less in (each for each in USUAL if each < precision):
        try:
            found = certify(less)
        except (NotCertified, ValueError):
            continue
        except PupilError:
            return ""  # the server is gone: what it said of the first one is the news
        share = f", with {found.coverage:.0%} of the calibration images accepted" if found.coverage else ""
        return f"; precision {less:g} can be promised{share}"
    return ""


@dataclass(slots=True)
class Tally:
    """How many labels were accepted, abstained from, and skipped because the image could not be read."""

    certificate: Certificate
    promised: str  # in words
    accepted: int = 0
    abstained: int = 0
    skipped: int = 0

    def count(self, table: Table) -> None:
        """So many more rows."""
        accepted, readable = sum(table["accepted"]), table["error"].count(None)
        self.accepted += accepted
        self.abstained += readable - accepted
        self.skipped += len(table["error"]) - readable

    def sentence(self) -> str:
        """`1,797 images: 1,523 accepted at precision ≥ 0.99 with confidence 0.95, 274 abstained, 0 skipped`."""
        total = self.accepted + self.abstained + self.skipped
        why = " (the column error says why)" if self.skipped else ""
        rest = f"{self.abstained:,} abstained, {self.skipped:,} skipped{why}"
        return f"{total:,} images: {self.accepted:,} accepted {self.promised}, {rest}"


def in_words(certificate: Certificate) -> str:
    """The promise as an engineer would say it."""
    if certificate.guarantee == "pac":
        return f"at precision ≥ {certificate.precision} with confidence {1 - Decimal(str(certificate.delta))}"
    if certificate.guarantee == "fdr":
        return f"at precision ≥ {certificate.precision} in expectation"
    if certificate.guarantee == "fixed":
        return f"from confidence {certificate.threshold:g} on, without a promise"
    return "without a promise"


def persistent(patience: float) -> Attempts:
    """To ask again for so many seconds while the server is away."""
    return Attempts(tries=TRIES, timeout=patience, budget=RetryBudget(TRIES))
