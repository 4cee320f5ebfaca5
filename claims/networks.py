"""Claims about real networks on real images: how the sharpness depends on width."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

import torch

from ..neural import load_images
from ..runner import DataChoice, NetworkModel, make_sweep, results_of
from ..stats.slopes import SizeDependence, size_dependence
from ..stats.windows import settled
from .ledger import CheckResult, Claim, Evidence, Kind, Settings, Verdict, not_run

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr

    from ..neural import Dataset

TRAINED_WIDTHS = (32, 64, 128)
TRAINED_SEEDS = 3

SPREAD = 0.15
"""muP: sharpness at the end within 15% across widths."""

SLOPE = -0.3
"""NTP: sharpness at the end falls with a log-log slope below this."""


class _Recipe(NamedTuple):
    """Learning rate and steps of progressive sharpening.

    Under NTP the learning rate keeps the edge `2/eta0` out of reach, which would hold narrow networks back:
    on digits eta0 = 7 brings every width there within 192 steps, and the sharpness says nothing of width.
    """

    learning_rate: float
    steps: int


_RECIPES = {
    ("digits", "mup"): _Recipe(0.5, 192),
    ("digits", "ntp"): _Recipe(2.0, 192),
    ("cifar-10", "mup"): _Recipe(0.5, 512),
    ("cifar-10", "ntp"): _Recipe(7.0, 512),
}


@cache
def _images(settings: Settings) -> Dataset:
    return load_images(settings.data_dir, download=settings.download)


def _trained(name: str, settings: Settings, report: Callable[[float], None]) -> xr.Dataset:
    """Train the widths under a parametrization and record their sharpness."""
    recipe = _RECIPES[_images(settings).name, name]
    pairs = (f"steps={recipe.steps}", f"measure_every={recipe.steps // 8}", "evaluation_examples=256")
    folder = None if settings.data_dir is None else str(settings.data_dir)
    data = DataChoice(folder=folder, download=settings.download)
    model = NetworkModel(pairs, data, torch.get_num_threads(), settings.device)
    grid = {
        "parametrization": name, "width": list(TRAINED_WIDTHS), "learning_rate": recipe.learning_rate,
        "seed": list(range(settings.seed, settings.seed + TRAINED_SEEDS)),
    }  # fmt: skip
    results = results_of(make_sweep(model, [grid]), on_status=lambda status: report(status.work))
    return results.squeeze(["parametrization", "architecture", "optimizer", "batch_size"], drop=True)


def _width_check(
    name: str,
    holds: Callable[[SizeDependence], bool],
    settings: Settings,
    report: Callable[[float], None],
) -> CheckResult:
    record = _trained(name, settings, report)
    final = settled(record["sharpness"].isel(learning_rate=0))
    usable = int((final > 0).sum())
    if usable < final.size:
        return not_run(f"{final.size - usable} of {final.size} runs have no positive final sharpness")
    dependence = size_dependence(final)
    low, high = dependence.interval
    means = ", ".join(
        f"{mean:.3g} at {width:.0f}" for width, mean in zip(dependence.sizes, dependence.means, strict=True)
    )
    summary = (
        f"{_images(settings).name}: final sharpness {means}; log-log slope {dependence.slope:.3f} "
        f"(95% {low:.3f} to {high:.3f}), spread {100 * dependence.spread:.1f}%"
    )
    figures = dependence._asdict() | {
        "edge 2/eta0": 2 / float(record["learning_rate"][0]),
        "learning_rate": float(record["learning_rate"][0]),
        "steps": int(record["step"][-1]),
        "data_hash": record.attrs["data_hash"],
    }
    seeds = tuple(int(seed) for seed in record["seed"])
    verdict = Verdict.VERIFIED if holds(dependence) else Verdict.REFUTED
    return CheckResult(verdict, Evidence(summary, figures, seeds=seeds))


_METHOD = (
    f"SimpleConvNet at widths {', '.join(map(str, TRAINED_WIDTHS))}, {TRAINED_SEEDS} seeds, SGD; "
    "mean of the last three measurements"
)

NETWORK_CLAIMS = (
    Claim(
        id="mup-sharpness-width-free",
        room="neural",
        statement=f"Trained on images under muP, the sharpness is the same at every width, to {SPREAD:.0%}",
        source="Figure 1, top",
        kind=Kind.EMPIRICAL,
        method=_METHOD,
        check=partial(_width_check, "mup", lambda dependence: dependence.spread <= SPREAD),
    ),
    Claim(
        id="ntp-sharpness-falls",
        room="neural",
        statement=f"Trained on images under NTP, the sharpness falls with width, log-log slope below {SLOPE}",
        source="Figure 1, bottom",
        kind=Kind.EMPIRICAL,
        method=_METHOD,
        check=partial(_width_check, "ntp", lambda dependence: dependence.slope < SLOPE),
    ),
)
