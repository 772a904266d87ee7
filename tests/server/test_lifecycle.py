import json
import signal
import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import models_pb2

PATIENCE = 20.0
STUDENT = pb.ModelSpec(name="student")


def request(toolbox, seed: int = 0) -> pb.ClassifyRequest:
    pixels = pb.Pixels(data=toolbox.random_pixels(1, seed=seed).tobytes(), count=1, height=6, width=6, channels=3)
    return pb.ClassifyRequest(model=STUDENT, images=pb.Images(pixels=pixels))


class Traffic(threading.Thread):
    """One caller who asks again and again until told to stop, and remembers every failure and every version."""

    def __init__(self, stubs, toolbox) -> None:
        super().__init__()
        self.stubs, self.request = stubs, request(toolbox)
        self.enough = threading.Event()
        self.failures: list[tuple[grpc.StatusCode, str]] = []
        self.versions: list[int] = []

    def run(self) -> None:
        while not self.enough.is_set() and not self.failures:
            try:
                answer = self.stubs.inference.Classify(self.request, timeout=PATIENCE)
                self.versions.append(answer.answered_by.version)
            except grpc.RpcError as error:
                self.failures.append((error.code(), error.details()))

    def answered(self, more: int) -> None:
        """Returns once `more` further calls have been answered."""
        wanted = len(self.versions) + more
        while len(self.versions) < wanted and self.is_alive():
            threading.Event().wait(0.002)


# Changing models


def test_a_new_version_takes_over_under_traffic_without_a_failed_request(start, connect, toolbox, repository) -> None:
    with start() as server:
        stubs = connect(server.address)
        callers = [Traffic(connect(server.address), toolbox) for _ in range(4)]
        for caller in callers:
            caller.start()
        for version in range(2, 12):
            toolbox.write_bundle(repository, "student", version, seed=version)
            callers[0].answered(5)
            stubs.models.Load(models_pb2.LoadModelRequest(name="student"), timeout=PATIENCE)
            callers[0].answered(5)
            assert callers[0].versions[-1] == version
        for caller in callers:
            caller.enough.set()
            caller.join(timeout=PATIENCE)
        assert [caller.failures for caller in callers] == [[]] * 4
        assert all(caller.versions == sorted(caller.versions) for caller in callers)
        loaded = stubs.models.List(models_pb2.ListModelsRequest(), timeout=PATIENCE).models
        ready = [model.version for model in loaded if model.name == "student" and model.state == 3]
        assert ready == [11]


def test_a_version_that_fails_its_checks_leaves_the_live_one_alone_and_says_why(
    start, connect, toolbox, repository
) -> None:
    with start() as server:
        stubs = connect(server.address)
        bundle = toolbox.write_bundle(repository, "student", 2, seed=3)
        (bundle / "golden/0.png").write_bytes(b"changed")
        with pytest.raises(grpc.RpcError) as raised:
            stubs.models.Load(models_pb2.LoadModelRequest(name="student", version=2), timeout=PATIENCE)
        assert raised.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert "golden/0.png: changed since it was exported" in raised.value.details()
        assert stubs.inference.Classify(request(toolbox), timeout=PATIENCE).answered_by.version == 1
        failed = stubs.models.List(models_pb2.ListModelsRequest(), timeout=PATIENCE).models[1]
        assert (failed.version, failed.state) == (2, models_pb2.STATE_FAILED)
        assert "golden/0.png" in failed.reason


def test_versions_side_by_side_aliases_and_unloading(start, connect, toolbox, repository) -> None:
    toolbox.write_bundle(repository, "student", 2, seed=3)
    with start() as server:
        stubs = connect(server.address)
        stubs.models.Load(models_pb2.LoadModelRequest(name="student", version=1, keep_others=True), timeout=PATIENCE)

        def answered(**choice: object) -> int:
            asked = request(toolbox)
            asked.model.CopyFrom(pb.ModelSpec(name="student", **choice))
            return stubs.inference.Classify(asked, timeout=PATIENCE).answered_by.version

        assert (answered(), answered(version=1), answered(version=2)) == (2, 1, 2)
        listed = stubs.models.List(models_pb2.ListModelsRequest(), timeout=PATIENCE).models
        assert [(model.version, model.by_name) for model in listed if model.name == "student"] == [
            (1, False),
            (2, True),
        ]
        stubs.models.SetAlias(models_pb2.SetAliasRequest(name="student", alias="stable", version=1), timeout=PATIENCE)
        assert answered(alias="stable") == 1
        assert json.loads((repository / "student/aliases.json").read_text()) == {"stable": 1}
        stubs.models.Unload(models_pb2.UnloadModelRequest(name="student", version=2), timeout=PATIENCE)
        assert answered() == 1
        stubs.models.SetAlias(models_pb2.SetAliasRequest(name="student", alias="stable"), timeout=PATIENCE)
        with pytest.raises(grpc.RpcError) as raised:
            answered(alias="stable")
        assert raised.value.code() == grpc.StatusCode.NOT_FOUND
        stubs.models.Unload(models_pb2.UnloadModelRequest(name="student"), timeout=PATIENCE)
        health = health_pb2_grpc.HealthStub(stubs.channel)
        status = health.Check(health_pb2.HealthCheckRequest(service="student"), timeout=PATIENCE).status
        assert status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_an_alias_keeps_its_version_loaded_when_a_newer_one_takes_over(start, connect, toolbox, repository) -> None:
    with start() as server:
        stubs = connect(server.address)
        stubs.models.SetAlias(models_pb2.SetAliasRequest(name="student", alias="stable", version=1), timeout=PATIENCE)
        toolbox.write_bundle(repository, "student", 2, seed=3)
        stubs.models.Load(models_pb2.LoadModelRequest(name="student"), timeout=PATIENCE)
        states = {
            (model.name, model.version): model.state
            for model in stubs.models.List(models_pb2.ListModelsRequest(), timeout=PATIENCE).models
        }
        assert states["student", 1] == states["student", 2] == models_pb2.STATE_READY


def test_an_alias_and_its_version_are_there_again_after_a_restart(start, connect, toolbox, repository) -> None:
    toolbox.write_bundle(repository, "student", 2, seed=3)
    (repository / "student/aliases.json").write_text('{"stable": 1}')
    with start() as server:
        asked = request(toolbox)
        asked.model.alias = "stable"
        answer = connect(server.address).inference.Classify(asked, timeout=PATIENCE)
        assert answer.answered_by.version == 1


@pytest.mark.parametrize(
    ("method", "asked"),
    [
        ("Load", models_pb2.LoadModelRequest(name="../../etc")),
        ("Load", models_pb2.LoadModelRequest(name="student", version=77)),
        ("Unload", models_pb2.UnloadModelRequest(name="nobody")),
        ("SetAlias", models_pb2.SetAliasRequest(name="nobody", alias="a", version=1)),
        ("SetAlias", models_pb2.SetAliasRequest(name="student", alias="a", version=9)),
        ("SetAlias", models_pb2.SetAliasRequest(name="student", alias="never-set")),
        ("Get", models_pb2.GetModelRequest(model=pb.ModelSpec(name="nobody"))),
    ],
)
def test_changing_what_is_not_there_is_not_found(stubs, method: str, asked) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        getattr(stubs.models, method)(asked, timeout=PATIENCE)
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_watching_health_tells_of_each_change(start, connect) -> None:
    with start() as server:
        stubs = connect(server.address)
        health = health_pb2_grpc.HealthStub(stubs.channel)
        watching = health.Watch(health_pb2.HealthCheckRequest(service="student"), timeout=PATIENCE)
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
        stubs.models.Unload(models_pb2.UnloadModelRequest(name="student"), timeout=PATIENCE)
        assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watching.cancel()


def test_watching_a_model_that_is_not_there_yet_tells_when_it_comes(start, connect) -> None:
    with start("--models", "teacher") as server:
        stubs = connect(server.address)
        health = health_pb2_grpc.HealthStub(stubs.channel)
        watching = health.Watch(health_pb2.HealthCheckRequest(service="student"), timeout=PATIENCE)
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        stubs.models.Load(models_pb2.LoadModelRequest(name="student"), timeout=PATIENCE)
        told = next(watching).status
        if told == health_pb2.HealthCheckResponse.NOT_SERVING:  # a look while it was being loaded
            told = next(watching).status
        assert told == health_pb2.HealthCheckResponse.SERVING
        watching.cancel()


# Ending


def test_sigterm_under_traffic_drops_no_request_that_was_let_in(start, connect, toolbox) -> None:
    with start("--drain-delay", "0.3") as server:
        callers = [Traffic(connect(server.address), toolbox) for _ in range(4)]
        for caller in callers:
            caller.start()
        callers[0].answered(20)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=PATIENCE) == 0
        for caller in callers:
            caller.enough.set()
            caller.join(timeout=PATIENCE)
        # After the door is closed a caller hears UNAVAILABLE, which is safe to retry elsewhere; nothing else.
        assert {code for caller in callers for code, _ in caller.failures} <= {grpc.StatusCode.UNAVAILABLE}
        assert "Traceback" not in server.log.read_text()


def test_while_draining_the_server_is_live_but_not_ready(start, connect) -> None:
    with start("--drain-delay", "5") as server:
        health = health_pb2_grpc.HealthStub(connect(server.address).channel)
        watching = health.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
        server.process.send_signal(signal.SIGTERM)
        assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING
        asked = health.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
        assert asked.status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert server.get("readyz") == (503, "loading or draining\n")
        assert server.get("livez") == (200, "ok\n")
        server.process.send_signal(signal.SIGTERM)  # a second one ends it at once
        assert server.process.wait(timeout=2) == -signal.SIGTERM
        watching.cancel()
