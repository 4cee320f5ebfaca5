"""Several quantities of one arm as one dataset, for panels and tables that show them against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr

    from .series import Series


def joined_runs(
    series: Sequence[Series], runs: Mapping[str, xr.Dataset], *, keep: tuple[str, ...]
) -> xr.Dataset:
    """The quantities of several series of one arm, at the same places, in memory; see `Series.runs`."""
    found = [one.runs(runs, keep=keep) for one in series]
    return (
        found[0]
        .assign({one.quantity: part[one.quantity] for one, part in zip(series, found, strict=True)})
        .compute()
    )
