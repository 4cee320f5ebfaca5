"""Figure 28 and pictures of coordinate checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np

from ..stats.power_laws import power_law_fit
from ..stats.verdicts import Within, all_of
from ..theory import parametrization, width_exponents
from .drawing import Drawing
from .style import PAGE, PALETTE, paper_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..neural.coordinates import CoordinateReport
    from .drawing import FigureSettings

_WIDTHS = {"laptop": (16, 32, 64, 128, 256), "paper": (64, 128, 256, 512, 1024, 2048)}
_STEPS = (1, 2, 3, 4)
_SEEDS = 8
_RATE = 0.7
_FLAT = 0.1
"""Exponent within which an activation does not depend on width."""


def figure_28(settings: FigureSettings) -> Drawing:
    """Mean activation of every layer against width in the first four steps, ConvNet under muP (Figure 28)."""
    from ..neural import TrainingConfig, load_images, network, resolve_device  # noqa: PLC0415 - loads PyTorch
    from ..neural.coordinates import CoordinateCheck, coordinate_check  # noqa: PLC0415

    data = load_images(settings.data_dir, download=settings.download).to(resolve_device(settings.device))
    check = CoordinateCheck(
        TrainingConfig(parametrization("mup"), architecture=network("convnet")),
        _RATE,
        sizes=_WIDTHS[settings.scale],
        steps=_STEPS,
        seeds=tuple(range(settings.seed, settings.seed + _SEEDS)),
    )
    report = coordinate_check(check, data, examples=128, on_progress=settings.on_progress)
    sizes = report.record["later_activation"].dropna("seed", how="all")
    figure, panels = plt.subplots(1, len(_STEPS), figsize=(PAGE, 2.5), sharey=True)
    for panel, step in zip(panels, _STEPS, strict=True):
        draw_sizes(panel, sizes.sel(step=step)).set_title(f"step {step}")
    panels[0].set_ylabel("mean |activation|")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    numbers: dict[str, Any] = {}
    generator = np.random.default_rng(settings.seed)
    for layer in sizes["layer"].to_numpy():
        for step in _STEPS:
            runs = sizes.sel(layer=layer, step=step).transpose("seed", "size").to_numpy()
            fit = power_law_fit(check.sizes, runs, generator=generator, paired=False)
            numbers[f"{layer}, step {step}: exponent in width"] = fit.exponent
            numbers[f"{layer}, step {step}: interval"] = fit.interval
    configuration = {
        "data": data.name, "data_hash": data.hash, "examples": data.examples, "seed": settings.seed,
        "scale": settings.scale, "widths": check.sizes, "steps": _STEPS, "learning_rate": _RATE,
        "seeds": _SEEDS, "batch": 128, "network": "convnet",
    }  # fmt: skip
    return Drawing(figure, f"{data.name}: {_verdict(numbers)}", numbers, configuration)


def draw_sizes(axes: Axes, sizes: Any) -> Axes:
    """Mean activations of layers against width; dimensions (layer, size, seed)."""
    for index, layer in enumerate(sizes["layer"].to_numpy()):
        means = sizes.sel(layer=layer).mean("seed")
        axes.plot(
            means["size"], means, marker="o", ms=2, color=PALETTE[index % len(PALETTE)], label=str(layer),
            ls="-" if index < len(PALETTE) else "--",
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("width N")
    return axes


def draw_coordinates(report: CoordinateReport) -> Figure:
    """Every fitted exponent with its interval beside what was predicted."""
    with paper_style():
        quantities = list(dict.fromkeys(fit.quantity for fit in report.fits))
        layers = list(dict.fromkeys(fit.layer for fit in report.fits))
        size = (PAGE, 1.2 + 0.14 * len(layers))
        figure, panels = plt.subplots(1, len(quantities), figsize=size, sharey=True, squeeze=False)
        for panel, quantity in zip(panels[0], quantities, strict=True):
            for fit in (fit for fit in report.fits if fit.quantity == quantity):
                _draw_fit(panel, layers.index(fit.layer), fit)
            panel.set_title(quantity.replace("_", " "))
            panel.set_xlabel("exponent")
        panels[0, 0].set_yticks(range(len(layers)), layers, fontsize=5)
        panels[0, 0].invert_yaxis()
        return figure


def _draw_fit(axes: Any, place: int, fit: Any) -> None:
    colour = {"passed": PALETTE[2], "undecided": PALETTE[4]}.get(fit.verdict, PALETTE[1])
    low, high = fit.predicted
    axes.barh(place, high - low + 0.2, left=low - 0.1, color="0.9", height=0.9)
    reach = np.abs(np.array(fit.interval) - fit.exponent)[:, None]
    reach = np.where(np.isfinite(reach), reach, 0.0)
    axes.errorbar([fit.exponent], [place], xerr=reach, fmt="o", ms=2, color=colour, lw=0.8)


def _verdict(numbers: dict[str, Any]) -> str:
    hidden = [
        (name, value)
        for name, value in numbers.items()
        if name.endswith("exponent in width") and not name.startswith("readout")
    ]
    name, worst = max(hidden, key=lambda pair: abs(pair[1]))
    flat = sum(abs(value) <= _FLAT for _, value in hidden)
    readout = [numbers[f"readout, step {step}: exponent in width"] for step in _STEPS]
    start = float(width_exponents(parametrization("mup"), "readout").activation or 0)
    return (
        f"{flat} of {len(hidden)} activations go as width^0 to {_FLAT:g}; farthest {name.split(':')[0]} "
        f"{worst:+.2f}; readout at steps 1 to 4: {', '.join(f'{value:+.2f}' for value in readout)} "
        f"({start:g} at the start); hidden activations do not depend on width: {score(numbers)}"
    )


def score(numbers: dict[str, Any]) -> str:
    """Figure 28's claim, from the intervals of all exponents before the readout."""
    return all_of(
        Within(_FLAT).judge(interval)
        for name, interval in numbers.items()
        if name.endswith("interval") and not name.startswith("readout")
    )
