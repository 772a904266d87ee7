"""What int8 may cost."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pupil_export.cost import Cost


@dataclass(frozen=True)
class Gate:
    """The most that int8 may cost on the validation split."""

    most_lost: float = 0.003  # of the accuracy: 0.3 points
    least_agreement: float = 0.98  # with fp32's best class; what differs is near a tie

    def passes(self, cost: "Cost") -> bool:
        return cost.lost / cost.of <= self.most_lost and cost.same / cost.of >= self.least_agreement

    def compare(self, cost: "Cost") -> str:
        """The cost beside what is allowed, in words."""
        return (
            f"loses {100 * cost.lost / cost.of:.2f} points of accuracy on {cost.of} validation images (at most "
            f"{100 * self.most_lost:g} are allowed) and agrees with fp32 on {cost.same / cost.of:.2%} of them (at "
            f"least {self.least_agreement:.2%} are wanted)"
        )


DEFAULT_GATE = Gate()
