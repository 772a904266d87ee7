import json
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner

from pupil_proto.v1 import models_pb2, models_pb2_grpc
from pupil_proto.v1.inference_pb2 import ModelSpec
from pupil_server.bundle import read_bundle
from pupil_server.errors import BundleError
from pupil_server.tune import Setting, Trial, best, divisions, settings, sweep
from pupil_server.tune_cli import tune


def trial(max_batch: int, rate: float, milliseconds: float, precision: str = "fp32") -> Trial:
    return Trial(Setting(precision, 1, 1, max_batch), rate, milliseconds)


@pytest.mark.parametrize(
    ("cores", "expected"), [(1, [(1, 1)]), (2, [(2, 1), (1, 2)]), (6, [(6, 1), (3, 2), (2, 3), (1, 6)])]
)
def test_the_cores_are_divided_without_a_rest(cores: int, expected: list[tuple[int, int]]) -> None:
    assert divisions(cores) == expected


def test_every_precision_division_and_batch_is_planned_and_a_gpu_is_not_divided() -> None:
    planned = settings("cpu", ["fp32", "int8"], cores=2, largest=3)
    assert len(planned) == len(set(planned)) == 2 * 2 * 3
    assert {setting.max_batch for setting in planned} == {1, 2, 3}
    assert settings("cuda", ["fp16"], cores=8, largest=2) == [Setting("fp16", 1, 1, 1), Setting("fp16", 1, 1, 2)]


def test_the_smallest_batch_that_is_nearly_as_fast_is_best() -> None:
    trials = [trial(1, 500, 2), trial(8, 980, 8), trial(16, 990, 16), trial(32, 1000, 32)]
    assert best(trials, most_milliseconds=100).setting.max_batch == 8
    assert best(trials, most_milliseconds=5).setting.max_batch == 1
    with pytest.raises(BundleError, match=r"at most 1 ms, the quickest of 4 trials took 2 ms"):
        best(trials, most_milliseconds=1)


@pytest.mark.parametrize(("rate", "expected"), [(1020, "fp32"), (1100, "int8")])
def test_another_precision_must_be_worth_it(rate: float, expected: str) -> None:
    trials = [trial(32, 1000, 32), trial(1, rate, 1, precision="int8")]
    assert best(trials, most_milliseconds=100).setting.precision == expected


def test_no_trial_begins_once_the_time_is_over(toolbox, tmp_path: Path) -> None:
    bundle = read_bundle(toolbox.write_bundle(tmp_path, "student"))
    planned = settings("cpu", ["fp32"], cores=1, largest=4)
    assert list(sweep(bundle, "cpu", planned, seconds=0)) == []


def test_the_best_setting_is_measured_and_served(repository: Path, start, tmp_path: Path) -> None:
    tuned = tmp_path / "tuned.toml"
    arguments = [str(repository / "student/1"), "--seconds", "1", "--max-batch", "4", "--output", str(tuned), "--json"]
    done = CliRunner().invoke(tune, [*arguments, "--device", "cpu"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["best"] in found["trials"]
    fastest = max(found["trials"], key=lambda each: each["images_per_second"])
    assert found["best"]["images_per_second"] >= 0.97 * fastest["images_per_second"]
    with start("--config", str(tuned)) as server, grpc.insecure_channel(server.address) as channel:
        info = models_pb2_grpc.ModelsStub(channel).Get(
            models_pb2.GetModelRequest(model=ModelSpec(name="student")), timeout=20
        )
    assert info.max_batch_images == found["best"]["max_batch"]


def test_a_precision_that_the_bundle_lacks_is_one_line(repository: Path) -> None:
    done = CliRunner().invoke(tune, [str(repository / "student/1"), "--precision", "int8"])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].endswith("has no int8; it has fp32")
