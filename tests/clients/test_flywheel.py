"""`pupil self-train --server` on the digits: whatever kills it one story comes out; what is worse goes no further."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pupil_client import Client
from pupil_client.command import main
from pupil_client.flywheel.story import opened_story
from pupil_client.flywheel.verdict import verdict
from pupil_training.digits import write_digits

TINY = """
name = "tiny"
steps = {steps}
batch_size = 64
eval_every = 1000
[data]
root = "{data}"
[model]
name = "lenet5"
[optim]
learning_rate = 0.004
"""

DIES = """
import os, signal, sys
left = int(sys.argv.pop(1))

def count(event, arguments):
    global left
    if event == "subprocess.Popen" or event == "os.rename" and str(arguments[1]).endswith("story.json"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

from pupil_client.command import main
sys.addaudithook(count)
main(prog_name="pupil")
"""  # it counts the commands that are started and the looks into the story, and is killed there without a warning


def pupil(*words):
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The data, recipes, and a repository with a teacher that is also the first student."""
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder / "data", seed=1)
    for name, steps in (("good", 120), ("bad", 1)):
        (folder / f"{name}.toml").write_text(TINY.format(steps=steps, data=folder / "data"))
    pupil("train", folder / "good.toml", "--out", folder / "first")
    pupil("export", folder / "first", "--repository", folder / "repository", "--name", "student")
    return folder


@pytest.fixture(scope="module")
def real(toolbox, digits):
    with toolbox.run_server(digits / "repository") as running, Client(running.address) as client:
        client.set_alias("student", "stable", 1)
        yield client


def words(client, digits, out, recipe="good"):
    asked = ("--server", client.address, "--model", "student/1", "--repository", digits / "repository",
             "--precision", 0.9, "--margin", 0.1, "--out", out)  # fmt: skip
    return [str(word) for word in ("self-train", digits / f"{recipe}.toml", *asked)]


def served(client):
    return {info.version: (info.state, info.aliases) for info in client.models()}


def told(folder):
    return json.loads((folder / "story.json").read_text())


@pytest.fixture(scope="module")
def calm(real, digits):
    """The story of a turn that nothing disturbs: version 2 beside version 1."""
    pupil(*words(real, digits, digits / "calm"))
    return told(digits / "calm")


@pytest.mark.slow
def test_a_turn_labels_trains_exports_and_moves_the_alias_to_what_is_no_worse(real, digits, calm):
    assert calm["old"]["version"] == calm["labeller"]["version"] == 1
    assert calm["labels"]["pool"] == 647
    assert 300 < calm["labels"]["accepted"] == sum(calm["labels"]["accepted_of_each_class"].values())
    certificate = calm["labels"]["certificate"]
    assert (certificate["guarantee"], certificate["precision"]) == ("pac", 0.9)
    assert calm["shadow"]["images"] == calm["student"]["of"] == 150
    assert calm["shadow"]["new_right"] == calm["student"]["right"]  # through the server as in training
    facts = json.loads((digits / "repository/student/2/bundle.json").read_text())
    assert calm["new"]["fingerprint"] == facts["fingerprint"]
    assert calm["decision"]["adopted"]
    assert served(real)[1][0] == "ready"
    assert served(real)[2] == ("ready", ("stable",))
    assert real.model("student").version == 2


@pytest.mark.slow
def test_killed_at_any_step_it_goes_on_and_a_version_that_is_worse_is_taken_out_again(real, digits, calm):
    before = real.model("student"), real.model("student@stable")
    wild = digits / "wild"
    command = words(real, digits, wild, recipe="bad")

    def killed_at(moment):
        spelled = [sys.executable, "-c", DIES, str(moment), *command]
        return subprocess.run(spelled, capture_output=True, text=True, timeout=300, check=False)

    assert killed_at(6).returncode == -9  # labelled, and about to train
    assert killed_at(3).returncode == -9  # trained, which the story does not know yet
    assert killed_at(5).returncode == -9  # exported, which the story does not know yet
    assert killed_at(4).returncode == -9  # taken out again, which the story does not know yet
    done = killed_at(0)  # which is never
    assert done.returncode == 0, done.stderr
    story = told(wild)
    assert story["labels"] == calm["labels"]
    assert (wild / "labels.jsonl").read_bytes() == (digits / "calm/labels.jsonl").read_bytes()
    assert story["old"] == calm["new"]
    assert story["new"]["version"] == 3  # one, however often it was begun
    assert not story["decision"]["adopted"]
    assert story["decision"]["mcnemar_p_value"] < 0.001
    assert "not shown to be no worse by 0.1 of all images" in done.stderr
    assert (real.model("student"), real.model("student@stable")) == before  # nobody met it
    assert 3 not in served(real)
    assert (wild / "refused/bundle.json").exists()
    assert not (digits / "repository/student/3").exists()
    assert killed_at(0).stdout == done.stdout


def test_equal_models_pass_with_enough_images_and_few_images_prove_nothing():
    same = {"images": 300, "only_old": 0, "only_new": 0}
    assert verdict(same, margin=0.02, delta=0.05)["adopted"]
    few = verdict({**same, "images": 100}, margin=0.02, delta=0.05)
    assert not few["adopted"]
    assert few["mcnemar_p_value"] == 1.0  # no difference in sight, and no proof of that either
    assert "it takes 224 images" in few["reason"]


def test_a_folder_tells_of_one_turn_and_of_one_process_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("pupil_client.flywheel.story.LEFT_SECONDS", 0.0)
    with opened_story(tmp_path, {"recipe": "a"}) as story:
        assert story.step("one", lambda: 1) == 1
        with pytest.raises(ValueError, match="another process is at work"), opened_story(tmp_path, {"recipe": "a"}):
            pass
    with opened_story(tmp_path, {"recipe": "a"}) as story:
        assert story.step("one", lambda: pytest.fail("done twice")) == 1
    with (
        pytest.raises(ValueError, match="a turn with recipe 'a', now asked is 'b'"),
        opened_story(tmp_path, {"recipe": "b"}),
    ):
        pass


def test_rounds_without_a_server_are_still_there():
    done = CliRunner().invoke(main, ["self-train", "nowhere.toml"])
    assert done.exit_code == 1
    assert "nowhere.toml" in done.stderr
    done = CliRunner().invoke(main, ["self-train", "nowhere.toml", "--server", "localhost:1"])
    assert done.exit_code == 2
    assert "with --server give --model" in done.stderr
