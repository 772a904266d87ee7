"""What counts as lost in a cascade: the goals by their numbers on the wire, and the numbers by their words."""

from typing import TYPE_CHECKING

from pupil_proto.v1 import inference_pb2 as pb

if TYPE_CHECKING:  # a supervisor loads this file, too, and needs no arithmetic
    from pupil_trust.cascade import Goal

ASKED: dict[pb.CascadeGoal, "Goal"] = {
    pb.CASCADE_GOAL_UNSPECIFIED: "disagreement",
    pb.CASCADE_GOAL_DISAGREEMENT: "disagreement",
    pb.CASCADE_GOAL_WORSE: "worse",
    pb.CASCADE_GOAL_ACCURACY: "accuracy",
}
GOALS: dict[str, pb.CascadeGoal] = {goal: number for number, goal in ASKED.items() if number}
