"""What figures of trained networks share: data, progress over several grids, provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..neural import Checkpoint, Grid, load_images, resolve_device, train_grid
from ..records import RecordKeeper, load_record
from ..records.store import run_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import xarray as xr

    from ..neural import Dataset, TrainingConfig
    from .drawing import FigureSettings


class Workshop:
    """Trains the grids of one figure, one after the other, on the same data.

    Parameters
    ----------
    settings
        Data, device, seed and who is told of progress.
    parts
        Weights of the grids in the progress, in their order.
    """

    def __init__(self, settings: FigureSettings, parts: Sequence[float]) -> None:
        self.settings = settings
        self.data: Dataset = load_images(settings.data_dir, download=settings.download).to(
            resolve_device(settings.device)
        )
        self._parts = list(parts)
        self._finished, self._total = 0.0, float(sum(parts))

    def train(
        self,
        config: TrainingConfig,
        widths: Sequence[int],
        learning_rates: Sequence[float],
        seeds: int,
    ) -> xr.Dataset:
        """The record of a grid with consecutive seeds."""
        part = self._parts.pop(0)
        first = self.settings.seed
        grid = Grid(config, tuple(widths), tuple(learning_rates), tuple(range(first, first + seeds)))

        def report(done: float, whole: float) -> None:
            self.settings.on_progress(self._finished + part * done / whole, self._total)

        record = self._trained(grid, report)
        self._finished += part
        return record

    def _trained(self, grid: Grid, report: Callable[[float, float], None]) -> xr.Dataset:
        """The grid's record; with a folder to keep runs in, those that an earlier call did are taken over."""
        folder = self.settings.keep
        if folder is None:
            return train_grid(grid, self.data, on_progress=report)
        output = folder / f"{run_key(grid.empty(self.data))}.nc"
        if output.exists():
            return load_record(output)
        keeper = RecordKeeper(output)
        record = train_grid(
            grid,
            self.data,
            on_progress=report,
            on_measurement=keeper.keep_partial,
            resume=keeper.earlier(),
            checkpoint=Checkpoint(output.with_suffix(".checkpoint")),
        )
        keeper.keep_whole(record)
        return record

    def provenance(self, **recipe: Any) -> dict[str, Any]:
        """What produced the figure."""
        settings = self.settings
        return {
            "data": self.data.name,
            "data_hash": self.data.hash,
            "examples": self.data.examples,
            "seed": settings.seed,
            "scale": settings.scale,
            **recipe,
        }
