"""Fluctuations at finite width: error bars over starts, predicted and sampled."""

from __future__ import annotations

from ..base import LAPTOP, PAPER, SMOKE, Arm, Experiment, Setup, Statement, over
from ..criteria import COVERS
from ..series import Series
from .error_bar_panels import Bands, CoverageTable, Deviations, Ratio

_MUP = Series("μP", "covered")
_PARTS = ("predicted", "sampled", "lower", "upper", "mean", "holds", "limit")
_SHOWN = (64.0, 1024.0, 16384.0)
_COLUMNS = {"sharpness": "sharpness", "loss": "loss", "second_layer": "second-layer norm $v$"}


def _parts(quantity: str) -> tuple[Series, ...]:
    return tuple(Series("μP", part, {"quantity": quantity}) for part in _PARTS)


def _settings(seeds: int, *widths: float, steps: int = 30) -> Setup:
    return Setup(
        {
            "width": over(*widths), "seed": over(*range(seeds)), "steps": steps, "dimension": 10,
            "target_norm": 1.0, "learning_rate": 0.5,
        }
    )  # fmt: skip


_WIDTHS = tuple(2.0**power for power in range(4, 15))

ERROR_BARS = Experiment(
    "error-bars",
    "Fluctuations at finite width, predicted and sampled",
    "beyond the paper",
    arms=(Arm("μP", {}, "error-bars"),),
    scales={
        SMOKE: _settings(8, *_SHOWN, steps=8),
        LAPTOP: _settings(300, *_WIDTHS),
        PAPER: _settings(3000, *_WIDTHS),
    },
    claims=(
        Statement(
            "the interval of the sampled deviation covers the predicted one where first order holds", COVERS,
            (_MUP,),
        ),
    ),
    panels=(
        tuple(
            Bands(_parts(name), words, _SHOWN, 2, legend=name == "sharpness")
            for name, words in _COLUMNS.items()
        ),
        tuple(
            Deviations(_parts(name), f"deviation: {words}", _SHOWN, legend=name == "loss")
            for name, words in _COLUMNS.items()
        ),
        tuple(
            Ratio(
                _parts(name), f"ratio: {words}", legend=name == "second_layer", steps=(0, 4, 8, 16, 30)
            )
            for name, words in _COLUMNS.items()
        ),
    ),
    tables=(CoverageTable(tuple(map(_MUP.pick, _PARTS))),),
    row_height=1.9,
)  # fmt: skip
