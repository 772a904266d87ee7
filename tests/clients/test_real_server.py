"""The client and its commands against the real `pupil serve`; scores are checked against NumPy."""

import asyncio
import csv
import json
import re
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from pupil_client import AsyncClient, BadRequest, Cascade, Client, NotCertified, NotFound
from pupil_client.command import main
from pupil_client.demo_traffic import Traffic
from pupil_client.own_server import running_server


@pytest.fixture(scope="module")
def real(toolbox, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "repository"
    toolbox.write_bundle(folder, "teacher", seed=1)
    toolbox.write_bundle(folder, "student", seed=2, teacher="teacher")
    with toolbox.run_server(folder) as running:
        yield running


@pytest.fixture
def client(real):
    with Client(real.address) as client:
        yield client


@pytest.fixture
def pixels(toolbox):
    return toolbox.random_pixels(5, seed=3)


def test_a_model_tells_its_precisions_and_where_its_nodes_are(client):
    info = client.model("student:fp32")
    assert (info.precision, info.precisions, info.device, info.nodes) == ("fp32", ("fp32",), "cpu", {"cpu": 5})


def test_files_and_pixels_give_the_scores_worked_out_in_numpy(toolbox, client, pixels):
    expected = toolbox.linear_scores(pixels, seed=2)
    for images in (list(pixels), [toolbox.png(image) for image in pixels]):
        found = client.classify(images, model="student", scores=True, top_k=3)
        np.testing.assert_allclose([each.scores for each in found], expected, atol=1e-5)
        assert [each.label for each in found] == [toolbox.classes[best] for best in expected.argmax(axis=1)]
        assert [len(each.top) for each in found] == [3] * 5
        assert all(each.confidence == max(each.scores) == each.top[0].score for each in found)


def test_a_file_of_sixteen_bits_is_answered_as_its_highest_eight(client, toolbox):
    grey = np.arange(36, dtype=np.uint16).reshape(6, 6) * 7
    deep = toolbox.png(grey * 256 + 199)
    plain = toolbox.png(np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2))
    found = client.classify([deep, plain], model="student", scores=True)
    assert found[0].scores == found[1].scores


@pytest.mark.parametrize(("limit", "who"), [(0.02, "teacher"), (0.97, "student")])  # they agree on a twelfth
def test_a_cascade_tells_who_answered_each_image(real, client, pixels, limit, who):
    images, cascade = list(pixels), Cascade(limit)
    expected = [each.top for each in client.classify(images, model=who)]

    async def asked():
        async with AsyncClient(real.address) as client:
            whole = await client.classify(images, model="student", cascade=cascade)
            return [whole, [each async for each in client.classify_stream(images, model="student", cascade=cascade)]]

    ways = asyncio.run(asked())
    ways += [client.classify(images, model="student", cascade=cascade)]
    ways += [list(client.classify_stream(images, model="student", cascade=cascade))]
    for found in ways:
        assert [(each.route, each.answered_by.model) for each in found] == [(who, who)] * 5
        for each, top in zip(found, expected, strict=True):
            assert [one.label for one in each.top] == [one.label for one in top]
    with pytest.raises(BadRequest, match="cascade goal 'cheap': one of disagreement, worse, accuracy is wanted"):
        client.classify(images, model="student", cascade=Cascade(goal="cheap"))


def test_the_command_says_who_answered(real, toolbox, pixels, tmp_path):
    picture = tmp_path / "picture.png"
    picture.write_bytes(toolbox.png(pixels[0]))
    asked = ["classify", str(picture), "--model", "student", "--server", real.address, "--cascade"]
    for limit, who in (("0.02", "teacher"), ("0.97", "student")):
        assert CliRunner().invoke(main, [*asked, limit]).stdout.endswith(f" ({who})\n")
        assert json.loads(CliRunner().invoke(main, [*asked, limit, "--json"]).stdout)["route"] == who
    alone = CliRunner().invoke(main, [*asked, "0.02", "--teacher", "nobody", "--student-alone"])
    assert alone.stdout.endswith(" (student, no promise: its teacher is not loaded)\n")
    assert alone.stderr == "1 of 1 images carry no promise: the student answered alone\n"
    assert CliRunner().invoke(main, [*asked[:-1], "--student-alone"]).exit_code == 2
    refused = CliRunner().invoke(main, [*asked, "0.001"])
    assert refused.exit_code == 1
    assert "at least 2995 calibration images" in refused.stderr


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (["studnet"], "no model studnet; loaded: student/1, teacher/1"),
        (["student:int8"], "student/1 does not answer in precision 'int8'; it answers in fp32"),
        (["student", "--cascade", "0.0001"], "needs at least"),
    ],
)
def test_what_every_image_would_hear_is_told_once(real, toolbox, pixels, tmp_path, asked, why):
    files = [tmp_path / f"{number}.png" for number in range(len(pixels))]
    for file, image in zip(files, pixels, strict=True):
        file.write_bytes(toolbox.png(image))
    command = ["classify", *map(str, files), "--server", real.address, "--model", *asked]
    told = CliRunner().invoke(main, command).stderr.splitlines()
    assert len(told) == 1
    assert told[0].startswith("Error: ")
    assert why in told[0]


def test_comparisons_measure_the_divergence_of_student_from_teacher(toolbox, client, pixels):
    teacher, student = toolbox.linear_scores(pixels, seed=1), toolbox.linear_scores(pixels, seed=2)
    found = client.compare([toolbox.png(image) for image in pixels], student="student")
    np.testing.assert_allclose([each.kl for each in found], (teacher * np.log(teacher / student)).sum(1), atol=1e-4)
    agree = teacher.argmax(axis=1) == student.argmax(axis=1)
    assert [each.agree for each in found] == agree.tolist()
    assert {each.teacher.answered_by.model for each in found} == {"teacher"}


def test_both_faces_label_alike_and_abstain_below_the_threshold(toolbox, real, client):
    images = [toolbox.png(image) for image in toolbox.random_pixels(200, seed=5)]
    images[7] = images[7][:40]
    plan = {"model": "teacher", "precision": 0.9, "delta": 0.1}

    async def label():
        async with AsyncClient(real.address) as client:
            return [each async for each in client.pseudo_label(images, **plan)]

    labels = list(client.pseudo_label(images, **plan))
    assert len(labels) == 200
    decisions = [(each.accepted, each.error, each.prediction and each.prediction.label) for each in labels]
    others = [(each.accepted, each.error, each.prediction and each.prediction.label) for each in asyncio.run(label())]
    assert decisions == others
    assert labels[7].prediction is None
    assert labels[7].error
    threshold = labels[0].certificate.threshold
    readable = [each for each in labels if each.prediction]
    assert [each.accepted for each in readable] == [each.prediction.confidence >= threshold for each in readable]


def test_the_server_is_understood_when_it_refuses(client):
    with pytest.raises(NotFound, match="student"):
        client.classify(b"", model="nobody")
    with pytest.raises(BadRequest):
        client.classify(b"not a picture", model="student")
    with pytest.raises(BadRequest):
        client.classify([], model="student")
    with pytest.raises(NotCertified, match="precision"):
        list(client.pseudo_label([], model="teacher", precision=0.9999))


def test_a_message_that_is_too_large_is_the_caller_s_mistake_and_is_not_sent_again(toolbox, start):
    images = [np.zeros((6, 6, 3), np.uint8)] * 20_000
    with start("--max-message-mb", "1") as server, Client(server.address) as client:
        with pytest.raises(BadRequest, match=r" message .* send fewer images at once"):
            client.classify(images, model="student")
        assert client.classify(images[:1], model="student")


@pytest.mark.parametrize("guarantee", ["pac", "fdr", "none"])
def test_a_certificate_is_had_without_an_image_and_is_the_one_of_the_labels(toolbox, real, client, guarantee):
    async def ask():
        async with AsyncClient(real.address) as client:
            return await client.certificate(**plan)

    plan = {"model": "teacher", "precision": 0.9, "delta": 0.1, "guarantee": guarantee}
    images = [] if guarantee == "fdr" else [toolbox.png(toolbox.random_pixels(1, seed=5)[0])]
    found = client.certificate(**plan)
    assert found == asyncio.run(ask())
    assert [found] * len(images) == [each.certificate for each in client.pseudo_label(images, **plan)]
    assert (found.guarantee, found.calibration) == (guarantee, 400)
    assert (found.threshold > 1) == (guarantee == "fdr")  # nothing is accepted of a pool without images


def test_a_server_of_our_own_ends_with_us_even_where_we_are_killed(repository, tmp_path):
    script = (
        "import pathlib, sys; from pupil_client.own_server import running_server\n"
        "with running_server(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])) as address:\n"
        "    print(address, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(repository), str(tmp_path / "log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        host, port = process.stdout.readline().split(":")
        process.kill()
    end = time.monotonic() + 60
    with pytest.raises(ConnectionRefusedError):
        while time.monotonic() < end:
            socket.create_connection((host, int(port)), timeout=5).close()
            time.sleep(0.05)


def test_health_is_asked_for_by_name(client):
    assert client.health()
    assert client.health("student")
    with pytest.raises(NotFound):
        client.health("nobody")


def test_a_folder_is_labelled_into_rows_that_say_who_answered(toolbox, real, client, tmp_path):
    images = toolbox.random_pixels(150, seed=6)
    for number, image in enumerate(images):
        (tmp_path / f"{number:03}.png").write_bytes(toolbox.png(image))
    (tmp_path / "003.png").write_bytes(b"\x89PNG\r\n\x1a\n then nothing")
    output = tmp_path / "labels.csv"
    arguments = ["label", str(tmp_path), "--model", "teacher", "--precision", "0.9", "--output", str(output)]
    done = CliRunner().invoke(main, [*arguments, "--server", real.address])
    assert done.exit_code == 0, done.stderr
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    info = client.model("teacher")
    expected = toolbox.linear_scores(images, seed=1)
    assert [row["image"] for row in rows] == [str(tmp_path / f"{number:03}.png") for number in range(150)]
    assert {(row["model"], row["version"], row["fingerprint"]) for row in rows} == {("teacher", "1", info.fingerprint)}
    assert json.loads(rows[0]["classes"]) == list(toolbox.classes)
    assert (rows[3]["label"], rows[3]["accepted"], bool(rows[3]["error"])) == ("", "false", True)
    good = [number for number in range(150) if number != 3]
    np.testing.assert_allclose([json.loads(rows[number]["scores"]) for number in good], expected[good], atol=1e-5)
    counts = re.search(r"150 images: (\d+) accepted .*, (\d+) abstained, 1 skipped", done.stderr)
    assert counts
    assert int(counts[1]) == sum(row["accepted"] == "true" for row in rows)


def test_a_model_is_swapped_under_traffic_without_a_failure(toolbox, repository, tmp_path):
    images = [toolbox.png(image) for image in toolbox.random_pixels(4, seed=1)]
    with running_server(repository, tmp_path / "server.log") as address, Client(address) as client:
        toolbox.write_bundle(repository, "student", 2, seed=3, teacher="teacher")
        with Traffic(address, "student", images) as traffic:
            traffic.wait_for(version=1)
            assert client.load("student/2", keep_others=True).version == 2
            traffic.wait_for(version=2)
        assert traffic.failures == []
        assert set(traffic.answers) == {1, 2}
        client.set_alias("student", "before", 1)
        by = client.classify(images[0], model="student@before").answered_by
        assert by.version == client.model("student@before").version == 1
        client.unload("student/2")
        states = {(info.name, info.version): info.state for info in client.models()}
        assert states == {("student", 1): "ready", ("student", 2): "unloaded", ("teacher", 1): "ready"}
