"""No wait and no deadline depends on the time of day."""

import ast
import signal
from pathlib import Path

import grpc
import pytest

import pupil_server
from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import models_pb2

PATIENCE = 30.0
DATES = ("logs.py", "statistics.py", "tokens.py", "tracing.py")  # say when something was; nothing waits for that


def request(toolbox, count: int) -> pb.ClassifyRequest:
    data = toolbox.random_pixels(count, seed=0).tobytes()
    images = pb.Images(pixels=pb.Pixels(data=data, count=count, height=6, width=6, channels=3))
    return pb.ClassifyRequest(model=pb.ModelSpec(name="student"), images=images)


def test_a_clock_that_jumps_back_an_hour_at_every_look_changes_no_deadline(
    start, toolbox, connect, monkeypatch, tmp_path
) -> None:
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock/sitecustomize.py").write_text(
        "import itertools, time\n"
        "now, looks = time.time(), itertools.count()\n"
        "time.time = lambda: now - 3600 * (next(looks) % 10_000)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "clock"))
    asked = request(toolbox, 64)
    with start("--max-batch", "1") as server:
        stubs = connect(server.address)
        for _ in range(20):
            assert len(stubs.inference.Classify(asked, timeout=PATIENCE).predictions) == 64
        stubs.models.Load(models_pb2.LoadModelRequest(name="student", version=1), timeout=PATIENCE)
        with pytest.raises(grpc.RpcError) as raised:
            stubs.inference.Classify(request(toolbox, 4000), timeout=0.002)
        assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=PATIENCE) == 0


def test_no_wait_and_no_deadline_looks_at_the_wall_clock() -> None:
    found = []
    for file in Path(pupil_server.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "time.time":
                found.append(f"{file.name}:{node.lineno}")
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                found += [f"{file.name}:{node.lineno}" for alias in node.names if alias.name == "time"]
    assert [place for place in found if not place.startswith(DATES)] == []
