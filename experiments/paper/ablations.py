"""Figure 26: without feature learning nothing sharpens."""

from __future__ import annotations

from ..base import LAPTOP, PAPER, SMOKE, Arm, Experiment, Setup, Statement, over
from ..criteria import FALLS_WITH_SIZE, MOVES, RISES, STANDS_STILL, TRANSFERS
from ..panels import BestRate, Curves
from ..series import Series
from .scales import EPOCH, TINY

_NAMES = ("random features", "μP", "NTP")
_RANDOM, _MUP, _NTP = (Series(name, "sharpness") for name in _NAMES)
_SETTINGS = (
    {"parametrization": "mup", "frozen": "first+second"},
    {"parametrization": "mup"},
    {"parametrization": "ntp"},
)
_RATES = (over(0.5), over(0.5), over(7.0))

FIGURE_26 = Experiment(
    "26",
    "Sharpness and transfer with random features, under μP and under NTP",
    "Noci et al. 2024, Figure 26",
    arms=(
        *(
            Arm(name, {**settings, "learning_rate": rates})
            for name, settings, rates in zip(_NAMES, _SETTINGS, _RATES, strict=True)
        ),
        *(
            Arm(f"{name}, transfer", settings)
            for name, settings in zip(_NAMES, _SETTINGS, strict=True)
        ),
    ),
    scales={
        SMOKE: Setup(
            TINY,
            {
                f"{name}, transfer": {"learning_rate": rates}
                for name, rates in zip(
                    _NAMES, (over(1.0, 4.0, 16.0), over(0.5, 1.0, 2.0), over(7.0, 14.0, 28.0)), strict=True
                )
            },
        ),
        LAPTOP: Setup(
            {
                "width": over(64, 128, 256), "seed": over(0, 1), "steps": 256, "measure_every": 32,
                "hessian_examples": 128, "evaluation_examples": 256,
            },
            {
                f"{name}, transfer": {"learning_rate": rates, "steps": 96, "measure_every": 12}
                for name, rates in zip(
                    _NAMES,
                    (over(4.0, 8.0, 16.0, 32.0), over(1.0, 2.0, 4.0, 8.0),
                     over(14.0, 28.0, 56.0, 112.0, 224.0)),
                    strict=True,
                )
            },
        ),
        PAPER: Setup(
            {
                "width": over(64, 256, 1024, 4096, 8192), "seed": over(0, 1, 2),
                "steps": 20 * EPOCH, "measure_every": 195, "hessian_examples": 1024,
                "evaluation_examples": 256,
            },
            {
                f"{name}, transfer": {"learning_rate": rates}
                for name, rates in zip(
                    _NAMES,
                    (over(1.0, 2.0, 4.0, 8.0, 16.0, 32.0), over(0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
                     over(7.0, 14.0, 28.0, 56.0, 112.0, 224.0)),
                    strict=True,
                )
            },
        ),
    },
    claims=(
        Statement(
            "nothing sharpens without features", STANDS_STILL, (_RANDOM.pick("sharpening"),), None,
            "the absence of feature learning prevents the sharpness' evolution at any width",
        ),
        Statement("the sharpness rises with features", RISES, (_MUP.pick("sharpening"),)),
        Statement(
            "the sharpness rises less in wider networks", FALLS_WITH_SIZE, (_NTP.pick("sharpening"),), None,
            "sharpens at a much lower speed as the width increases",
        ),
        Statement(
            "the best learning rate stays", TRANSFERS, (Series("μP, transfer", "loss"),), None, "transfer"
        ),
        Statement(
            "the best learning rate moves", MOVES, (Series("NTP, transfer", "loss"),), None, "no transfer"
        ),
    ),
    panels=(
        tuple(Curves((one,), edge=True) for one in (_RANDOM, _MUP, _NTP)),
        tuple(BestRate((Series(f"{name}, transfer", "loss"),)) for name in _NAMES),
    ),
)  # fmt: skip
