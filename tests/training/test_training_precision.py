"""In what a net computes while it learns."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pupil_training.devices import autocast
from pupil_training.loop import train
from pupil_training.recipe import Recipe

CPU = torch.device("cpu")
MakeRecipe = Callable[..., Recipe]


@pytest.mark.parametrize(("amp", "type_"), [("off", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_products_are_computed_in_the_type_that_is_asked_for(amp: str, type_: torch.dtype) -> None:
    with autocast(amp, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == type_


@pytest.mark.parametrize(("amx", "type_"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_takes_bf16_only_where_the_processor_multiplies_it_faster(
    monkeypatch: pytest.MonkeyPatch, amx: bool, type_: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    with autocast("auto", CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == type_


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_a_run_of_half_precision_ends_near_the_whole_ones_weights_in_fp32(
    recipe: MakeRecipe, tmp_path: Path, amp: str
) -> None:
    optim = {"name": "sgd", "learning_rate": 0.01}
    whole, half = (train(recipe(amp=each, optim=optim), tmp_path / each) for each in ("off", amp))
    for (name, exact), rounded in zip(whole.model.state_dict().items(), half.model.state_dict().values(), strict=True):
        assert rounded.dtype == exact.dtype, name
        assert torch.allclose(rounded, exact, atol=0.02), name
    assert not torch.equal(next(whole.model.parameters()), next(half.model.parameters()))
