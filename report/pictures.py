"""A group of results as a picture: final loss against learning rate, and the sharpness at the best one."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np

from ..figures import draw_curves, draw_edge, draw_transfer, paper_style
from ..stats.windows import final_steps, settled

if TYPE_CHECKING:
    import xarray as xr


def plain_descent(group: xr.Dataset) -> bool:
    """Whether the edge of stability is at 2/eta0: of SGD without momentum, and of the latent system."""
    optimizer = str(group["optimizer"].item()) if "optimizer" in group.coords else "sgd"
    return optimizer == "sgd" and "momentum" not in str(group.attrs.get("configuration", ""))


def draw_group(group: xr.Dataset, over: str = "width") -> str | None:
    """The picture as the address of itself; None where there is nothing to draw.

    Parameters
    ----------
    group
        Runs that differ in one size, learning rate and seed only.
    over
        `width` or `depth`.
    """
    measured = "loss" in group and bool(final_steps(group))
    final = settled(group["loss"]).mean("seed", skipna=False) if measured else None
    if final is None or not np.isfinite(final).any():
        return None
    with paper_style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(6.9, 2.4))
        draw_transfer(left, final.transpose(over, "learning_rate")).set_ylabel("final loss")
        left.set_yscale("log")
        best = float(final.mean(over).idxmin("learning_rate", skipna=True, fill_value=np.nan))
        rate = best if np.isfinite(best) else float(final["learning_rate"][0])
        name = "sharpness" if "sharpness" in group else "loss"
        values = group[name].sel(learning_rate=[rate])
        draw_curves(right, values.transpose(over, "learning_rate", "seed", "step"), band=True)
        right.set_ylabel(name)
        right.set_title(f"$\\eta_0 = {rate:g}$")
        if name == "sharpness" and plain_descent(group):
            draw_edge(right, rate)
        left.legend()
        kept = io.BytesIO()
        figure.savefig(kept, format="png", metadata={"Software": None})
        plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(kept.getvalue()).decode()
