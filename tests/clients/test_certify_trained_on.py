"""`pupil certify` where some of the labelled images are known to the model from its training."""

import csv
import json
from hashlib import sha256

import numpy as np
import pytest
from click.testing import CliRunner

from pupil_client import Client
from pupil_client.command import main
from pupil_client.labelling.learned import seen_before
from pupil_trust import marks_of

IMAGES = 300
OTHERS = [sha256(bytes([number])).hexdigest() for number in range(250)]  # that nobody shows it again


@pytest.fixture(scope="module")
def sample(toolbox, tmp_path_factory):
    """300 images in a folder, and a table that labels each with what the model `teacher` must answer."""
    folder = tmp_path_factory.mktemp("sample")
    pixels = toolbox.random_pixels(IMAGES, seed=21)
    labels = toolbox.linear_scores(pixels, seed=1).argmax(axis=1)
    for number, image in enumerate(pixels):
        (folder / f"{number:03}.png").write_bytes(toolbox.png(image))
    rows = [(f"{number:03}.png", toolbox.classes[label]) for number, label in enumerate(labels)]
    with (folder / "sample.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([("path", "label"), *rows])
    return folder


@pytest.fixture(scope="module")
def real(toolbox, sample, tmp_path_factory):
    """One weights in several bundles, which were trained on other images of the sample."""

    def write(name: str, labelled: int, unlabelled: int = 0, missing: tuple[str, ...] = ()) -> None:
        digests = [sha256((sample / f"{number:03}.png").read_bytes()).hexdigest() for number in range(labelled)]
        bundle = toolbox.write_bundle(folder, name, seed=1)
        np.save(bundle / "trained_on.npy", marks_of([*digests, *OTHERS]))
        if unlabelled:
            pool = [sha256((sample / f"{299 - number}.png").read_bytes()).hexdigest() for number in range(unlabelled)]
            np.save(bundle / "trained_on.unlabelled.npy", marks_of(pool))
        facts = json.loads((bundle / "bundle.json").read_bytes())
        toolbox.seal(bundle, facts | {"trained_on": {"missing": missing}})

    folder = tmp_path_factory.mktemp("served") / "repository"
    write("one", 1)
    write("five", 5)
    write("none", 0)
    write("pool", 0, 40, ("the images behind the weights DEFAULT",))
    toolbox.write_bundle(folder, "old", seed=1)
    with toolbox.run_server(folder) as running:
        yield running


@pytest.fixture
def certify(real, sample, tmp_path):
    def run(model: str, *words: object):
        file = tmp_path / "certificate.json"
        asked = ("certify", "--labels", sample / "sample.csv", "--model", model, "--server", real.address)
        done = CliRunner().invoke(main, [str(word) for word in (*asked, "--output", file, *words)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done, file

    return run


def test_a_sample_with_one_image_of_training_is_refused_with_its_name(certify, sample) -> None:
    done, file = certify("one")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == (
        f"Error: one/1 was trained on 1 of these 300 images: {sample / '000.png'}; it has seen the labels of 251 "
        "images, and nothing can be proven on them: draw a sample from images that it has never seen"
    )
    assert not file.exists()


def test_an_image_that_became_a_file_is_known_by_what_the_table_says_that_it_was(certify, sample, tmp_path) -> None:
    """As `pupil labels sample` writes it of pixels, which are other bytes as a PNG."""
    with (sample / "sample.csv").open(newline="") as lines:
        rows = [(sample / name, label, "") for name, label in list(csv.reader(lines))[1:]]
    rows[5] = (*rows[5][:2], OTHERS[7])
    with (tmp_path / "drawn.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([("path", "label", "sha256"), *rows])
    done, _ = certify("none", "--labels", tmp_path / "drawn.csv")
    assert done.exit_code == 1
    assert f"none/1 was trained on 1 of these 300 images: {sample / '005.png'}; it has" in done.stderr


def test_of_many_the_first_three_are_named(certify, sample) -> None:
    said = certify("five")[0].stderr.splitlines()[-1]
    assert "5 of these 300 images" in said
    assert f"{sample / '000.png'}, {sample / '001.png'}, {sample / '002.png'}, …; it has" in said


def test_a_sample_of_new_images_passes_and_the_certificate_says_what_it_was_compared_with(certify) -> None:
    done, file = certify("none")
    assert done.exit_code == 0, done.stderr
    assert "could not be checked" not in done.stderr
    assert json.loads(file.read_bytes())["trained_on"] == {"images": 250, "unlabelled": 0, "missing": []}


def test_images_that_it_learned_from_without_a_label_bind_the_certificate_to_their_pool(certify) -> None:
    done, file = certify("pool")
    assert done.exit_code == 0, done.stderr
    assert "40 of these images it learned from without a person's label: the certificate holds for" in done.stderr
    assert "the model also learned from the images behind the weights DEFAULT; whether" in done.stderr
    assert json.loads(file.read_bytes())["trained_on"]["unlabelled"] == 40


def test_where_a_bundle_does_not_say_the_command_says_that_it_could_not_check_and_a_run_can(
    certify, sample, tmp_path
) -> None:
    done, file = certify("old")
    assert done.exit_code == 0, done.stderr
    assert "whether the model was trained on these images could not be checked" in done.stderr
    assert json.loads(file.read_bytes())["trained_on"] is None
    splits = {"train": {"sha256": OTHERS}, "validation": {"sha256": OTHERS[:1]}}
    (tmp_path / "splits.json").write_text(json.dumps({"splits": splits}))
    done, file = certify("old", "--run", tmp_path)
    assert "could not be checked" not in done.stderr
    assert json.loads(file.read_bytes())["trained_on"]["images"] == 250


def test_a_run_is_looked_at_beside_what_the_bundle_says(certify, sample, tmp_path) -> None:
    last = sha256((sample / "299.png").read_bytes()).hexdigest()
    (tmp_path / "splits.json").write_text(json.dumps({"splits": {"train": {"sha256": [last]}}}))
    said = certify("one", "--run", tmp_path)[0].stderr.splitlines()[-1]
    assert f"trained on 2 of these 300 images: {sample / '000.png'}, {sample / '299.png'}; it has" in said


def test_a_server_that_does_not_know_the_question_leaves_it_open(server) -> None:
    with Client(server.address) as client:
        assert seen_before(client, client.model("student"), OTHERS, None) is None
        assert seen_before(client, client.model("student"), OTHERS, frozenset(OTHERS[3:5])).labelled == (3, 4)
