"""`pupil self-train --server` on the digits: whatever kills it one story comes out; what is worse goes no further."""

import hashlib
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pupil_client import Client, NotFound
from pupil_client.command import main
from pupil_client.flywheel.story import opened_story
from pupil_client.flywheel.turn import Turn, _agree, _decide, _seen, _shadow
from pupil_client.flywheel.verdict import verdict
from pupil_client.labelling.promise import Promise
from pupil_training.digits import write_digits
from pupil_trust import confidence_sequence

TINY = """
name = "tiny"
steps = 120
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
    """The data, a recipe, and a repository with a first student, who labels too."""
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder / "data", seed=1)
    (folder / "tiny.toml").write_text(TINY.format(data=folder / "data"))
    pupil("train", folder / "tiny.toml", "--out", folder / "first")
    pupil("export", folder / "first", "--repository", folder / "repository", "--name", "student")
    return folder


def served(client):
    return {info.version: (info.state, info.aliases) for info in client.models()}


@pytest.mark.slow
def test_killed_at_any_step_a_turn_goes_on_and_moves_the_alias_to_what_is_no_worse(toolbox, digits):
    out = digits / "turn"
    with toolbox.run_server(digits / "repository") as running, Client(running.address) as client:
        client.set_alias("student", "stable", 1)
        words = ("self-train", digits / "tiny.toml", "--server", client.address, "--model", "student/1",
                 "--precision", 0.9, "--margin", 0.1, "--repository", digits / "repository", "--out", out,
                 "--fresh", digits / "data/test")  # fmt: skip

        def killed_at(moment):
            command = [sys.executable, "-c", DIES, *map(str, (moment, *words))]
            return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

        assert killed_at(6).returncode == -9  # labelled, and about to train
        assert killed_at(3).returncode == -9  # trained, which the story does not know yet
        assert killed_at(5).returncode == -9  # exported, which the story does not know yet
        assert served(client)[1] == ("ready", ("stable",))
        assert killed_at(5).returncode == -9  # the alias was moved, which the story does not know yet
        done = killed_at(0)  # which is never
        assert done.returncode == 0, done.stderr
        assert served(client) == {1: ("ready", ()), 2: ("ready", ("stable",))}  # one new version, however often begun
        assert client.model("student").version == 2
        pupil("label", out / "given/pool.txt", "--model", "student/1", "--server", client.address, "--precision", 0.9,
              "--output", digits / "undisturbed.jsonl")  # fmt: skip
    story = json.loads((out / "story.json").read_text())
    assert done.stdout.splitlines()[-1] == str(out / "story.json")
    assert (out / "labels.jsonl").read_bytes() == (digits / "undisturbed.jsonl").read_bytes()
    assert story["old"]["version"] == story["labeller"]["version"] == 1
    assert story["labels"]["pool"] == 647
    assert 300 < story["labels"]["accepted"] == sum(story["labels"]["accepted_of_each_class"].values())
    assert story["labels"]["certificate"]["guarantee"] == "pac"
    assert story["shadow"]["images"] == story["student"]["of"] == 150
    assert story["shadow"]["new_right"] == story["student"]["right"]  # through the server as in training
    facts = json.loads((digits / "repository/student/2/bundle.json").read_text())
    assert story["new"]["fingerprint"] == facts["fingerprint"]
    assert story["agreement"]["images"] > 300
    assert story["agreement"]["old"]["agreed"] == story["agreement"]["images"]  # it labelled the pool itself
    assert story["decision"]["adopted"]


def test_a_version_that_is_worse_is_taken_out_again_however_often_that_is_begun(toolbox, tmp_path):
    """The old version is always right, since the labels are its own; the new one has other weights."""
    repository, images = tmp_path / "repository", toolbox.random_pixels(100, seed=3)
    toolbox.write_bundle(repository, "student", 1, seed=1)
    best = toolbox.linear_scores(images, seed=1).argmax(axis=1)
    rows = ["path,label"]
    for number, pixels in enumerate(images):
        (tmp_path / f"{number}.png").write_bytes(toolbox.png(pixels))
        rows.append(f"{number}.png,{toolbox.classes[best[number]]}")
    (tmp_path / "validation.csv").write_text("\n".join(rows))
    turn = Turn("x", (), tmp_path, repository, "student", "student", "stable", Promise(), None, False, (),
                tmp_path / "validation.csv", (), margin=0.1, delta=0.05, patience=10.0)  # fmt: skip
    with toolbox.run_server(repository) as running, Client(running.address) as client:
        old = _seen(client.model("student"))
        toolbox.write_bundle(repository, "student", 2, seed=2)
        facts = json.loads((repository / "student/2/bundle.json").read_text())
        new = {**old, "version": 2, "fingerprint": facts["fingerprint"]}
        with opened_story(tmp_path, turn.plan()) as story:
            shadow = _shadow(client, turn, story, old, new)
            assert client.model("student").version == 1
            right = int((toolbox.linear_scores(images, seed=2).argmax(axis=1) == best).sum())
            assert shadow == {"images": 100, "old_right": 100, "new_right": right, "only_old": 100 - right,
                              "only_new": 0, "agreed": right}  # fmt: skip
            for _ in range(2):
                decision = _decide(client, turn, old, new, shadow)
                assert not decision["adopted"]
                assert "not shown to be no worse by 0.1 of all images" in decision["reason"]
                assert served(client) == {1: ("ready", ())}
                assert (tmp_path / "refused/bundle.json").exists()
            with pytest.raises(NotFound, match="no student/2 in the repository"):
                _shadow(client, turn, story, old, new)


def test_on_fresh_images_old_and_new_are_counted_beside_their_teacher(toolbox, tmp_path):
    """The teacher and the old version have the same weights. Of 63 files 10 are of the pool, one is there twice."""
    repository, pixels = tmp_path / "repository", toolbox.random_pixels(60, seed=3)
    for name, version, seed in (("teacher", 1, 1), ("student", 1, 1), ("student", 2, 2)):
        toolbox.write_bundle(repository, name, version, seed=seed)
    (tmp_path / "fresh").mkdir()
    files = [toolbox.png(image) for image in pixels]
    for number, file in enumerate([*files, files[20], b"no image", toolbox.png(pixels[30])[:-30]]):
        (tmp_path / f"fresh/{number:02}.png").write_bytes(file)
    rows = [{"image": "", "label": "", "accepted": False, "sha256": hashlib.sha256(file).hexdigest()} for file in files]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:10]))
    turn = Turn("x", (), tmp_path, repository, "teacher", "student", "stable", Promise(), None, False, (), None,
                (tmp_path / "fresh",), margin=0.1, delta=0.05, patience=10.0)  # fmt: skip
    with toolbox.run_server(repository) as running, Client(running.address) as client:
        teacher, old, new = (_seen(client.load(name, aside=True)) for name in ("teacher/1", "student/1", "student/2"))
        found = _agree(client, turn, teacher, old, new)
        for path in (tmp_path / "fresh").glob("[1-6]*"):
            path.unlink()
        with pytest.raises(ValueError, match="no image that can be read is there beyond those of the pool"):
            _agree(client, turn, teacher, old, new)
    same = (toolbox.linear_scores(pixels, 1).argmax(axis=1) == toolbox.linear_scores(pixels, 2).argmax(axis=1))[10:]
    assert (found["images"], found["known"], found["unreadable"]) == (50, 11, 2)
    assert (found["old"]["agreed"], found["new"]["agreed"]) == (50, same.sum())
    for student in ("old", "new"):
        assert found[student]["between"] == list(confidence_sequence(found[student]["agreed"], 50, 0.05))
        low, high = found[student]["between"]
        assert low < found[student]["agreed"] / 50 <= high


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
