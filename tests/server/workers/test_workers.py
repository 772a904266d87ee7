"""Two workers look like one server."""

import json
import os
import signal
import urllib.request
from pathlib import Path

import grpc
import pytest

from pupil_proto.oip.v2 import repository_pb2 as oip
from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import inference_pb2_grpc, models_pb2, models_pb2_grpc

PATIENCE = 20.0


def classify(channel: grpc.Channel, request: pb.ClassifyRequest) -> pb.ClassifyResponse:
    return inference_pb2_grpc.InferenceStub(channel).Classify(request, timeout=PATIENCE)


def versions(channels: list[grpc.Channel], request: pb.ClassifyRequest, **spec: object) -> set[int]:
    """The versions that answer over all these connections; 0 where there is none."""
    asked, found = pb.ClassifyRequest(), set()
    asked.CopyFrom(request)
    asked.model.CopyFrom(pb.ModelSpec(**spec))
    for channel in channels:
        try:
            found.add(classify(channel, asked).answered_by.version)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise
            found.add(0)
    return found


def test_both_workers_answer_rightly_and_the_metrics_count_every_request(crew, channels, picture, toolbox) -> None:
    folder, before = crew.folder(), crew.counted('pupil_batch_images_sum{model="student",version="1"}')
    already = [crew.asked(folder, number) for number in (1, 2)]
    (expected,) = toolbox.linear_scores(toolbox.random_pixels(1, seed=5), seed=2)
    best = toolbox.classes[expected.argmax()]
    for channel in channels * 3:
        answer = classify(channel, picture)
        assert answer.predictions[0].top[0].label == best
        assert answer.predictions[0].top[0].score == pytest.approx(expected.max(), abs=1e-5)
    shares = [crew.asked(folder, number) - had for number, had in zip((1, 2), already, strict=True)]
    assert min(shares) > 0
    assert sum(shares) == 3 * len(channels)
    assert crew.counted('pupil_batch_images_sum{model="student",version="1"}') == before + 3 * len(channels)
    assert crew.counted("pupil_workers") == 2
    assert crew.counted('pupil_model_state{model="student",version="1"}') == models_pb2.STATE_READY


def test_the_gateway_gives_every_second_request_to_each_worker(crew, toolbox) -> None:
    folder = crew.folder()
    before = [crew.asked(folder, number) for number in (1, 2)]
    (pixels,) = toolbox.random_pixels(1, seed=6)
    expected = toolbox.linear_scores(pixels[None], seed=2)[0].max()
    for _ in range(4):
        posted = urllib.request.Request(
            f"http://{crew.http}/v1/models/student:classify?top_k=1",
            toolbox.png(pixels),
            {"Content-Type": "image/png", "X-Request-Id": "mine"},
        )
        with urllib.request.urlopen(posted, timeout=PATIENCE) as answer:
            assert answer.headers["X-Request-Id"] == "mine"
            assert json.loads(answer.read())["predictions"][0]["top"][0]["score"] == pytest.approx(expected, abs=1e-5)
    assert [crew.asked(folder, number) - had for number, had in zip((1, 2), before, strict=True)] == [2, 2]


def test_the_gateway_keeps_its_limits_and_its_refusals(crew) -> None:
    def refused(path: str, headers: dict[str, str]) -> tuple[int, str]:
        posted = urllib.request.Request(f"http://{crew.http}{path}", b"x", headers)
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(posted, timeout=PATIENCE)
        with raised.value as error:
            return error.code, json.loads(error.read())["error"]["message"]

    png = {"Content-Type": "image/png"}
    assert refused("/v1/models/nobody:classify", png) == (404, "no model nobody; loaded: student/1, teacher/1")
    assert refused("/v1/models/student:classify", png | {"Content-Length": "64000001"})[0] == 413


def test_what_one_worker_is_told_to_change_every_worker_changes(crew, channels, picture, toolbox) -> None:
    models = models_pb2_grpc.ModelsStub(channels[0])
    for version in (1, 2):
        toolbox.write_bundle(crew.repository, "changing", version, seed=version)
    assert versions(channels, picture, name="changing") == {0}
    models.Load(models_pb2.LoadModelRequest(name="changing", version=1), timeout=PATIENCE)
    assert versions(channels, picture, name="changing") == {1}
    models.SetAlias(models_pb2.SetAliasRequest(name="changing", alias="stable", version=1), timeout=PATIENCE)
    load = channels[1].unary_unary("/inference.GRPCInferenceService/RepositoryModelLoad")
    load(oip.RepositoryModelLoadRequest(model_name="changing").SerializeToString(), timeout=PATIENCE)
    assert versions(channels, picture, name="changing") == {2}
    assert versions(channels, picture, name="changing", alias="stable") == {1}
    models.SetAlias(models_pb2.SetAliasRequest(name="changing", alias="stable"), timeout=PATIENCE)
    assert versions(channels, picture, name="changing", alias="stable") == {0}
    models.Unload(models_pb2.UnloadModelRequest(name="changing"), timeout=PATIENCE)
    assert versions(channels, picture, name="changing") == {0}
    assert crew.counted('pupil_requests_total{code="OK",method="pupil.v1.Models/Unload"}') == 1


def test_changes_that_come_at_once_leave_every_worker_with_the_same(crew, channels, picture, toolbox) -> None:
    for version in range(1, 5):
        toolbox.write_bundle(crew.repository, "contested", version, seed=version)
    asked = [
        models_pb2_grpc.ModelsStub(channel).Load.future(
            models_pb2.LoadModelRequest(name="contested", version=1 + place % 4), timeout=PATIENCE
        )
        for place, channel in enumerate(channels[:12])
    ]
    for each in asked:
        each.result()
    assert len(versions(channels, picture, name="contested")) == 1
    models_pb2_grpc.ModelsStub(channels[0]).Unload(models_pb2.UnloadModelRequest(name="contested"), timeout=PATIENCE)


def test_a_broken_bundle_is_refused_and_the_live_version_answers_on_everywhere(
    crew, channels, picture, toolbox
) -> None:
    bundle = toolbox.write_bundle(crew.repository, "student", 2, seed=3)
    (bundle / "golden/0.png").write_bytes(b"changed")
    for channel in channels[:6]:
        with pytest.raises(grpc.RpcError) as raised:
            models_pb2_grpc.ModelsStub(channel).Load(
                models_pb2.LoadModelRequest(name="student", version=2), timeout=PATIENCE
            )
        assert raised.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert "golden/0.png: changed since it was exported" in raised.value.details()
    assert versions(channels, picture, name="student") == {1}


def test_why_a_version_failed_every_worker_tells_though_only_one_has_tried_it(crew, channels, toolbox) -> None:
    bundle = toolbox.write_bundle(crew.repository, "broken", 1, seed=1)
    (bundle / "golden/0.png").write_bytes(b"changed")
    with pytest.raises(grpc.RpcError):
        models_pb2_grpc.ModelsStub(channels[0]).Load(models_pb2.LoadModelRequest(name="broken"), timeout=PATIENCE)
    for channel in channels[:12]:
        found = models_pb2_grpc.ModelsStub(channel).List(models_pb2.ListModelsRequest(), timeout=PATIENCE).models
        (broken,) = (each for each in found if each.name == "broken")
        assert broken.state == models_pb2.STATE_FAILED
        assert "golden/0.png: changed since it was exported" in broken.reason


def test_a_worker_that_cannot_do_its_part_is_named_with_its_reason(crew, channels, picture, toolbox) -> None:
    """Without its socket nobody finds it, as while it is being started."""
    toolbox.write_bundle(crew.repository, "half", 1, seed=1)
    folder = crew.folder()
    (folder / "2.control").rename(folder / "aside")
    told = set()
    try:
        for channel in channels[:12]:
            try:
                models_pb2_grpc.ModelsStub(channel).Load(models_pb2.LoadModelRequest(name="half"), timeout=PATIENCE)
            except grpc.RpcError as error:
                told.add((error.code(), error.details()))
    finally:
        (folder / "aside").rename(folder / "2.control")
    why = "it is being started, or has just ended; the others may have, so ask again"
    assert told == {(grpc.StatusCode.UNAVAILABLE, f"worker 2 of 2 has not done it: {why}")}
    models_pb2_grpc.ModelsStub(channels[0]).Load(models_pb2.LoadModelRequest(name="half"), timeout=PATIENCE)
    assert versions(channels, picture, name="half") == {1}
    models_pb2_grpc.ModelsStub(channels[0]).Unload(models_pb2.UnloadModelRequest(name="half"), timeout=PATIENCE)


def test_a_worker_that_hangs_is_named_and_not_ended(crew, front, becomes) -> None:
    if front == "grpcio":
        pytest.skip("the supervisor has no front")
    assert crew.get("livez") == crew.get("readyz") == (200, "ok\n")
    processes = crew.processes()
    os.kill(processes[0], signal.SIGSTOP)
    try:
        status, text = crew.get("livez")
        assert (status, text.startswith("worker "), text.endswith("does not answer\n")) == (503, True, True)
    finally:
        os.kill(processes[0], signal.SIGCONT)
    becomes(lambda: crew.get("livez")[0] == 200)
    assert crew.processes() == processes


def test_the_supervisor_itself_holds_no_model_and_nobody_else_can_look_into_its_folder(crew) -> None:
    supervisor = Path(f"/proc/{crew.server.process.pid}/maps").read_text()
    worker = Path(f"/proc/{crew.processes()[0]}/maps").read_text()
    assert ("onnxruntime" in supervisor, "onnxruntime" in worker) == (False, True)
    assert crew.folder().stat().st_mode & 0o777 == 0o700


def test_a_killed_worker_comes_back_with_what_the_others_have(crew, channels, picture, toolbox, becomes) -> None:
    """Not with what lies on the disk, where the newest version is another one."""
    models = models_pb2_grpc.ModelsStub(channels[0])
    for version in (1, 2, 3, 4):
        toolbox.write_bundle(crew.repository, "kept", version, seed=version)
    for request in (
        models_pb2.LoadModelRequest(name="kept", version=3),
        models_pb2.LoadModelRequest(name="kept", version=4, aside=True),
    ):
        models.Load(request, timeout=PATIENCE)
    models.Unload(models_pb2.UnloadModelRequest(name="teacher"), timeout=PATIENCE)
    killed = crew.processes()[0]
    os.kill(killed, signal.SIGKILL)
    becomes(lambda: killed not in crew.processes() and crew.get("readyz")[0] == 200)
    for channel in channels:
        becomes(lambda channel=channel: grpc.channel_ready_future(channel).result(timeout=PATIENCE) is None)
    assert versions(channels, picture, name="kept") == {3}
    assert versions(channels, picture, name="kept", version=4) == {4}
    assert versions(channels, picture, name="kept", version=2) == {0}
    assert versions(channels, picture, name="teacher") == {0}
    assert versions(channels, picture, name="student") == {1}
