"""The demo: what it refuses, that its server never outlives it, and the whole story on tiny recipes."""

import re
import subprocess
import sys

import pytest

from pupil_client import Client, Unavailable
from pupil_client.own_server import running_server
from pupil_client.table import table

TINY = """
name = "tiny"
steps = 60
batch_size = 64
[model]
name = "lenet5"
[optim]
learning_rate = 0.004
[augment]
shift = 2
"""
RECIPES = ("digits_teacher", "digits_student", "digits_student_distilled", "digits_student_selftrained")


def test_a_folder_that_is_not_the_demos_own_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    command = [sys.executable, "-m", "pupil_client", "demo", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == f"Error: {tmp_path} was not made by pupil demo: name another --folder, or remove it\n"
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_the_server_ends_with_the_block_even_when_the_block_fails(repository, tmp_path):
    def fail_while_serving():
        with running_server(repository, tmp_path / "server.log") as address:
            addresses.append(address)
            assert [info.name for info in Client(address).models()] == ["student", "teacher"]
            raise ZeroDivisionError

    addresses = []
    with pytest.raises(ZeroDivisionError):
        fail_while_serving()
    with Client(addresses[0], timeout=2.0) as client, pytest.raises(Unavailable):
        client.models()


def test_a_demo_that_is_ended_ends_what_it_started(tmp_path):
    command = [sys.executable, "-m", "pupil_client", "demo", "--folder", str(tmp_path / "demo")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as demo:
        assert any(line.startswith("$ python -m pupil_training.digits") for line in demo.stderr)
        demo.terminate()
        demo.stderr.read()  # to its end: whoever holds the other side is gone
    assert demo.returncode == 143
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, timeout=60, check=True)
    assert str(tmp_path / "demo") not in listed.stdout


def test_a_server_that_does_not_start_is_told_with_its_last_words(tmp_path):
    log = tmp_path / "server.log"
    with pytest.raises(OSError, match=r"the server did not start: Error: .*nowhere"):
        running_server(tmp_path / "nowhere", log).__enter__()


def test_a_table_is_aligned_by_hand():
    assert table(("model", "bytes"), [("teacher", "1,024"), ("student", "8")]).splitlines() == [
        "model    bytes",
        "--------------",
        "teacher  1,024",
        "student      8",
    ]


@pytest.mark.slow
def test_the_whole_circle_is_told_to_its_end(tmp_path):
    for name in RECIPES:  # a recipe of that name in the working folder wins over the shipped one
        (tmp_path / name).write_text(TINY)
    command = [sys.executable, "-m", "pupil_client", "demo", "--seed", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = re.findall(r"^(teacher|student, [\w-]+) .* ([\d.]+)% \(([\d.]+)% to ([\d.]+)%\)", done.stdout, re.MULTILINE)
    assert [row[0] for row in rows] == ["teacher", "student, alone", "student, distilled", "student, self-trained"]
    assert all(50 < float(low) < float(accuracy) < float(high) for _, accuracy, low, high in rows)
    promised = re.search(
        r"accepted (\d+) of 647 at precision ≥ ([\d.]+) with confidence 0.98; truly right: (\d+) of (\d+)", done.stdout
    )
    assert promised
    assert promised[1] == promised[4]
    assert int(promised[3]) / int(promised[4]) > float(promised[2]) - 0.05  # hardly ever broken, and never by much
    assert re.search(r"requests meanwhile: \d+ by version 1, \d+ by version 2, 0 failed", done.stderr)
