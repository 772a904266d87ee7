"""How fast our training loop is beside the barest one, and beside torchvision's way of training, in one run.

python benchmarks/training.py --root CIFAR_FOLDER
python benchmarks/training.py --root CIFAR_FOLDER --net lenet5

CIFAR_FOLDER holds train/<class>/*.jpg and test/<class>/*.jpg of 32×32 pixels. Every way trains the same net on the
same pictures in a process of its own, one after the other, several times over; what counts is the median of the
ratios within a round.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from pupil_training import loop
from pupil_training.augment import Views
from pupil_training.data import load_split
from pupil_training.data.feed import Batch
from pupil_training.devices import autocast, usable_cores
from pupil_training.log import RunLog
from pupil_training.malloc import keep_memory
from pupil_training.models import Classifier
from pupil_training.pixels import to_pixels
from pupil_training.recipe import Recipe, parse_recipe
from pupil_training.student import new_student

WARMUP = 5  # steps that are not counted
BATCH = 500
AUGMENT = {"shift": 2, "flip": True}


def recipe(root: str, net: str, steps: int, amp: str, **more: Any) -> Recipe:
    """The run that every way repeats."""
    data = {"root": root, "height": 32, "width": 32, "channels": 3, "validation": 0.02, "calibration": 0}
    optim = {"name": "sgd", "learning_rate": 0.1, "weight_decay": 0.0005}
    model = {"name": net, **({"widths": [16, 64, 64]} if net == "airbench" else {})}
    values = {"data": data, "optim": optim, "model": model, "amp": amp}
    length = {"steps": steps, "batch_size": BATCH, "log_every": 50, "eval_every": steps}
    return parse_recipe({**values, **length, **more}, "the benchmark")


def ours(settings: Recipe) -> list[float]:
    """When each step of `pupil train` began."""
    stamps: list[float] = []

    class Timed(RunLog):
        def steps(self) -> Iterable[int]:
            for step in super().steps():
                stamps.append(time.perf_counter())
                yield step

    loop.RunLog = Timed  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        loop.train(settings, Path(folder) / "run")
    return stamps


def barest(settings: Recipe) -> list[float]:
    """The fewest lines that train the net on a tensor in memory, with the same views where they are asked for."""
    train = load_split(settings.data, "train")
    assert train.labels is not None
    net, optimizer = _net_and_optimizer(settings, train.images, train.classes)
    views = Views(settings.augment, 0)
    stamps = []
    for step in range(settings.steps):
        stamps.append(time.perf_counter())
        chosen = torch.randint(len(train), (BATCH,))
        images = train.images[chosen]
        pixels = views(Batch(step, 0, images, None, chosen, chosen * 0)) if views.settings.active else to_pixels(images)
        _step(net, optimizer, pixels, train.labels[chosen], settings.amp)
    return stamps


def reference(settings: Recipe) -> list[float]:
    """ImageFolder, transforms picture by picture, a DataLoader with workers: torchvision's reference scripts."""
    from torchvision import datasets, transforms

    changes = [transforms.RandomCrop(32, padding=2), transforms.RandomHorizontalFlip()]
    transform = transforms.Compose([*changes, transforms.ToTensor()])
    images = datasets.ImageFolder(str(settings.data.root / "train"), transform)
    loader = torch.utils.data.DataLoader(
        images, BATCH, shuffle=True, num_workers=usable_cores(), persistent_workers=True, drop_last=True
    )
    plain = load_split(settings.data, "validation").images
    net, optimizer = _net_and_optimizer(settings, plain, tuple(images.classes))
    stamps: list[float] = []
    while True:
        for pixels, labels in loader:
            stamps.append(time.perf_counter())
            if len(stamps) == settings.steps:
                return stamps
            _step(net, optimizer, pixels.to(memory_format=torch.channels_last), labels, settings.amp)


def _net_and_optimizer(
    settings: Recipe, images: torch.Tensor, classes: tuple[str, ...]
) -> tuple[Classifier, torch.optim.Optimizer]:
    keep_memory()
    net = new_student(settings, images, classes).to(memory_format=torch.channels_last).train()
    how = settings.optim
    return net, torch.optim.SGD(net.parameters(), how.learning_rate, how.momentum, 0, how.weight_decay, nesterov=True)


def _step(
    net: Classifier, optimizer: torch.optim.Optimizer, pixels: torch.Tensor, labels: torch.Tensor, amp: str
) -> None:
    with autocast(amp, torch.device("cpu")):
        loss = F.cross_entropy(net(pixels).float(), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def ways(arguments: argparse.Namespace) -> dict[str, tuple[Callable[[Recipe], list[float]], Recipe]]:
    """Everything that is timed, by name."""
    teacher, cache = arguments.teacher, arguments.cache
    cached = {"teacher": teacher, "logits": "cached", "cache": f"{cache}/plain"}
    views = {"teacher": teacher, "logits": "views", "views": 2, "cache": f"{cache}/views"}
    whole = partial(recipe, arguments.root, arguments.net, arguments.steps, arguments.amp)
    return {
        "barest": (barest, whole()),
        "ours": (ours, whole()),
        "cached": (ours, whole(distill=cached)),
        "augmented barest": (barest, whole(augment=AUGMENT)),
        "augmented ours": (ours, whole(augment=AUGMENT)),
        "augmented views": (ours, whole(augment=AUGMENT, distill=views)),
        "torchvision": (reference, whole()),
    }


RATIOS = {  # what, images a second of, over those of, is wanted to be at least
    "our loop / the barest": ("ours", "barest", 0.95),
    "our loop / the barest, augmented": ("augmented ours", "augmented barest", 0.95),
    "our loop / torchvision's reference style": ("augmented ours", "torchvision", 3.0),
    "distilling from cached logits / plain training": ("cached", "ours", 1 / 1.10),
    "distilling from cached views / plain training": ("augmented views", "augmented ours", 1 / 1.25),
}


def measure(name: str, arguments: argparse.Namespace) -> None:
    """Runs one way and prints images a second and its peak memory in MB."""
    torch.set_num_threads(usable_cores())
    way, settings = ways(arguments)[name]
    stamps = way(settings)[WARMUP:]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rate": BATCH * (len(stamps) - 1) / (stamps[-1] - stamps[0]), "memory": memory}))


def one(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """The figures of one way, measured in a process of its own."""
    words = [f"--{each}={getattr(arguments, each)}" for each in ("root", "net", "steps", "amp", "teacher", "cache")]
    command = [sys.executable, __file__, *words, "--only", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def compare(arguments: argparse.Namespace) -> None:
    """All ways, round after round; the ratios at the end."""
    teacher = recipe(arguments.root, arguments.net, 50, arguments.amp, name="teacher")
    with tempfile.TemporaryDirectory() as folder:
        arguments.teacher, arguments.cache = f"{folder}/teacher", f"{folder}/cache"
        loop.train(teacher, Path(arguments.teacher))
        names = list(ways(arguments))
        for name in ("cached", "augmented views"):
            one(name, arguments)  # fills the cache, which is not what is timed
        rounds = []
        for number in range(arguments.rounds):
            rounds.append({name: one(name, arguments) for name in names})
            told = ", ".join(f"{name} {figures['rate']:,.0f}" for name, figures in rounds[-1].items())
            print(f"round {number + 1}, images/s: {told}", flush=True)
    for what, (above, below, wanted) in RATIOS.items():
        found = sorted(each[above]["rate"] / each[below]["rate"] for each in rounds)
        middle = statistics.median(found)
        print(f"{what}: {middle:.3f} ({found[0]:.3f} to {found[-1]:.3f}), at least {wanted:.3f} is wanted")
    memory = {name: statistics.median(each[name]["memory"] for each in rounds) for name in ("ours", "barest")}
    print(f"peak memory, ours / barest: {memory['ours'] / memory['barest']:.3f} ({memory['ours']:,.0f} MB)")


def main() -> None:
    """Compares all ways, or measures one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--net", default="airbench", help="lenet5 costs little, so that what is around it shows")
    parser.add_argument("--steps", type=int, default=105)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--amp", default="off", choices=["off", "bf16"], help="bf16 where the processor has AMX")
    parser.add_argument("--only")
    parser.add_argument("--teacher", default="")
    parser.add_argument("--cache", default="")
    arguments = parser.parse_args()
    if arguments.only:
        measure(arguments.only, arguments)
    else:
        compare(arguments)


if __name__ == "__main__":
    main()
