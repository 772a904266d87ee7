"""Two workers on two cores beside one on one: what a request costs each of them, and how many are answered.

python benchmarks/workers.py repository --model student --worker-core 1 --load-core 0

The load is h2load on 16 connections, because a connection stays with its worker. On a machine of two cores the two
workers share them with the load, so the figure to compare is the server's CPU seconds a request: where those of two
workers are c times those of one, two cores of their own answer 2 / c times as much. The load's share of all that CPU
tells how much of the cores it took. One and two take turns, round by round; ratios are within a round.
"""

import argparse
import json
import resource
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from cpu_time import cpu_of_all
from serving import CLASSIFY, Server, classify, h2load, on_core, running

from pupil_proto.v1 import inference_pb2 as pb

CONNECTIONS, IN_FLIGHT = 16, 4  # calls on each


class Found(NamedTuple):
    cpu: float  # seconds of the server for 1,000 requests
    rate: float  # answers a second
    share: float  # of the load, in the CPU that both took


def ask(server: Server, request: pb.ClassifyRequest, requests: int, prefix: list[str]) -> Found:
    url, before, ours = f"http://{server.address}{CLASSIFY}", cpu_of_all(server.pid), cpu_of_load()
    rate = h2load(url, request, requests, IN_FLIGHT, prefix, connections=CONNECTIONS)
    cpu, load = cpu_of_all(server.pid) - before, cpu_of_load() - ours
    return Found(cpu / requests * 1000, rate, load / (load + cpu))


def cpu_of_load() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--model", default="student")
    parser.add_argument("--requests", type=int, default=20_000, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker-core", type=int, default=1, help="of the one worker; two use every core")
    parser.add_argument("--load-core", type=int, default=0, help="of h2load, against the one worker")
    asked = parser.parse_args()
    facts = json.loads(next((asked.repository / asked.model).glob("*/bundle.json")).read_bytes())
    request = classify(asked.model, 1, tuple(facts["input"][side] for side in ("height", "width", "channels")))
    serve = [sys.executable, "-m", "pupil_client", "serve", "--repository", str(asked.repository), "--device", "cpu"]
    serve += ["--models", asked.model, "--port", "0", "--http-port", "0", "--threads", "1", "--front", "nghttp2"]
    commands = {"one": [*on_core(asked.worker_core), *serve], "two": [*serve, "--workers", "2"]}
    prefixes = {"one": on_core(asked.load_core), "two": []}
    found: dict[str, list[Found]] = {name: [] for name in commands}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(running(command)) for name, command in commands.items()}
        for turn in range(asked.rounds + 1):
            for name, server in servers.items():
                measured = ask(server, request, asked.requests, prefixes[name])
                if turn:  # the first one warms
                    found[name].append(measured)
    print("| workers | CPU s per 1,000 requests | from to | answers/s | of all CPU, the load took |")
    print("| --- | --: | --- | --: | --: |")
    for name, each in found.items():
        cpus, rates, shares = zip(*each, strict=True)
        cpu, rate, share = (statistics.median(column) for column in (cpus, rates, shares))
        print(f"| {name} | {cpu:.4f} | {min(cpus):.4f} to {max(cpus):.4f} | {rate:,.0f} | {share:.0%} |")
    for what, place in (("two over one, CPU", 0), ("two over one, answers", 1)):
        ratios = sorted(b[place] / a[place] for a, b in zip(found["one"], found["two"], strict=True))
        print(f"{what}: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
