"""`pupil labels sample`: images of a pool, drawn at random, as files for people to label."""

import csv
import io
import json
import tarfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pupil_client.command import main
from pupil_client.labelling.samples import read_sample

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 4, 5, 3), np.uint8)


def draw(*words):
    return CliRunner().invoke(main, ["labels", "sample", *map(str, words)], prog_name="pupil", catch_exceptions=False)


@pytest.fixture(params=["array", "tar"])
def pool(request, tmp_path):
    """The same images in a file that tells how many they are, and in one that does not."""
    if request.param == "array":
        np.save(tmp_path / "pool.npy", PIXELS)
        return tmp_path / "pool.npy"
    with tarfile.open(tmp_path / "pool.tar", "w") as tar:
        for number, pixels in enumerate(PIXELS):
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            member = tarfile.TarInfo(f"{number % 2}.png")  # a name need not be the only one of its kind
            member.size = file.tell()
            file.seek(0)
            tar.addfile(member, file)
    return tmp_path / "pool.tar"


def test_what_is_drawn_is_of_the_pool_and_a_table_waits_for_its_labels(pool, tmp_path):
    output = tmp_path / "new" / "sample"
    done = draw(pool, "--images", 15, "--output", output, "--prefix", "/data/local-files/?d=")
    assert (done.exit_code, done.stderr.splitlines()[0]) == (0, "15 of 40 images")
    assert f"pupil certify --labels {output}/sample.csv --model MODEL --pool {pool} …" in done.stderr
    with (output / "sample.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["label"] for row in rows] == [""] * 15
    if pool.suffix == ".npy":  # the pixels themselves, by which a model knows what it was trained on
        seen = [sha256(PIXELS[int(Path(row["path"]).stem)].tobytes()).hexdigest() for row in rows]
        assert [row["sha256"] for row in rows] == seen
    for row in rows:
        place = int(Path(row["path"]).stem)
        np.testing.assert_array_equal(np.asarray(Image.open(output / row["path"])), PIXELS[place])
    tasks = json.loads((output / "tasks.json").read_text())
    assert [task["data"]["path"] for task in tasks] == [str(output / row["path"]) for row in rows]
    assert tasks[0]["data"]["image"] == f"/data/local-files/?d={output}/{rows[0]['path']}"

    (output / "filled.csv").write_text("path,label\n" + "".join(f"{row['path']},cat\n" for row in rows))
    assert [each.picture.read().data for each in read_sample(output / "filled.csv")] == [
        (output / row["path"]).read_bytes() for row in rows
    ]


def test_the_table_may_be_filled_in_with_a_spreadsheet(pool, tmp_path):
    draw(pool, "--images", 3, "--output", tmp_path / "sample")
    table = tmp_path / "sample/sample.csv"
    with table.open(newline="") as lines:
        rows = [{**row, "label": "cat"} for row in csv.DictReader(lines)]
    with table.open("w", encoding="utf-8-sig", newline="") as lines:
        writer = csv.DictWriter(lines, ["path", "label", "sha256"])
        writer.writeheader()
        writer.writerows(rows)
    assert [(each.label, each.sha256) for each in read_sample(table)] == [("cat", row["sha256"]) for row in rows]


def test_a_table_with_semicolons_is_told_with_the_columns_that_it_seems_to_have(tmp_path):
    (tmp_path / "sample.csv").write_text("path;label\nimages/1.png;cat\n")
    with pytest.raises(ValueError, match="has no label, its columns are path;label; wanted are path "):
        read_sample(tmp_path / "sample.csv")


def test_the_same_command_draws_the_same_and_another_seed_others(pool, tmp_path):
    drawn = []
    for number, seed in enumerate((0, 0, 1)):
        draw(pool, "--images", 15, "--seed", seed, "--output", tmp_path / str(number))
        drawn.append((tmp_path / str(number) / "sample.csv").read_text())
    assert drawn[0] == drawn[1] != drawn[2]
    again = draw(pool, "--output", tmp_path / "0")
    assert again.stderr == f"Error: {tmp_path}/0 is there already; name another folder, or remove it\n"


def test_every_image_has_the_same_chance(tmp_path):
    """Of 60 draws of 3 among 6, each is in 30 but for chance: four standard deviations are 15."""
    (tmp_path / "pool.txt").write_text("".join(f"{tmp_path}/{place}.png\n" for place in range(6)))
    for place in range(6):
        (tmp_path / f"{place}.png").write_bytes(bytes([place]))
    drawn = np.zeros(6)
    for seed in range(60):
        draw(tmp_path / "pool.txt", "--images", 3, "--seed", seed, "--output", tmp_path / f"out-{seed}")
        for file in (tmp_path / f"out-{seed}/images").iterdir():
            drawn[file.read_bytes()[0]] += 1
    assert drawn.sum() == 180
    assert abs(drawn - 30).max() < 15


def test_of_a_small_pool_all_is_drawn_and_what_cannot_be_read_is_told(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG and so on")
    (tmp_path / "pool.txt").write_text(f"{tmp_path}/a.png\n{tmp_path}/gone.png\n")
    done = draw(tmp_path / "pool.txt", "--output", tmp_path / "sample")
    assert done.stderr.startswith("2 of 2 images, 1 of which cannot be read and are left out\n")
    assert [file.name for file in (tmp_path / "sample/images").iterdir()] == ["00000000.png"]


def test_where_nothing_can_be_drawn_no_empty_sample_is_left(tmp_path):
    (tmp_path / "pool.txt").write_text(f"{tmp_path}/gone.png\n")
    done = draw(tmp_path / "pool.txt", "--output", tmp_path / "sample")
    assert (done.exit_code, done.stderr) == (1, "Error: none of the 1 images that were drawn of 1 can be read\n")
    assert not (tmp_path / "sample").exists()
