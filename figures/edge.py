"""Figures of the approach to the edge of stability."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np

from ..simulations.edge import approach_edge
from ..theory import final_sharpness_mup, parametrization, uniform_target
from .curves import width_label
from .drawing import Drawing
from .style import COLUMN, PAGE, ordered_colours, paper_style

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .drawing import FigureSettings

_RATE = 0.97
"""Learning rate of the curves over time, over the edge."""

_SEEDS = {"laptop": 5, "paper": 20}

_SHARES = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 0.95, 0.99, 1.03, 1.08, 1.15)
"""Learning rates of the final sharpness, over the edge."""


def edge(settings: FigureSettings) -> Drawing:
    """Sharpness against `2/eta0`: over time at several widths under muP and NTP, and where it ends."""
    seeds = tuple(range(settings.seed, settings.seed + _SEEDS[settings.scale]))
    strong, weak = uniform_target(20, 5.0), uniform_target(3, 1.0)
    over_time, at_end = (32, 128, 512, 2048), (64, 1024, 16384, math.inf)
    figure, panels = plt.subplots(1, 3, figsize=(PAGE, 2.5))
    numbers: dict[str, Any] = {}
    for done, (panel, name) in enumerate(zip(panels, ("mup", "ntp"), strict=False), start=1):
        table = parametrization(name)
        run = approach_edge(
            table, strong, widths=over_time, relative_rates=(_RATE,), seeds=seeds, steps=400
        ).isel(learning_rate=0)
        draw_approach(panel, run["relative_sharpness"])
        panel.set_title(f"{table.title}, $\\eta_0 = {float(run['learning_rate']):.3g}$ at every width")
        numbers |= _numbers(run, table.title)
        settings.on_progress(done, 3)
    final = approach_edge(
        parametrization("mup"), weak, widths=at_end, relative_rates=_SHARES, seeds=seeds, steps=1500
    )
    draw_final(panels[2], final, flow_share=final_sharpness_mup(3, 1.0) * math.sqrt(3) / 2)
    panels[2].set_title("μP: where it ends, $D = 3$, $|w_*| = 1$")
    settings.on_progress(3, 3)
    panels[0].set_ylabel("sharpness $\\times\\ \\eta_0/2$")
    for panel in panels[:2]:
        panel.set_ylim(0, 1.35)
    panels[0].legend(loc="lower right")
    numbers |= _end_numbers(final)
    configuration = {
        "over time": {"dimension": 20, "target_norm": 5.0, "widths": over_time, "relative_rate": _RATE},
        "at the end": {"dimension": 3, "target_norm": 1.0, "widths": at_end, "relative_rates": _SHARES},
        "seeds": seeds,
    }
    return Drawing(figure, _verdict(numbers, over_time), numbers, configuration)


def edge_figure(runs: xr.Dataset) -> Figure:
    """A panel a learning rate; `runs` as `simulations.edge.approach_edge` gives them."""
    with paper_style():
        rates = runs.sizes["learning_rate"]
        columns = min(rates, 3)
        rows = -(-rates // columns)
        size = (max(COLUMN, 2.3 * columns), 2.2 * rows)
        figure, panels = plt.subplots(rows, columns, figsize=size, squeeze=False, sharex=True, sharey=True)
        for index, panel in enumerate(panels.flat):
            if index >= rates:
                panel.set_axis_off()
                continue
            one = runs.isel(learning_rate=index)
            draw_approach(panel, one["relative_sharpness"])
            panel.set_title(f"$\\eta_0$ over the edge = {float(one['relative_rate']):g}")
        for row in panels:
            row[0].set_ylabel("sharpness $\\times\\ \\eta_0/2$")
        panels[0, 0].set_ylim(0, None)
        panels[0, 0].legend(loc="upper right")
        return figure


def draw_approach(axes: Axes, relative: xr.DataArray) -> Axes:
    """Sharpness over `2/eta0` against steps: a curve a width, its mean over seeds and their range.

    Parameters
    ----------
    axes
        Drawn into and returned.
    relative
        Dimensions (width, seed, step).
    """
    steps = relative["step"].to_numpy()
    colours = ordered_colours(relative.sizes["width"])
    for colour, width in zip(colours, relative["width"].to_numpy(), strict=True):
        runs = relative.sel(width=width).transpose("seed", "step").to_numpy()
        axes.plot(steps, runs.mean(axis=0), color=colour, label=width_label(width))
        axes.fill_between(steps, runs.min(axis=0), runs.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    axes.axhline(1.0, color="0.35", lw=0.8, ls="--")
    axes.set_xscale("symlog", linthresh=10, linscale=1.6)
    axes.set_xlim(0, steps[-1])
    axes.set_xticks([0, 2, 4, 6, 8, 10, 100], ["0", "2", "4", "6", "8", "10", "100"])
    axes.minorticks_off()
    axes.set_xlabel("step")
    return axes


def draw_final(axes: Axes, runs: xr.Dataset, *, flow_share: float) -> Axes:
    """Final sharpness over `2/eta0` against `eta0` over the edge, between the flow's and the least possible.

    Parameters
    ----------
    axes
        Drawn into and returned.
    runs
        As `simulations.edge.approach_edge` gives them; markers are hollow where not every run converged.
    flow_share
        The flow's final sharpness over that of the flattest minimizer, `2 kappa |w*|`.
    """
    shares = runs["relative_rate"].to_numpy()
    final = runs["final_relative_sharpness"].mean("seed")
    converged = runs["converged"].all("seed")
    reach = np.array([0.0, 1.03 * shares.max()])
    axes.plot(reach, flow_share * reach, color="0.35", lw=0.9, ls=":", label="gradient flow")
    axes.plot(reach, reach, color="0.35", lw=0.7, label="flattest minimizer")
    axes.axhline(1.0, color="0.35", lw=0.8, ls="--")
    axes.axvline(1.0, color="0.85", lw=0.8, zorder=0)
    colours = ordered_colours(runs.sizes["width"])
    for index, (colour, width) in enumerate(zip(colours, runs["width"].to_numpy(), strict=True)):
        values, full = final.sel(width=width).to_numpy(), converged.sel(width=width).to_numpy()
        size = 2.5 + 2.5 * (1 - index / len(colours))  # widths that agree are drawn inside each other
        style: dict[str, Any] = {"color": colour, "ls": "", "marker": "o", "ms": size, "mew": 0.7}
        axes.plot(shares[full], values[full], label=width_label(width), **style)
        axes.plot(shares[~full], values[~full], mfc="none", **style)
    axes.plot([], [], color="0.35", ls="", marker="o", ms=3.2, mew=0.7, mfc="none", label="not converged")
    axes.set(xlim=(0, reach[1]), ylim=(0, None))
    lines, words = axes.get_legend_handles_labels()
    axes.add_artist(axes.legend(lines[:2], words[:2], loc="upper left"))
    axes.legend(lines[2:], words[2:], loc="lower right")
    axes.set_xlabel("$\\eta_0$ over the edge $\\sqrt{D}/|w_*|$")
    axes.set_ylabel("final sharpness $\\times\\ \\eta_0/2$")
    return axes


def _numbers(run: xr.Dataset, title: str) -> dict[str, Any]:
    """By width: where the sharpness ends, the share of networks that reach 0.9, and their median step."""
    numbers: dict[str, Any] = {}
    for width in run["width"].to_numpy():
        one = run.sel(width=width)
        steps = one["reached_step"].to_numpy()
        reached = steps[steps >= 0]
        numbers[f"{title}, N = {width:g}"] = {
            "final sharpness times eta0/2": float(one["final_relative_sharpness"].mean()),
            "share of networks that reach 0.9 of 2/eta0": reached.size / steps.size,
            "median step at which they do": float(np.median(reached)) if reached.size else None,
        }
    return numbers


def _end_numbers(final: xr.Dataset) -> dict[str, Any]:
    below = final.isel(learning_rate=final["relative_rate"].to_numpy() < 1)
    last = below["final_relative_sharpness"].isel(learning_rate=-1)
    return {
        "muP: eta0 over the edge, the largest below 1": float(below["relative_rate"][-1]),
        "muP: final sharpness times eta0/2 there, least and most": [float(last.min()), float(last.max())],
        "muP: largest final sharpness times eta0/2 of a converged run": float(
            final["final_relative_sharpness"].where(final["converged"]).max()
        ),
    }


def _verdict(numbers: dict[str, Any], widths: Sequence[int]) -> str:
    ends = {
        title: [numbers[f"{title}, N = {width}"] for width in (widths[0], widths[-1])]
        for title in ("μP", "NTP")
    }
    least, most = numbers["muP: final sharpness times eta0/2 there, least and most"]
    return (
        f"at {_RATE:g} of the narrowest network's edge, from N = {widths[0]} to N = {widths[-1]}: under μP "
        f"the sharpness ends at {_from_to(ends['μP'])} of 2/eta0 and "
        f"0.9 is reached by {_reaching(ends['μP'])}; under NTP it ends at {_from_to(ends['NTP'])} and "
        f"0.9 is reached by {_reaching(ends['NTP'])}; under μP at "
        f"{numbers['muP: eta0 over the edge, the largest below 1']:g} of the edge every run ends between "
        f"{least:.3f} and {most:.3f} of 2/eta0"
    )


def _from_to(ends: Sequence[dict[str, Any]]) -> str:
    first, last = (end["final sharpness times eta0/2"] for end in ends)
    return f"{first:.2f} to {last:.2f}"


def _reaching(ends: Sequence[dict[str, Any]]) -> str:
    words = []
    for end in ends:
        share, step = end["share of networks that reach 0.9 of 2/eta0"], end["median step at which they do"]
        words.append("none" if step is None else f"{share:.0%} at step {step:g}")
    return " and ".join(words)
