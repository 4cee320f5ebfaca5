"""What runs say, as tables and sentences, for the terminal and for documents."""

from __future__ import annotations

import json
import math
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ..records.tables import Table
from ..stats.dependence import training_sentences
from ..stats.resolution import rounding_floor
from ..stats.slopes import SizeDependence, size_dependence
from ..stats.windows import final_steps, settled

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

    from ..neural.coordinates import CoordinateReport

    Parts = list[Table | str]

_ROWS = 9
"""Steps that a table of curves shows."""

_NEGLIGIBLE = 1e-10
"""Relative error of a reduction that needs no advice."""


def curve_parts(record: xr.Dataset, quantities: Sequence[str]) -> Parts:
    """Quantities against steps for every width and learning rate, and how the final ones depend on width."""
    axes = further_axes(record)
    parts: Parts = []
    for place in np.ndindex(*(record.sizes[axis] for axis in axes)):
        part = record.isel(dict(zip(axes, place, strict=True)))
        label = ", ".join(f"{axis.replace('_', ' ')} {part[axis].item()}" for axis in axes)
        for name, rate in product(quantities, part["learning_rate"].to_numpy()):
            run, seeds = part.sel(learning_rate=rate), part.sizes["seed"]
            words = f"{name} at eta0 = {rate:g}, mean over {seeds} seed{'s' if seeds > 1 else ''}"
            parts.append(f"{label}: {words}" if axes else words)
            parts.append(curve_table(run, name))
            parts.append(dependence_sentence(run, name) + "\n")
    diverged = record["diverged_step"].to_numpy()
    if (diverged >= 0).any():
        first = int(diverged[diverged >= 0].min())
        count = int((diverged >= 0).sum())
        parts.append(f"{count} of {diverged.size} runs diverged, the first at step {first}")
    return parts


def further_axes(results: xr.Dataset) -> list[str]:
    """Dimensions beside those of every record."""
    return [str(name) for name in results.dims if name not in {"width", "learning_rate", "seed", "step"}]


def curve_table(run: xr.Dataset, name: str) -> Table:
    """A quantity's mean over seeds at some steps, a column a width, at one learning rate."""
    widths = run["width"].to_numpy()
    columns = ("step", *("N = inf" if math.isinf(width) else f"N = {width:g}" for width in widths))
    shown = np.unique(np.linspace(0, run.sizes["step"] - 1, _ROWS).round().astype(int))
    means = run[name].mean("seed", skipna=False).transpose("step", "width").to_numpy()
    rows = tuple(
        (int(run["step"][index]), *("diverged" if math.isnan(one) else f"{one:.4g}" for one in means[index]))
        for index in shown
    )
    return Table("", columns, rows)


def final_dependence(run: xr.Dataset, name: str) -> SizeDependence | None:
    """Width dependence of a final quantity at one learning rate; None with fewer than two widths or steps."""
    if np.isfinite(run["width"].to_numpy()).sum() < 2 or not final_steps(run):
        return None
    return size_dependence(settled(run[name]), floor=rounding_floor(run[name]))


def dependence_sentence(run: xr.Dataset, name: str) -> str:
    """The width dependence of a final quantity in words."""
    found = final_dependence(run, name)
    if found is None or math.isnan(found.slope):
        reason = "it takes two finite widths and a later step" if found is None else found.without
        return f"no statement on how {name} depends on width: {reason}"
    low, high = found.interval
    reach = f" (95% {low:.3f} to {high:.3f})" if math.isfinite(low) else " (too few runs for an interval)"
    without = f"; {found.without}" if found.left_out else ""
    means = ", ".join(f"{mean:.4g}" for mean in found.means)
    spread = f"{100 * found.spread:.1f}%" if found.spread < 10 else f"{found.spread + 1:.3g}-fold"
    return (
        f"final {name} ({_final_words(run)}) by width: {means}; spread {spread}; "
        f"log-log slope on width {found.slope:.3f}{reach}{without}"
    )


def _final_words(run: xr.Dataset) -> str:
    """Which measurements the final value is the mean of."""
    count = len(final_steps(run))
    return "the last measurement" if count == 1 else f"mean of the last {count} measurements"


def method_sentences(record: xr.Dataset) -> list[str]:
    """Which method ran which widths, why, and what it left out."""
    methods = json.loads(record.attrs["configuration"])["method"]
    found = []
    for method, reason in sorted({(chosen["method"], chosen["reason"]) for chosen in methods.values()}):
        widths = [float(width) for width, chosen in methods.items() if chosen["reason"] == reason]
        found.append(f"method at N = {', '.join(f'{width:g}' for width in widths)}: {method} ({reason})")
    error = float(record["truncation_error"].max())
    if error > 0:
        advice = "; where that matters pass --method full" if error > _NEGLIGIBLE else ""
        words = "estimated relative error of the reduction to few coordinates: at most"
        found.append(f"{words} {error:.1e}{advice}")
    return found


def width_sentences(record: xr.Dataset, seed: int) -> list[str]:
    """Whether sharpness and its change depend on width, where the record has what it takes to say so."""
    finite = np.isfinite(record["width"].to_numpy()).sum()
    enough = finite > 1 and record.sizes["step"] > 1 and record.sizes["seed"] > 1
    if "sharpness" not in record or not enough:
        return []
    return training_sentences(record, np.random.default_rng(seed))


def best_table(results: xr.Dataset) -> Table:
    """For every group of runs and width the best learning rate, and loss and sharpness there."""
    axes = further_axes(results)
    shown = [name for name in ("loss", "sharpness") if name in results]
    headings = (*axes, "width", "learning rate", *shown, "complete", "diverged")
    rows = []
    for place in np.ndindex(*(results.sizes[name] for name in axes)):
        group = results.isel(dict(zip(axes, place, strict=True))).load()
        names = [str(group[name].item()) for name in axes]
        for width in group["width"].to_numpy():
            runs = group.sel(width=width)
            if (runs["completed"] == 1).any():
                rows.append((*names, f"{width:g}", *_best(runs, shown)))
    columns = tuple(heading.replace("_", " ") for heading in headings)
    return Table("at the learning rate of least mean final loss", columns, tuple(rows))


def _best(runs: xr.Dataset, shown: Sequence[str]) -> list[str]:
    """Cells of one width: the best learning rate and what there is at it."""
    done, diverged = int((runs["completed"] == 1).sum()), int((runs["diverged_step"] >= 0).sum())
    whole = (runs["completed"] == 1).all("seed")
    final = {name: settled(runs[name]).mean("seed", skipna=False).where(whole) for name in shown}
    counts = [f"{done} of {runs['completed'].size}", str(diverged)]
    if "loss" not in final or not np.isfinite(final["loss"]).any():
        return ["none"] + ["-"] * len(shown) + counts
    best = final["loss"].idxmin("learning_rate").item()
    chosen = (float(values.sel(learning_rate=best)) for values in final.values())
    return [f"{best:g}", *(f"{value:.4g}" for value in chosen), *counts]


def exponent_table(report: CoordinateReport) -> Table:
    """Fitted and predicted exponents of every layer in a coordinate check."""
    rows = tuple(
        (
            fit.layer,
            fit.quantity.replace("_", " "),
            f"{fit.exponent:.3f}",
            f"{fit.interval[0]:.3f} to {fit.interval[1]:.3f}",
            f"{low:g}" if low == high else f"{low:g} to {high:g}",
            fit.verdict,
        )
        for fit in report.fits
        for low, high in [fit.predicted]
    )
    columns = ("layer", "quantity", "fitted", "95% interval", "predicted", "verdict")
    return Table(f"exponents in {report.record.attrs['size']}", columns, rows)
