"""The watch over a student that serves: its teacher beside it, its traffic beside the calibration images."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest
from click.testing import CliRunner

from pupil_client import AsyncClient, Client
from pupil_client.command import main
from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import models_pb2

PATIENCE = 20.0
STUDENT, TEACHER = 2, 1  # seeds of the weights
SPEC = pb.ModelSpec(name="student")


@pytest.fixture
def repository(tmp_path: Path, toolbox) -> Path:
    """A student whose calibration images are of the same source as `toolbox.random_pixels`."""
    folder = tmp_path / "models"
    toolbox.write_bundle(folder, "teacher", seed=TEACHER)
    student = toolbox.write_bundle(folder, "student", seed=STUDENT, teacher="teacher")
    images = toolbox.random_pixels(1000, seed=5)
    scores = toolbox.linear_scores(images, STUDENT)
    flat = images.reshape(1000, -1)
    said = json.loads((student / "calibration.json").read_text())
    said |= {"confidence": scores.max(axis=1).tolist(), "predicted": scores.argmax(axis=1).tolist()}
    said |= {"label": said["predicted"], "brightness": (flat.mean(axis=1) / 255).tolist()}
    said |= {"energy": np.log(np.exp(toolbox.linear_logits(images, STUDENT)).sum(axis=1)).tolist()}
    said |= {"contrast": (flat.std(axis=1) / 255).tolist()}
    (student / "calibration.json").write_text(json.dumps(said))
    toolbox.seal(student, json.loads((student / "bundle.json").read_text()))
    return folder


@pytest.fixture
def start(repository: Path, toolbox):
    """On one front alone: the watch begins behind it."""
    return lambda *options: toolbox.run_server(repository, *options)


def classify(stubs, images) -> pb.ClassifyResponse:
    count, height, width, channels = images.shape
    pixels = pb.Pixels(data=images.tobytes(), count=count, height=height, width=width, channels=channels)
    request = pb.ClassifyRequest(model=SPEC, images=pb.Images(pixels=pixels), scores=True)
    return stubs.inference.Classify(request, timeout=PATIENCE)


def watch(stubs) -> models_pb2.Watch:
    return stubs.models.GetWatch(models_pb2.GetWatchRequest(model=SPEC), timeout=PATIENCE)


def label(stubs, images) -> pb.PseudoLabelResponse:
    plan = pb.LabelPlan(model=SPEC, precision=0.9)
    request = pb.PseudoLabelRequest(plan=plan, images=pb.Images(encoded=images))
    return next(stubs.inference.PseudoLabel(iter([request]), timeout=PATIENCE))


def test_the_teacher_sees_the_sample_too_and_the_counts_are_those_of_numpy(start, connect, toolbox, becomes) -> None:
    images = toolbox.random_pixels(200, seed=8)
    student, teacher = (toolbox.linear_scores(images, seed) for seed in (STUDENT, TEACHER))
    with start("--shadow", "1") as server:
        stubs = connect(server.address)
        answers = [classify(stubs, some) for some in np.split(images, 8)]
        becomes(lambda: watch(stubs).compared == 200)
        found = watch(stubs)
    given = np.concatenate([[each.scores for each in answer.predictions] for answer in answers])
    np.testing.assert_allclose(given, student, atol=1e-5)
    differ = student.argmax(axis=1) != teacher.argmax(axis=1)
    assert found.disagreed == differ.sum()
    assert found.disagreement_low < differ.mean() < found.disagreement_high
    assert found.mean_kl == pytest.approx((teacher * np.log(teacher / student)).sum(axis=1).mean(), rel=1e-3)
    for place, each in enumerate(found.classes):
        mine = student.argmax(axis=1) == place
        assert (each.compared, each.agreed) == (mine.sum(), (mine & ~differ).sum())
    assert list(found.alarms) == ["agreement"]  # of which 5 % may differ


def test_a_share_of_the_images_is_drawn_whatever_the_size_of_a_request(start, connect, toolbox, becomes) -> None:
    images = toolbox.random_pixels(2000, seed=8)
    with start("--shadow", "0.1") as server:
        stubs = connect(server.address)
        for some in np.split(images, 40):
            classify(stubs, some)
        becomes(lambda: drawn(server) > 140)
        assert drawn(server) < 260  # 4.5 standard deviations


def drawn(server) -> float:
    """Images of the sample, whatever came of them."""
    return sum(map(float, re.findall(r"^pupil_shadow_images_total{.*} (.*)$", metrics(server), re.MULTILINE)))


def test_what_a_pool_or_a_comparison_asks_is_no_traffic(start, connect, toolbox, becomes) -> None:
    images = toolbox.random_pixels(20, seed=8)
    files = [toolbox.png(image) for image in images]
    with start("--shadow", "1", "--drift") as server:
        stubs = connect(server.address)
        label(stubs, files)
        request = pb.CompareRequest(student=SPEC, images=pb.Images(encoded=files))
        stubs.inference.Compare(request, timeout=PATIENCE)
        classify(stubs, images[:7])
        becomes(lambda: watch(stubs).compared == 7)
        assert watch(stubs).images == 7


def test_darker_traffic_is_noticed_within_two_thousand_images_and_certificates_lapse(start, connect, toolbox) -> None:
    images = toolbox.random_pixels(2000, seed=8)
    file = toolbox.png(images[0])
    with start("--drift") as server:
        stubs = connect(server.address)
        for some in np.split(images, 10):
            classify(stubs, some)
        assert list(watch(stubs).alarms) == []
        assert max(watch(stubs).evidence.values()) < 0
        assert label(stubs, [file]).certificate.precision == 0.9
        for some in np.split(images // 2, 10):
            classify(stubs, some)
        found = watch(stubs)
        assert {"brightness", "contrast"} <= set(found.alarms)
        with pytest.raises(grpc.RpcError) as raised:
            label(stubs, [file])
        assert raised.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert raised.value.details().startswith("student/1: its certificates have lapsed, because the brightness and ")
        told = "student/1: alarm: the brightness of its traffic is not as in its calibration images; its certificates"
        assert server.log.read_text().count(told) == 1  # however often it is found again
        found = stubs.models.ResetWatch(models_pb2.ResetWatchRequest(model=SPEC), timeout=PATIENCE)
        assert (found.images, list(found.alarms), found.lapsed) == (0, [], "")
        assert label(stubs, [file]).certificate.precision == 0.9


def test_what_was_seen_survives_a_restart_and_a_broken_file_is_set_aside(
    start, connect, toolbox, tmp_path, becomes
) -> None:
    state = tmp_path / "watch.json"
    options = ("--shadow", "1", "--drift", "--watch-state", str(state))

    def serve_fifty(seed: int, expected: int) -> None:
        with start(*options) as server:
            stubs = connect(server.address)
            classify(stubs, toolbox.random_pixels(50, seed=seed))
            becomes(lambda: watch(stubs).compared == expected)
            assert watch(stubs).images == expected
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(PATIENCE) == 0

    serve_fifty(1, 50)
    serve_fifty(2, 100)
    known = json.loads(state.read_text())
    for student in known.values():
        student["drift"]["streams"]["classes"]["whole"][0] = -1
    state.write_text(json.dumps(known))
    serve_fifty(3, 50)  # the model is served all the same
    state.write_text('{"half": ')
    serve_fifty(3, 50)
    assert (tmp_path / "watch.json.broken").read_text() == '{"half": '


def test_disagreements_are_kept_once_each_as_rows_of_a_labels_file(start, connect, toolbox, tmp_path, becomes) -> None:
    images = toolbox.random_pixels(30, seed=8)
    kept = tmp_path / "kept"
    student, teacher = (toolbox.linear_scores(images, seed).argmax(axis=1) for seed in (STUDENT, TEACHER))
    differ = np.flatnonzero(student != teacher)

    def rows_after_two_rounds() -> tuple[Path, list[dict]]:
        with start("--shadow", "1", "--keep-disagreements", str(kept), "--keep-images") as server:
            stubs = connect(server.address)
            for images_so_far in (30, 60):
                classify(stubs, images)
                becomes(lambda: watch(stubs).compared == images_so_far)  # noqa: B023  called at once
            (file,) = kept.glob("student-1-*.jsonl")
            becomes(lambda: file.read_bytes().count(b"\n") == len(differ))
        return file, [json.loads(line) for line in file.read_bytes().splitlines()]

    file, rows = rows_after_two_rounds()
    assert [row["label"] for row in rows] == [toolbox.classes[student[place]] for place in differ]
    assert [row["teacher_label"] for row in rows] == [toolbox.classes[teacher[place]] for place in differ]
    assert rows[0]["classes"] == list(toolbox.classes)
    assert all((kept / row["image"]).read_bytes().startswith(b"\x89PNG") for row in rows)
    review = tmp_path / "review.json"
    asked = ["labels", "export", str(file), "--to", "label-studio", "--output", str(review)]
    assert CliRunner().invoke(main, asked).exit_code == 0
    assert len(json.loads(review.read_text())) == len(differ)
    with file.open("ab") as half:
        half.write(b'{"image": "a killed process left this')
    assert rows_after_two_rounds() == (file, rows)


def test_a_teacher_that_is_not_there_costs_the_student_no_answer(start, connect, toolbox, becomes) -> None:
    images = toolbox.random_pixels(10, seed=8)
    with start("--shadow", "1", "--models", "student") as server:
        stubs = connect(server.address)
        for _ in range(3):
            assert len(classify(stubs, images).predictions) == 10
        becomes(lambda: 'pupil_shadow_images_total{outcome="not_loaded"} 30.0' in metrics(server))
        assert watch(stubs).compared == 0


def metrics(server) -> str:
    with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=PATIENCE) as answer:
        return answer.read().decode()


def test_the_client_and_the_command_show_the_watch(start, toolbox, becomes) -> None:
    with start("--shadow", "1", "--drift") as server, Client(server.address) as client:
        client.classify(list(toolbox.random_pixels(80, seed=8)), model="student")
        becomes(lambda: client.watch("student").compared == 80)
        found = client.watch("student")
        assert list(found.evidence) == ["brightness", "classes", "confidence", "contrast", "energy"]
        assert found.alarms == ("agreement",)
        shown = CliRunner().invoke(main, ["models", "watch", "student", "--server", server.address]).stdout
        assert f"its teacher differs on {found.disagreed} of 80 images, a rate of " in shown
        assert shown.endswith("ALARM: agreement\n")
        again = CliRunner().invoke(
            main, ["models", "watch", "student", "--server", server.address, "--reset", "--json"]
        )
        assert json.loads(again.stdout)["compared"] == 0

        async def asked():
            async with AsyncClient(server.address) as client:
                return await client.reset_watch("student"), await client.watch("student")

        assert [each.images for each in asyncio.run(asked())] == [0, 0]


def test_compare_shows_the_running_picture_again_and_again(start, toolbox, becomes) -> None:
    command = [sys.executable, "-m", "pupil_client", "compare", "--watch", "--every", "0.1", "--json"]
    with start("--shadow", "1") as server, Client(server.address) as client:
        asked = [*command, "--student", "student", "--server", server.address]
        with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            try:
                assert json.loads(running.stdout.readline())["compared"] == 0
                client.classify(list(toolbox.random_pixels(3, seed=8)), model="student")
                becomes(lambda: json.loads(running.stdout.readline())["compared"] == 3)
            finally:
                running.kill()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ([], "give IMAGEs, or --watch"),
        ([__file__, "--watch"], "give IMAGEs, or --watch"),
        (["--watch", "--teacher", "teacher"], "leave out --teacher"),
        ([__file__, "--every", "1"], "give both"),
    ],
)
def test_compare_takes_images_or_the_watch(asked: list[str], told: str) -> None:
    answer = CliRunner().invoke(main, ["compare", "--student", "student", *asked])
    assert answer.exit_code == 2
    assert told in answer.stderr


def test_an_unloaded_student_takes_its_alarms_out_of_the_metrics(start, connect, toolbox, becomes) -> None:
    alarm = 'pupil_watch_alarm{kind="agreement",model="student",precision="fp32",version="1"} 1.0'
    with start("--shadow", "1") as server:
        stubs = connect(server.address)
        classify(stubs, toolbox.random_pixels(200, seed=8))
        becomes(lambda: alarm in metrics(server))
        assert 'pupil_disagreement{bound="low",model="student"' in metrics(server)
        for name in ("student", "teacher"):
            stubs.models.Unload(models_pb2.UnloadModelRequest(name=name), timeout=PATIENCE)
        stubs.models.Load(models_pb2.LoadModelRequest(name="teacher"), timeout=PATIENCE)
        shown = metrics(server)
        assert "pupil_watch_alarm{" not in shown
        assert "pupil_disagreement{" not in shown
        stubs.models.Load(models_pb2.LoadModelRequest(name="student"), timeout=PATIENCE)
        assert alarm in metrics(server)  # the same files: it goes on
        assert watch(stubs).compared == 200


def test_a_model_that_nobody_watches_is_not_found(start, connect) -> None:
    with start() as server, pytest.raises(grpc.RpcError) as raised:
        watch(connect(server.address))
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND
    assert (
        raised.value.details()
        == "student/1 is not watched; a student is that names a teacher, under --shadow or --drift"
    )
