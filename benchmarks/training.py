"""How fast our training loop is beside the barest one, and beside torchvision's way of training, in one run.

python benchmarks/training.py --root CIFAR_FOLDER
python benchmarks/training.py --root CIFAR_FOLDER --net lenet5

CIFAR_FOLDER holds train/<class>/*.jpg and test/<class>/*.jpg of 32×32 pixels. Every way trains the same net on the
same pictures in a process of its own, one after the other, several times over; what counts is the median of the
ratios within a round. Our loop and the barest one take turns within a process, a step each.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
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

Seconds = tuple[list[float], ...]  # of each step, of one loop or of two that take turns


def recipe(root: str, net: str, steps: int, amp: str, **more: Any) -> Recipe:
    """The run that every way repeats."""
    data = {"root": root, "height": 32, "width": 32, "channels": 3, "validation": 0.02, "calibration": 0}
    optim = {"name": "sgd", "learning_rate": 0.1, "weight_decay": 0.0005}
    model = {"name": net, **({"widths": [16, 64, 64]} if net == "airbench" else {})}
    values = {"data": data, "optim": optim, "model": model, "amp": amp}
    length = {"steps": steps, "batch_size": BATCH, "log_every": 50, "eval_every": steps}
    return parse_recipe({**values, **length, **more}, "the benchmark")


def ours(settings: Recipe) -> Seconds:
    """The steps of `pupil train`."""
    return (_train(settings, lambda: None)[0],)


def side_by_side(settings: Recipe) -> Seconds:
    """A step of `pupil train`, a step of the barest loop, and so on: what disturbs one disturbs the other."""
    bare = bare_steps(settings)
    return _train(settings, lambda: next(bare))


def _train(settings: Recipe, between: Callable[[], None]) -> Seconds:
    """The steps of `pupil train`, and what is done after each; without the last one, which evaluates and saves."""
    own: list[float] = []
    others: list[float] = []

    class Timed(RunLog):
        def steps(self) -> Iterable[int]:
            for step in super().steps():
                began = time.perf_counter()
                yield step
                ended = time.perf_counter()
                between()
                own.append(ended - began)
                others.append(time.perf_counter() - ended)

    loop.RunLog = Timed  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        loop.train(settings, Path(folder) / "run")
    return own[:-1], others[:-1]


def barest(settings: Recipe) -> Seconds:
    """The steps of the barest loop."""
    steps = bare_steps(settings)
    stamps = [time.perf_counter() for _ in zip(range(settings.steps), steps, strict=False)]
    return (_between(stamps),)


def bare_steps(settings: Recipe) -> Iterator[None]:
    """The fewest lines that train the net on a tensor in memory, with the same views where they are asked for."""
    train = load_split(settings.data, "train")
    assert train.labels is not None
    net, optimizer = _net_and_optimizer(settings, train.images, train.classes)
    views = Views(settings.augment, 0)
    while True:
        chosen = torch.randint(len(train), (BATCH,))
        images = train.images[chosen]
        pixels = views(Batch(0, 0, images, None, chosen, chosen * 0)) if views.settings.active else to_pixels(images)
        _step(net, optimizer, pixels, train.labels[chosen], settings.amp)
        yield


def reference(settings: Recipe) -> Seconds:
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
                return (_between(stamps),)
            _step(net, optimizer, pixels.to(memory_format=torch.channels_last), labels, settings.amp)


def _between(stamps: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(stamps)]


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


def ways(arguments: argparse.Namespace) -> dict[str, tuple[Callable[[Recipe], Seconds], Recipe]]:
    """Everything that is timed, by name."""
    teacher, cache = arguments.teacher, arguments.cache
    cached = {"teacher": teacher, "logits": "cached", "cache": f"{cache}/plain"}
    views = {"teacher": teacher, "logits": "views", "views": 2, "cache": f"{cache}/views"}
    whole = partial(recipe, arguments.root, arguments.net, arguments.steps, arguments.amp)
    return {
        "barest": (barest, whole()),
        "ours": (ours, whole()),
        "cached": (ours, whole(distill=cached)),
        "side by side": (side_by_side, whole()),
        "augmented side by side": (side_by_side, whole(augment=AUGMENT)),
        "augmented ours": (ours, whole(augment=AUGMENT)),
        "augmented views": (ours, whole(augment=AUGMENT, distill=views)),
        "torchvision": (reference, whole()),
    }


BAREST = " (the barest)"  # of two loops side by side, the second
RATIOS = {  # what, images a second of, over those of, is wanted to be at least
    "our loop / the barest": ("side by side", f"side by side{BAREST}", 0.95),
    "our loop / the barest, augmented": ("augmented side by side", f"augmented side by side{BAREST}", 0.95),
    "our loop / torchvision's reference style": ("augmented ours", "torchvision", 3.0),
    "distilling from cached logits / plain training": ("cached", "ours", 1 / 1.10),
    "distilling from cached views / plain training": ("augmented views", "augmented ours", 1 / 1.25),
}


def measure(name: str, arguments: argparse.Namespace) -> None:
    """Runs one way and prints images a second and its peak memory in MB."""
    torch.set_num_threads(usable_cores())
    way, settings = ways(arguments)[name]
    loops = zip((name, f"{name}{BAREST}"), way(settings), strict=False)
    rates = {each: BATCH / statistics.mean(seconds[WARMUP:]) for each, seconds in loops}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rates": rates, "memory": memory}))


def one(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of one way, measured in a process of its own."""
    words = [f"--{each}={getattr(arguments, each)}" for each in ("root", "net", "steps", "amp", "teacher", "cache")]
    command = [sys.executable, __file__, *words, "--only", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
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
        rounds, memory = [], []
        for number in range(arguments.rounds):
            figures = {name: one(name, arguments) for name in names}
            rounds.append({who: rate for each in figures.values() for who, rate in each["rates"].items()})
            memory.append({name: each["memory"] for name, each in figures.items()})
            told = ", ".join(f"{name} {rate:,.0f}" for name, rate in rounds[-1].items())
            print(f"round {number + 1}, images/s: {told}", flush=True)
    for what, (above, below, wanted) in RATIOS.items():
        found = sorted(each[above] / each[below] for each in rounds)
        middle = statistics.median(found)
        print(f"{what}: {middle:.3f} ({found[0]:.3f} to {found[-1]:.3f}), at least {wanted:.3f} is wanted")
    peak = {name: statistics.median(each[name] for each in memory) for name in ("ours", "barest")}
    print(f"peak memory, ours / barest: {peak['ours'] / peak['barest']:.3f} ({peak['ours']:,.0f} MB)")


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
