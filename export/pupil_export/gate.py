"""What a smaller precision may cost beside fp32."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pupil_export.errors import ExportError

if TYPE_CHECKING:
    from pupil_export.cost import Cost  # behind which is torch


@dataclass(frozen=True)
class Gate:
    """The most that fp16 or int8 may cost on the validation split."""

    most_lost: float = 0.003  # of the accuracy: 0.3 points
    least_agreement: float = 0.98  # with fp32's best class; what differs is near a tie

    def passes(self, cost: "Cost") -> bool:
        numbers = math.isfinite(cost.mean_difference)  # the class that a NaN has may be right by chance
        return numbers and cost.lost / cost.of <= self.most_lost and cost.same / cost.of >= self.least_agreement

    def refusal(self, precision: str, graph: str, cost: "Cost") -> ExportError:
        """Why `graph` is not exported: its cost beside what is allowed."""
        if not math.isfinite(cost.mean_difference):
            return ExportError(
                f"{precision}: {graph} gives scores that are no numbers; leave {precision} out of --precision"
            )
        return ExportError(
            f"{precision}: {graph} loses {100 * cost.lost / cost.of:.2f} points of accuracy on {cost.of} validation "
            f"images (at most {100 * self.most_lost:g} are allowed) and agrees with fp32 on {cost.same / cost.of:.2%} "
            f"of them (at least {self.least_agreement:.2%} are wanted); not exported. Leave {precision} out of "
            "--precision, or accept the cost with --most-lost and --least-agreement"
        )


DEFAULT_GATE = Gate()
