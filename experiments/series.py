"""References to measured data, which can be checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import invalid, require_known
from ..stats.coverage import covered
from ..stats.dependence import largest_change
from ..stats.onset import is_chaotic
from ..stats.resolution import difference_floor, resolved
from .edge_quantities import above_flattest, below_flow, loss_left_below_edge, loss_left_beyond_edge

if TYPE_CHECKING:
    import xarray as xr

RUN_VARIABLES = ("diverged_step", "completed", "edge_of_stability")
"""What every run has beside its quantities."""


class Place(Enum):
    """A position on an axis, whatever the axis's values."""

    FIRST = 0
    LAST = -1


FIRST, LAST = Place.FIRST, Place.LAST


class Derived(NamedTuple):
    """A quantity computed from recorded ones."""

    needs: tuple[str, ...]
    of: Callable[[xr.Dataset], xr.DataArray]


def _over_edge(runs: xr.Dataset) -> xr.DataArray:
    return runs["sharpness"] / runs["edge_of_stability"]


def _over_edge_wider(runs: xr.Dataset) -> xr.DataArray:
    """At every width but the narrowest."""
    return _over_edge(runs).isel(width=slice(1, None))


def _distance(name: str, *, proxy: bool = False) -> Derived:
    """`g(t) = |S_N(t) - S_inf(t)|`, the mean at the largest width standing for the limit (Eq. 3).

    A distance below the rounding of the limit is zero. For a proxy an infinite width is left aside.
    """

    def of(runs: xr.Dataset) -> xr.DataArray:
        values = runs[name]
        if proxy:
            values = values.isel(width=np.isfinite(values["width"].to_numpy()))
        limit = values.isel(width=-1, drop=True).mean("seed", skipna=False)
        return resolved(abs(values.isel(width=slice(None, -1)) - limit), difference_floor(limit))

    return Derived((name,), of)


def _inside_the_grid(runs: xr.Dataset) -> xr.DataArray:
    """Best learning rates; NaN where the lowest loss was at an end of the rates that were tried."""
    return runs["best_rate"].where(runs["at_edge"] == 0)


def _over_least(runs: xr.Dataset) -> xr.DataArray:
    """Sharpness over the least one so far: 1 where it has never risen."""
    values = runs["sharpness"].transpose(..., "step")
    return values / np.minimum.accumulate(values.to_numpy(), axis=-1)


def _rise(runs: xr.Dataset) -> xr.DataArray:
    values = runs["gauss_newton"]
    return values / values.isel(step=0)


def _covered(runs: xr.Dataset) -> xr.DataArray:
    """Without the alignment where the loss is there too: to first order they deviate by the same factor."""
    found = covered(runs)
    names = found["quantity"].to_numpy()
    return found.isel(quantity=(names != "alignment") | ("loss" not in names))


def _from_limit(runs: xr.Dataset) -> xr.DataArray:
    """Distance of finite networks from the limit in the plane of kappa a and p, `kappa^2 = 1/D`."""
    parts = [runs[name] - runs[name].isel(width=-1, drop=True) for name in ("alignment", "second_layer")]
    square = parts[0] ** 2 / runs["dimension"] + parts[1] ** 2
    return (square**0.5).isel(width=slice(None, -1))


DERIVED: Mapping[str, Derived] = {
    "sharpness_over_edge": Derived(("sharpness",), _over_edge),
    "sharpness_over_edge_wider": Derived(("sharpness",), _over_edge_wider),
    "distance_of_sharpness": _distance("sharpness"),
    "distance_of_loss": _distance("loss"),
    "distance_of_kernel": _distance("ntk_sharpness"),
    "proxy_distance_of_sharpness": _distance("sharpness", proxy=True),
    "proxy_distance_of_loss": _distance("loss", proxy=True),
    "proxy_distance_of_kernel": _distance("ntk_sharpness", proxy=True),
    "change_of_sharpness": Derived(("sharpness",), lambda runs: largest_change(runs["sharpness"])),
    "best_rate_inside": Derived(("best_rate", "at_edge"), _inside_the_grid),
    "sharpening": Derived(("sharpness",), _over_least),
    "above_flattest": Derived(("sharpness",), above_flattest),
    "below_flow": Derived(("sharpness",), below_flow),
    "loss_left_below_edge": Derived(("loss",), loss_left_below_edge),
    "loss_left_beyond_edge": Derived(("loss",), loss_left_beyond_edge),
    "gauss_newton_rise": Derived(("gauss_newton",), _rise),
    "gauss_newton_rise_beyond_one": Derived(("gauss_newton",), lambda runs: _rise(runs) - 1),
    "distance_from_limit": Derived(("alignment", "second_layer"), _from_limit),
    "chaotic": Derived(("lyapunov", "lyapunov_error"), is_chaotic),
    "covered": Derived(("predicted", "sampled", "lower", "upper", "holds"), _covered),
}
"""Quantities that are computed from recorded ones, by name."""


def recorded(quantity: str) -> tuple[str, ...]:
    """The recorded variables that a quantity is made of."""
    return DERIVED[quantity].needs if quantity in DERIVED else (quantity,)


@dataclass(frozen=True)
class Series:
    """A quantity of an arm's runs, at some places on its axes.

    Attributes
    ----------
    arm
        Name of the arm.
    quantity
        A variable of the record, or a name of `DERIVED`.
    at
        By axis: a value, `FIRST` or `LAST`.
    """

    arm: str
    quantity: str
    at: Mapping[str, Any] = field(default_factory=dict)

    def pick(self, quantity: str = "", **at: Any) -> Series:
        """The same with another quantity, or at further places."""
        return Series(self.arm, quantity or self.quantity, {**self.at, **at})

    @property
    def words(self) -> str:
        """The arm, and the places, in words."""
        places = ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in self.at.items())
        return f"{self.arm} ({places})" if places else self.arm

    def runs(self, datasets: Mapping[str, xr.Dataset], *, keep: tuple[str, ...]) -> xr.Dataset:
        """The runs at the places: the quantity under its name, and `RUN_VARIABLES`.

        Parameters
        ----------
        datasets
            By arm, as `running.run` and `running.empty` give them.
        keep
            Axes that stay; each other one has to have one value, or a place.

        Raises
        ------
        InputError
            If an axis, a value or the quantity is not there, or an axis is left over.
        """
        require_known("arm", self.arm, tuple(datasets))
        found = datasets[self.arm]
        for name, value in self.at.items():
            found = _picked(found, name, value, self.arm)
        for name in recorded(self.quantity):
            require_known(f"quantity of {self.arm}", name, tuple(map(str, found.data_vars)))
        found = _needed(found, recorded(self.quantity))
        left = {str(name): size for name, size in found.sizes.items() if name not in {*keep, "step"}}
        for name, size in left.items():
            if size > 1:
                raise invalid(
                    f"axis of {self.arm}", name, accepted=f"places on every axis but {', '.join(keep)}",
                    remedy=f"pick one of its {size} values, or score each",
                )  # fmt: skip
        found = found.isel(dict.fromkeys(left, 0))
        if self.quantity in DERIVED:
            values = DERIVED[self.quantity].of(found)
            found = found.sel({name: values[name] for name in values.dims})  # a distance leaves the limit out
            found = found.assign({self.quantity: values})
        return found[[self.quantity, *(name for name in RUN_VARIABLES if name in found)]]


def _needed(found: xr.Dataset, names: tuple[str, ...]) -> xr.Dataset:
    """The named variables, and what every run has beside them on the same axes."""
    axes = {*found["completed"].dims, *(axis for name in names for axis in found[name].dims)}
    beside = [name for name in RUN_VARIABLES if name in found and {*found[name].dims} <= axes]
    return found[[*dict.fromkeys([*names, *beside])]]


def _picked(found: xr.Dataset, name: str, value: Any, arm: str) -> xr.Dataset:
    require_known(f"axis of {arm}", name, tuple(map(str, found.dims)))
    if isinstance(value, Place):
        return found.isel({name: value.value})
    labels = found[name].to_numpy().tolist()
    if value not in labels:
        raise invalid(
            f"{name} of {arm}", value, accepted=", ".join(map(str, labels)), remedy="choose one of these"
        )
    return found.isel({name: labels.index(value)})


def _shown(value: Any) -> str:
    if isinstance(value, Place):
        return value.name.lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
