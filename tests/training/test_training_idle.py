"""Settings that do nothing are told, those that do something never."""

from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from pupil_training.cli import train
from pupil_training.idle import EVERY_NET, idle
from pupil_training.models import MODELS, READS, InputSize, build_net, family_of
from pupil_training.recipe import Recipe, load_recipe, parse_recipe, recipe_folder
from pupil_training.settings import ModelSettings

ONE_OF_EACH = {builder: name for name, builder in MODELS.items()}.values()
NETS = [*ONE_OF_EACH, "wrn-10-1", "torchvision/squeezenet1_1", "timm/resnet10t"]
SHIPPED = sorted(path.stem for path in recipe_folder().glob("*.toml"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"augment": {"magnitude": 5}}, "augment.magnitude does nothing here: augment.randaugment is off"),
        (
            {"distill": {"method": "dkd", "temperature": 2}},
            "distill.method, distill.temperature do nothing here: distill.teacher names nobody to follow",
        ),
        (
            {"distill": {"teacher": "t", "views": 3, "dkd": {"beta": 2}}},
            "distill.dkd does nothing here: distill.method is 'kd'",
        ),
        ({"model": {"widths": [8]}}, "model.widths does nothing here: 'lenet5' has no such part"),
        ({"pool": {"strong": {"cutout": 4}}}, "pool.strong does nothing here: pool.method is 'none'"),
        ({"labels": {"kind": "soft"}}, "labels.kind does nothing here: labels.file is not set"),
        (
            {"transfer": {"run": "r", "unfreeze_every": 3}},
            "transfer.unfreeze_every does nothing here: transfer.mode is 'whole', not 'gradual'",
        ),
        ({"model": {"name": "knn"}, "ema": 0.9}, "ema does nothing here: 'knn' keeps images and learns in no steps"),
    ],
)
def test_a_setting_that_nothing_reads_is_told_with_the_reason(settings: dict[str, Any], told: str) -> None:
    assert told in idle(parse_recipe(settings, "here"))


def test_defaults_are_nobodys_slip_and_an_unknown_net_is_left_to_its_builder() -> None:
    assert idle(Recipe()) == idle(parse_recipe({"model": {"name": "nonesuch", "widths": [8]}}, "here")) == []


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_hold_nothing_idle_but_what_rounds_of_self_training_read(name: str) -> None:
    assert [line for line in idle(load_recipe(name)) if not line.startswith("labels.")] == []


@pytest.mark.parametrize("name", NETS)
def test_a_net_reads_what_it_is_said_to_read(name: str) -> None:
    read: set[str] = set()

    class Watched:
        def __getattr__(self, setting: str) -> Any:
            read.add(setting)
            return getattr(ModelSettings(name=name), setting)

    if name.startswith("timm/"):
        pytest.importorskip("timm")
    side = 32 if name != "lenet5-1998" else 28
    build_net(cast("ModelSettings", Watched()), InputSize(side, side, 3), 10)
    by_others = {"features", "download"}  # of which the loop and the weights' loader know
    assert read - EVERY_NET == set(READS[family_of(name)]) - by_others


def test_the_command_tells_before_it_trains(bars_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(f'steps = 1\nbatch_size = 8\n[data]\nroot = "{bars_folder}"')
    words = [str(tmp_path / "tiny.toml"), "distill.method=dkd", "--out", str(tmp_path / "run")]
    told = CliRunner().invoke(train, words)
    assert told.stderr.startswith("distill.method does nothing here: distill.teacher names nobody to follow\n")
    assert told.exit_code == 0
