"""Figure 24: the first steps to the edge of stability."""

from __future__ import annotations

from ..base import LAPTOP, PAPER, SMOKE, Arm, Experiment, Setup, Statement, over
from ..criteria import AS_FAST_AT_EVERY_SIZE, LATER_WITH_SIZE, NEARS_THE_EDGE
from ..panels import AgainstSize, Curves
from ..series import Series
from .scales import TINY

_MUP, _NTP = (Series(name, "sharpness") for name in ("μP", "NTP"))

FIGURE_24 = Experiment(
    "24",
    "First steps to the edge of stability, μP above NTP",
    "Noci et al. 2024, Figure 24",
    arms=(
        Arm("μP", {"parametrization": "mup", "learning_rate": over(0.8), "network": "convnet"}),
        Arm("NTP", {"parametrization": "ntp", "learning_rate": over(8.0), "network": "convnet"}),
    ),
    scales={
        SMOKE: Setup(TINY),
        LAPTOP: Setup(
            {
                "width": over(16, 32, 64, 128), "seed": over(*range(8)), "steps": 200, "measure_every": 8,
                "hessian_examples": 64, "evaluation_examples": 512, "tolerance": 1e-2,
            }
        ),
        PAPER: Setup(
            {
                "width": over(8, 32, 128, 512, 2048), "seed": over(0, 1, 2), "steps": 200, "measure_every": 2,
                "hessian_examples": 1024, "evaluation_examples": 512,
            }
        ),
    },
    claims=(
        Statement("the edge is reached at one speed", AS_FAST_AT_EVERY_SIZE, (_MUP,), None, "at every width"),
        Statement("wider networks reach the edge later", LATER_WITH_SIZE, (_NTP,), None, "later and later"),
        Statement(
            "the sharpness nears the edge", NEARS_THE_EDGE, (_MUP.pick("sharpness_over_edge"),), None,
            "reaches 2/eta0",
        ),
    ),
    panels=tuple(
        (
            Curves((one.pick("loss"),), log=False),
            Curves((one,), edge=True),
            AgainstSize((one,), edge=True),
        )
        for one in (_MUP, _NTP)
    ),
)  # fmt: skip
