"""Figures 1, 2 and 3: what depends on width, and what does not."""

from __future__ import annotations

from ..base import LAPTOP, PAPER, SMOKE, Arm, Experiment, Setup, Statement, over
from ..criteria import (
    FALLS_WITH_SIZE,
    GROWS,
    MOVES,
    NEARS_THE_EDGE,
    NOT_FREE_OF_SIZE,
    SHRINKS,
    TRANSFERS,
    free_of_width,
)
from ..panels import BestRate, Curves, Laws
from ..series import LAST, Series
from ..tables import FiniteSize
from .scales import EPOCH, TINY

_MUP, _NTP = Series("μP", "sharpness", {"learning_rate": LAST}), Series("NTP", "sharpness")
_MUP_LOSS, _NTP_LOSS = Series("μP, transfer", "loss"), Series("NTP, transfer", "loss")

FIGURE_1 = Experiment(
    "1",
    "Sharpness, loss and learning-rate transfer of SimpleConvNet, μP above NTP",
    "Noci et al. 2024, Figure 1",
    arms=(
        Arm("μP", {"parametrization": "mup"}),
        Arm("NTP", {"parametrization": "ntp"}),
        Arm("μP, transfer", {"parametrization": "mup"}),
        Arm("NTP, transfer", {"parametrization": "ntp"}),
    ),
    scales={
        SMOKE: Setup(
            TINY,
            {
                "μP": {"learning_rate": over(0.5, 1.5)},
                "NTP": {"learning_rate": over(7.0)},
                "μP, transfer": {"learning_rate": over(0.5, 1.0, 2.0)},
                "NTP, transfer": {"learning_rate": over(7.0, 14.0, 28.0)},
            },
        ),
        LAPTOP: Setup(
            {
                "width": over(32, 64, 128, 256, 512),
                "seed": over(0, 1),
                "steps": 512,
                "measure_every": 32,
                "hessian_examples": 128,
                "evaluation_examples": 512,
            },
            {
                "μP": {"learning_rate": over(0.5, 1.5)},
                "NTP": {"learning_rate": over(7.0)},
                "μP, transfer": {
                    "learning_rate": over(1.0, 2.0, 4.0, 8.0),
                    "steps": 96,
                    "measure_every": 12,
                },
                "NTP, transfer": {
                    "learning_rate": over(14.0, 28.0, 56.0, 112.0, 224.0),
                    "steps": 96,
                    "measure_every": 12,
                },
            },
            {"digits": {"width": over(32, 64, 128), "steps": 192, "measure_every": 12}},
        ),
        PAPER: Setup(
            {
                "width": over(64, 128, 256, 512, 1024, 2048, 4096, 8192),
                "seed": over(0, 1, 2),
                "steps": 50 * EPOCH,
                "measure_every": 1218,
                "hessian_examples": 1024,
                "evaluation_examples": 512,
                "augmentation": "standard",
            },
            {
                "μP": {"learning_rate": over(0.19, 0.53, 1.47)},
                "NTP": {"learning_rate": over(6.81, 52.75)},
                "μP, transfer": {"learning_rate": over(0.19, 0.32, 0.53, 0.88, 1.47, 2.44, 4.06)},
                "NTP, transfer": {"learning_rate": over(6.81, 11.4, 18.9, 31.6, 52.75, 87.9, 146.0)},
            },
        ),
    },
    claims=(
        Statement(
            "the sharpness does not depend on width", free_of_width(128), (_MUP,), None, "super consistent"
        ),
        Statement(
            "the sharpness nears the edge",
            NEARS_THE_EDGE,
            (_MUP.pick("sharpness_over_edge"),),
            None,
            "nears 2/eta0",
        ),
        Statement(
            "the loss depends on width", FALLS_WITH_SIZE, (_MUP.pick("loss"),), None, "wider is better"
        ),
        Statement(
            "the sharpness falls with width",
            FALLS_WITH_SIZE,
            (_NTP.pick(learning_rate=LAST),),
            None,
            "falls with width",
        ),
        Statement("the best learning rate stays", TRANSFERS, (_MUP_LOSS,), None, "transfer"),
        Statement("the best learning rate moves", MOVES, (_NTP_LOSS,), None, "no transfer"),
    ),
    panels=(
        (
            Curves((Series("μP", "sharpness"),), edge=True),
            Curves((Series("μP", "loss"),), log=False),
            BestRate((_MUP_LOSS,)),
        ),
        (Curves((_NTP,), edge=True), Curves((_NTP.pick("loss"),), log=False), BestRate((_NTP_LOSS,))),
    ),
    tables=(FiniteSize((_MUP,)),),
)

_SPECTRUM = Series("μP", "sharpness")
_CONVNET = {"network": "convnet", "parametrization": "mup", "learning_rate": over(0.7), "tolerance": 1e-2}

FIGURE_2 = Experiment(
    "2",
    "Hessian and kernel eigenvalues 1, 4 and 10 of a ConvNet over time, μP",
    "Noci et al. 2024, Figure 2",
    arms=(Arm("μP", _CONVNET),),
    scales={
        SMOKE: Setup(TINY | {"width": over(4, 8), "steps": 4, "measure_every": 4}),
        LAPTOP: Setup(
            {
                "width": over(8, 16, 32, 64), "seed": over(0, 1), "steps": 384, "measure_every": 48,
                "hessian_examples": 64, "evaluation_examples": 512,
            }
        ),
        PAPER: Setup(
            {
                "width": over(8, 16, 32, 64, 128, 256, 512, 1024), "seed": over(0, 1, 2),
                "steps": 10 * EPOCH, "measure_every": 97, "hessian_examples": 1024,
                "evaluation_examples": 512,
            }
        ),
    },
    claims=(
        Statement(
            "the sharpness does not depend on width", free_of_width(32), (_SPECTRUM,), None, "consistent"
        ),
        Statement(
            "the kernel's largest eigenvalue depends on width", NOT_FREE_OF_SIZE,
            (_SPECTRUM.pick("ntk_sharpness"),), None, "accumulates finite-size effects",
        ),
    ),
    panels=(
        (
            Curves(
                tuple(_SPECTRUM.pick(name) for name in ("sharpness", "eigenvalue_4", "eigenvalue_10")),
                "Hessian: eigenvalues 1, 4, 10", edge=True,
            ),
            Curves(
                tuple(
                    _SPECTRUM.pick(f"ntk_{name}") for name in ("sharpness", "eigenvalue_4", "eigenvalue_10")
                ),
                "tangent kernel: eigenvalues 1, 4, 10",
            ),
        ),
    ),
    tables=(FiniteSize((_SPECTRUM,)),),
)  # fmt: skip

_DISTANCE = Series("μP", "distance_of_sharpness")
_LATE = "0+1+2+4+7+13+25+47+88+130+170+212+269+340+430+540+650+768"
"""Steps: widths arrive at the edge between 130 and 220, and a law in time needs three times as many."""

FIGURE_3 = Experiment(
    "3",
    "Distance of sharpness, loss and kernel to those of a wide network, μP",
    "Noci et al. 2024, Figure 3",
    arms=(Arm("μP", _CONVNET),),
    scales={
        SMOKE: Setup(TINY),
        LAPTOP: Setup(
            {
                "width": over(8, 16, 32, 64), "seed": over(0, 1, 2, 3), "steps": 768, "measure_at": _LATE,
                "hessian_examples": 64, "evaluation_examples": 512,
            }
        ),
        PAPER: Setup(
            {
                "width": over(8, 32, 128, 1024), "seed": over(0, 1, 2), "steps": 10 * EPOCH,
                "measure_every": 97, "hessian_examples": 1024, "evaluation_examples": 512,
            }
        ),
    },
    claims=(
        Statement("the distance of the sharpness shrinks", SHRINKS, (_DISTANCE,), None, "negative exponents"),
        Statement(
            "the distance of the loss grows", GROWS, (_DISTANCE.pick("distance_of_loss"),), None, "0.6 to 0.9"
        ),
        Statement(
            "the distance of the kernel grows", GROWS, (_DISTANCE.pick("distance_of_kernel"),), None,
            "exponents of about 2",
        ),
    ),
    panels=(
        tuple(
            Laws((_DISTANCE.pick(f"distance_of_{name}"),), f"g(t): {name}", criterion)
            for name, criterion in (("sharpness", SHRINKS), ("loss", GROWS), ("kernel", GROWS))
        ),
    ),
)  # fmt: skip
