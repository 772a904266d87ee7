"""A recipe over several seeds, judged on the test split once: what the first lines of a recipe report.

python benchmarks/seeds.py hinton_student data.root=DATA --seeds 0 1 2

Each seed's run is `runs/<recipe>-<seed>`; one that is finished is not trained again, one that was killed goes on.
`{seed}` in an override becomes the seed, as in distill.teacher=runs/mnist_teacher-{seed}.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pupil_training.devices import processor

SECONDS = "seconds"


def pupil(*words: str) -> str:
    """What the command says on standard output; its talk goes where ours does."""
    return subprocess.run([sys.executable, "-m", "pupil_client", *words], check=True, stdout=-1, text=True).stdout


def trained(recipe: str, overrides: list[str], out: Path, verb: str) -> Path:
    """The finished run, which is the best one of a folder of rounds."""
    if verb != "self-train" and (out / "result.json").exists():
        return out
    return Path(pupil(verb, recipe, *overrides, "--out", str(out), "--resume").strip())


def judged(recipe: str, overrides: list[str], seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that `pupil evaluate` says of one seed, with the seconds that it took."""
    words = [f"seed={seed}", *(override.replace("{seed}", str(seed)) for override in overrides)]
    name = arguments.name or Path(recipe).stem
    run = trained(recipe, words, Path(arguments.out) / f"{name}-{seed}", arguments.verb)
    found: dict[str, Any] = json.loads(pupil("evaluate", str(run), "--json", "--split", arguments.split))
    return {**found, SECONDS: json.loads((run / "result.json").read_text())["seconds"]}


def summary(reports: list[dict[str, Any]]) -> str:
    """The accuracies with their mean and spread, the errors, the agreement, and what they took where."""
    shares = [100 * each["accuracy"]["right"] / each["accuracy"]["of"] for each in reports]
    errors = [each["accuracy"]["of"] - each["accuracy"]["right"] for each in reports]
    spread = statistics.stdev(shares) if len(shares) > 1 else 0.0
    told = f"{statistics.mean(shares):.2f} % ({', '.join(f'{share:.2f}' for share in shares)}; sd {spread:.2f}), "
    told += f"errors {', '.join(map(str, errors))} of {reports[0]['accuracy']['of']}"
    if "agreement" in reports[0]:
        same = [100 * each["agreement"]["right"] / each["agreement"]["of"] for each in reports]
        told += f", agrees with the teacher on {statistics.mean(same):.2f} %"
    told += f", {', '.join(str(round(each[SECONDS])) for each in reports)} s"
    return f"{told} on {len(os.sched_getaffinity(0))} cores of {processor()}, load {os.getloadavg()[0]:.1f}"


def main() -> None:
    """Trains, judges, and prints one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--verb", default="train", choices=["train", "distill", "self-train"])
    parser.add_argument("--out", default="runs")
    parser.add_argument("--name", help="of the runs, where overrides make another thing of the recipe")
    parser.add_argument("--split", default="test")
    arguments = parser.parse_intermixed_args()
    reports = [judged(arguments.recipe, arguments.overrides, seed, arguments) for seed in arguments.seeds]
    print(f"{arguments.recipe} {' '.join(arguments.overrides)}, {datetime.now(UTC):%Y-%m-%d}: {summary(reports)}")
    if any(set(each) & {"of_each_class"} for each in reports):
        worst = [min(each["of_each_class"].items(), key=lambda one: one[1]["right"] / one[1]["of"]) for each in reports]
        print("the class with the most errors:", "; ".join(f"{name} {c['right']} of {c['of']}" for name, c in worst))


if __name__ == "__main__":
    main()
