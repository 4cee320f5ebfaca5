"""The sharpness of small networks after training: what Figure 1 says, in a minute."""

from __future__ import annotations

from ..base import LAPTOP, PAPER, SMOKE, Arm, Experiment, Setup, Statement, over
from ..criteria import FALLS_CLEARLY_WITH_SIZE, SAME_AT_EVERY_SIZE
from ..panels import AgainstSize, Curves
from ..series import Series
from ..tables import FinalByWidth
from .scales import EPOCH, TINY

_MUP, _NTP = (Series(name, "sharpness") for name in ("μP", "NTP"))

STAYS, FALLS = "the sharpness is the same at every width", "the sharpness falls with width"
"""Names of the claims."""

TRAINED_SHARPNESS = Experiment(
    "trained-sharpness",
    "Sharpness of SimpleConvNet after training, under μP and under NTP",
    "Noci et al. 2024, Figure 1",
    arms=(
        Arm("μP", {"parametrization": "mup", "learning_rate": over(0.5)}),
        Arm("NTP", {"parametrization": "ntp", "learning_rate": over(7.0)}),
    ),
    scales={
        SMOKE: Setup(TINY),
        LAPTOP: Setup(
            {
                "width": over(32, 64, 128), "seed": over(0, 1, 2), "steps": 512, "measure_every": 64,
                "evaluation_examples": 256,
            },
            # On digits NTP's rate of 7 brings every width to the edge 2/eta0 within these steps, which holds
            # narrow networks back: their sharpness then says nothing of width.
            data={
                "digits": {"steps": 192, "measure_every": 24, "NTP": {"learning_rate": over(2.0)}},
            },
        ),
        PAPER: Setup(
            {
                "width": over(64, 256, 1024, 4096), "seed": over(0, 1, 2), "steps": 10 * EPOCH,
                "measure_every": 97, "hessian_examples": 1024, "evaluation_examples": 512,
            }
        ),
    },
    claims=(
        Statement(STAYS, SAME_AT_EVERY_SIZE, (_MUP,), None, "the same at every width"),
        Statement(FALLS, FALLS_CLEARLY_WITH_SIZE, (_NTP,), None, "falls with width"),
    ),
    panels=(
        tuple(Curves((one,), edge=True) for one in (_MUP, _NTP)),
        tuple(AgainstSize((one,)) for one in (_MUP, _NTP)),
    ),
    tables=(FinalByWidth((_MUP,)), FinalByWidth((_NTP,))),
)  # fmt: skip
