"""Super-consistency of made-up curves whose slopes and laws in time are known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from superconsistency import Ensemble, IsotropicTarget, parametrization, schedule, simulate
from superconsistency.errors import InputError
from superconsistency.stats.dependence import DEPENDS, INDEPENDENT
from superconsistency.stats.resolution import rounding_floor
from superconsistency.stats.super_consistency import consistency
from superconsistency.stats.transfer import transfer_verdict
from superconsistency.stats.verdicts import UNDECIDED
from superconsistency.stats.windows import settled

from .made_up import STEPS, WIDTHS, curves, generator


@pytest.mark.parametrize(
    ("slope", "noise", "verdict"),
    [(0.0, 0.005, INDEPENDENT), (-0.5, 0.05, DEPENDS), (0.0, 1.0, UNDECIDED)],
)
def test_verdicts_on_consistency_are_those_of_the_known_slope(
    slope: float, noise: float, verdict: str
) -> None:
    found = consistency(curves(slope, noise=noise), generator(), name="sharpness")
    assert found.verdict == verdict, found.sentence
    assert found.slopes["slope"].to_numpy() == pytest.approx(slope, abs=4 * noise)


def test_depth_is_judged_as_width_is_and_called_depth() -> None:
    over_width = consistency(curves(-0.5, noise=0.05), generator())
    over_depth = consistency(curves(-0.5, noise=0.05, over="depth"), generator(), over="depth")
    assert "L = 16" in over_depth.sentence
    assert "width" not in over_depth.sentence
    np.testing.assert_array_equal(over_width.slopes["slope"], over_depth.slopes["slope"])


def test_a_loss_that_converges_beyond_floating_point_is_judged() -> None:
    """The exponents of a geometric decay are steep, their amplitudes infinite, its end below rounding."""
    steps = np.arange(0, 801, 50)
    draws = generator().standard_normal((len(WIDTHS), 3, 1))
    loss = np.exp(-0.17 * steps * (1 + 0.1 / WIDTHS[:, None, None]) + 0.01 * draws)
    values = xr.DataArray(loss, {"width": WIDTHS, "seed": range(3), "step": steps}, ("width", "seed", "step"))
    found = consistency(values, generator(), name="loss")
    assert "zero or below rounding at some step" in found.sentence
    assert found.growth[16.0].bent
    assert "no single power" in found.sentence


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(InputError, match="number of recorded steps is 1"):
        consistency(curves(0.0, noise=0.1).isel(step=[0]), generator())
    with pytest.raises(InputError, match=r"dimensions is .*accepted: width, seed and step.*isel"):
        consistency(curves(0.0, noise=0.1).expand_dims("learning_rate"), generator())
    with pytest.raises(InputError, match="number of finite widths that count is 1"):
        consistency(curves(0.0, noise=0.1).isel(width=[0]), generator())
    with pytest.raises(InputError, match="accepted: height, seed and step"):
        consistency(curves(0.0, noise=0.1), generator(), over="height")
    with pytest.raises(InputError, match="size is step"):
        consistency(curves(0.0, noise=0.1), generator(), over="step")


def test_any_axis_of_sizes_may_be_judged() -> None:
    found = consistency(curves(-0.5, noise=0.05, over="heads"), generator(), over="heads")
    assert found.verdict == "depends on heads"
    assert "heads = 16" in found.sentence
    assert set(found.growth) == set(WIDTHS[:-1])
    assert found.distances.sizes["step"] == len(STEPS)


def test_a_sweep_of_the_latent_system_that_has_converged_is_judged_and_its_rates_are_equally_good() -> None:
    rates = (0.5, 1.0, 2.0, 4.0)
    ensemble = Ensemble(parametrization("mup"), IsotropicTarget(20, 1.0), (64, 256, 1024), rates, range(3))
    loss = simulate(ensemble, record_at=schedule(800, every=50))["loss"]
    for index in range(4):
        found = consistency(loss.isel(learning_rate=index), generator(), name="loss")
        assert "zero or below rounding at some step" in found.sentence
    transfer = transfer_verdict(settled(loss), generator(), floor=rounding_floor(loss))
    assert transfer.judgement == UNDECIDED
    assert all(transfer.tied)
    assert "share the least loss" in transfer.sentence or "the same at every rate" in transfer.sentence


def test_the_verdict_on_the_final_losses_of_few_measurements_is_that_at_the_end() -> None:
    rates = tuple(2.0 ** np.arange(-2, 3.01, 0.5))
    ensemble = Ensemble(parametrization("mup"), IsotropicTarget(20, 1.0), (64, 128, 256), rates, range(4))
    loss = simulate(ensemble, record_at=schedule(6, every=3))["loss"]
    final = transfer_verdict(settled(loss), generator())
    assert final == transfer_verdict(loss.sel(step=6, drop=True), generator())
