"""What a server costs while nobody asks: every default on, teacher and student loaded, in each front and with workers.

python benchmarks/idle.py repository --models teacher --models student

CPU time of all the server's processes over a minute, as a share of one core; what else the machine does does not count.
"""

import argparse
import contextlib
import sys
import time
from pathlib import Path

from cpu_time import cpu_of_all
from serving import running

KINDS = {
    "nghttp2": ("--front", "nghttp2"),
    "grpcio": ("--front", "grpcio"),
    "nghttp2, two workers": ("--front", "nghttp2", "--workers", "2"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--models", action="append", default=[], help="load only these; repeat for more")
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args()
    serve = [sys.executable, "-m", "pupil_client", "serve", "--repository", str(asked.repository)]
    serve += ["--port", "0", "--http-port", "0"]
    serve += [word for model in asked.models for word in ("--models", model)]
    print("| | share of a core |\n| --- | --: |")
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(running([*serve, *kind])) for name, kind in KINDS.items()}
        time.sleep(5)  # what follows a start is no idling
        before = {name: cpu_of_all(server.pid) for name, server in servers.items()}
        time.sleep(asked.seconds)
        for name, server in servers.items():
            print(f"| {name} | {(cpu_of_all(server.pid) - before[name]) / asked.seconds:.2%} |")


if __name__ == "__main__":
    main()
