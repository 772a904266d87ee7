"""Whether a server's memory stays level under batches of every size.

python benchmarks/memory.py BUNDLE --minutes 60

Requests of 1 to 256 raw images, drawn anew each time, four callers, and pauses between them so that the machine can
do other work too. What counts is the resident memory at the end beside that after the first minute.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from pupil_client import Client

CALLERS = 4
MOST_IMAGES = 256


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS"))


def ask(address: str, model: str, size: list[int], pause: float, stop: threading.Event, asked: list[int]) -> None:
    """One caller: asks and pauses until it is told to stop."""
    draw = random.Random(threading.get_ident())
    with Client(address, timeout=60) as client:
        while not stop.wait(pause):
            images = [np.zeros(size, np.uint8)] * draw.randint(1, MOST_IMAGES)
            client.classify(images, model=model)
            asked.append(len(images))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--pause", type=float, default=0.2, help="seconds, after each request of a caller")
    parser.add_argument("--front", default="auto")
    chosen = parser.parse_args()
    facts = json.loads((chosen.bundle / "bundle.json").read_text())
    size = [facts["input"][side] for side in ("height", "width", "channels")]
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder) / facts["model"] / str(facts["version"])
        here.parent.mkdir()
        here.symlink_to(chosen.bundle.resolve())
        serve = [
            sys.executable,
            "-m",
            "pupil_client",
            "serve",
            "--repository",
            folder,
            "--port",
            "0",
            "--http-port",
            "0",
        ]
        serve += ["--front", chosen.front]
        with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                watch(process, facts["model"], size, chosen)
            finally:
                process.kill()


def watch(process: "subprocess.Popen[str]", model: str, size: list[int], chosen: argparse.Namespace) -> None:
    """Prints the memory each minute, and at last how it has changed."""
    assert process.stdout is not None
    address = json.loads(process.stdout.readline())["grpc"]
    stop, asked = threading.Event(), list[int]()
    callers = [
        threading.Thread(target=ask, args=(address, model, size, chosen.pause, stop, asked)) for _ in range(CALLERS)
    ]
    for caller in callers:
        caller.start()
    levels = []
    try:
        for minute in range(1, chosen.minutes + 1):
            time.sleep(60)
            levels.append(resident_mb(process.pid))
            print(
                f"minute {minute:3}  {len(asked):8,} requests  {sum(asked):10,} images  {levels[-1]:6.0f} MB",
                flush=True,
            )
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    print(f"the memory at the end is {levels[-1] / levels[0]:.3f} of that after the first minute")


if __name__ == "__main__":
    main()
