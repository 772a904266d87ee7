"""The promise in 2,000 draws a setting, where the truth is known exactly: benchmarks/promise_simulated.py."""

import importlib.util
from functools import cache
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks/promise_simulated.py"
DRAWS, DELTA = 2000, 0.1


@pytest.fixture(scope="module")
def simulated():
    spec = importlib.util.spec_from_file_location("promise_simulated", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cache(module.simulated)


@pytest.mark.parametrize("precision", [0.95, 0.98, 0.99])
@pytest.mark.parametrize("images", [300, 1000, 3000])
def test_pac_is_broken_in_at_most_delta_of_2000_draws(simulated, images, precision):
    _, wrong = simulated("pac", images, precision, DELTA, DRAWS).T
    assert (wrong > 1 - precision).mean() <= DELTA


# Shares that another implementation of fixed-sequence testing and of conformal labelling accepts of such images, told
# with two digits.
@pytest.mark.parametrize(
    ("guarantee", "images", "precision", "share"),
    [
        *[("pac", 300, 0.95, 0.27), ("pac", 1000, 0.95, 0.46), ("pac", 300, 0.98, 0.03)],
        *[("pac", 1000, 0.98, 0.12), ("pac", 1000, 0.99, 0.02)],
        *[("fdr", 100, 0.95, 0.52), ("fdr", 300, 0.95, 0.60), ("fdr", 1000, 0.98, 0.34), ("fdr", 1000, 0.99, 0.19)],
    ],
)
def test_as_many_are_accepted_as_by_another_implementation(simulated, guarantee, images, precision, share):
    accepted, _ = simulated(guarantee, images, precision, DELTA, DRAWS).T
    assert accepted.mean() == pytest.approx(share, rel=0.1, abs=0.005)


@pytest.mark.parametrize(("images", "precision"), [(100, 0.95), (300, 0.95), (1000, 0.98), (1000, 0.99)])
def test_fdr_keeps_its_share_on_average_over_2000_pools(simulated, images, precision):
    _, wrong = simulated("fdr", images, precision, DELTA, DRAWS).T
    assert wrong.mean() <= 1 - precision
