"""Figures 5 and 10: the two-layer linear network."""

from __future__ import annotations

from ..base import LAPTOP, LATENT, PAPER, SMOKE, Arm, Experiment, Setup, Statement, over
from ..criteria import ALIGNED, AS_FAR_AT_EVERY_SIZE, FALLS_WITH_SIZE, GAP_FLOOR, NOT_ALIGNED, RISES
from ..series import Series
from .two_layer_panels import FlooredCurves, PartsPanel, RiseTable

_MUP, _NTP = (Series(name, "gauss_newton") for name in ("μP", "NTP"))


def _on_data(seeds: int) -> Setup:
    """Figure 5's settings.

    The caption names random data, not whitened ones, and the widths. The number of examples, the dimension,
    the target and the learning rates it leaves open; here they are such that under muP the eigenvalues cover
    the ranges of its axes.
    """
    return Setup(
        {
            "width": over(50, 100, 200, 500, 1000), "seed": over(*range(seeds)), "steps": 30,
            "examples": 100, "dimension": 20, "target_norm": 2.0, "data_seed": 0,
        }
    )  # fmt: skip


FIGURE_5 = Experiment(
    "5",
    "Largest eigenvalues of G and R on the way, μP and NTP",
    "Noci et al. 2024, Figure 5",
    arms=(
        Arm("μP", {"parametrization": "mup", "learning_rate": 0.75}, "curvature-parts"),
        Arm("NTP", {"parametrization": "ntp", "learning_rate": 2.0}, "curvature-parts"),
    ),
    scales={SMOKE: _on_data(2), LAPTOP: _on_data(10), PAPER: _on_data(50)},
    claims=(
        Statement(
            "the largest eigenvalue of G rises", RISES, (_MUP.pick("gauss_newton_rise"),), None,
            "progressive sharpening is driven by G",
        ),
        Statement(
            "it rises by the same factor at every width", AS_FAR_AT_EVERY_SIZE,
            (_MUP.pick("gauss_newton_rise"),),
        ),
        Statement(
            "the largest eigenvalue of G rises less in wider networks", FALLS_WITH_SIZE,
            (_NTP.pick("gauss_newton_rise_beyond_one"),), None, "less and less sharpening",
        ),
    ),
    panels=(
        tuple(
            PartsPanel((one, one.pick("residual")), f"{one.arm}, $\\eta_0 = {rate:g}$", legend=one is _MUP)
            for one, rate in ((_MUP, 0.75), (_NTP, 2.0))
        ),
    ),
    tables=(RiseTable((_MUP, _NTP)),),
    row_height=2.6,
)  # fmt: skip

_RATES = {"NTP": (2.5, 5.0, 10.0), "μP": (0.1, 0.2, 0.4)}


def _in_law(seeds: int) -> Setup:
    """Figure 10's settings; its target has entries of 1."""
    return Setup(
        {
            "width": over(300, 1000), "seed": over(*range(seeds)), "dimension": 100, "target_norm": 10.0,
            "steps": 40, "measure_every": 1,
        }
    )  # fmt: skip


FIGURE_10 = Experiment(
    "10",
    "Loss of the two-layer linear network under NTP and μP",
    "Noci et al. 2024, Figure 10",
    arms=(
        Arm("NTP", {"parametrization": "ntp", "learning_rate": over(*_RATES["NTP"])}, LATENT),
        Arm("μP", {"parametrization": "mup", "learning_rate": over(*_RATES["μP"])}, LATENT),
    ),
    scales={SMOKE: _in_law(3), LAPTOP: _in_law(20), PAPER: _in_law(50)},
    claims=(
        Statement("the curves align", ALIGNED, (Series("μP", "loss"),), None, "muP curves align"),
        Statement(
            "the curves do not align", NOT_ALIGNED, (Series("NTP", "loss"),), None, "NTP curves do not align"
        ),
    ),
    panels=(
        tuple(
            FlooredCurves(
                (Series(name, "loss"),), f"{name}, D = 100", floor=GAP_FLOOR, top=300,
                legend="upper right" if name == "NTP" else "lower left",
            )
            for name in _RATES
        ),
    ),
    row_height=2.3,
)  # fmt: skip
