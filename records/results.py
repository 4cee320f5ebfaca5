"""Results as one `xarray.Dataset`: a record's file, or a sweep's folder, read as its values are used."""

from __future__ import annotations

import importlib.util
import shutil
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr

from ..errors import invalid, require_known
from .schema import NEVER
from .storage import check_version, load_record, require_writable, save_record, write_atomically
from .store import RunStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .store import Manifest

_CHUNK = 64
"""Runs, at most, that are read together."""


def open_results(path: Path | str) -> xr.Dataset:
    """Results as one dataset: of a sweep's folder, partial or whole, or of a record.

    Parameters
    ----------
    path
        A sweep's folder, a NetCDF file, or a Zarr folder.

    Returns
    -------
    xarray.Dataset
        Dimensions are the sweep's axes and `step`; values are read when they are used. Runs that are not
        complete are NaN, their `completed` is 0. `attrs` say what produced it.

    Raises
    ------
    InputError
        If there are no results at the path, or they are of a later version; when values are used, if a run's
        file is damaged.
    """
    place = Path(path)
    if place.suffix == ".zarr":
        return _open_zarr(place)
    if place.is_dir():
        store = RunStore(place.resolve())
        manifest = store.manifest()
        try:
            return _lazy(store, manifest)
        except (ValueError, TypeError, KeyError, MemoryError) as error:
            reason = " ".join(str(error).split())[:100]
            raise invalid(
                "sweep folder",
                str(place),
                accepted=f"one whose sweep.json is whole ({reason})",
                remedy="sweep again",
            ) from error
    return load_record(place)


def _open_zarr(place: Path) -> xr.Dataset:
    _require_packages("zarr")
    try:
        found = xr.open_zarr(place)
    except Exception as error:  # a damaged store can raise anything
        reason = " ".join(str(error).split())[:100]
        raise invalid(
            "results", str(place), accepted=f"a Zarr folder ({reason})", remedy="export the results again"
        ) from error
    check_version(found, place)
    results: xr.Dataset = found
    return results


def _lazy(store: RunStore, manifest: Manifest) -> xr.Dataset:
    """A sweep's dataset, of which only the manifest has been read, and which files there are."""
    _run.cache_clear()  # a file may have been replaced since
    shape = tuple(len(values) for values in manifest.axes.values())
    there = store.complete(manifest.keys.values())
    keys = np.full(shape, "", dtype="U64")
    completed = np.zeros(shape, dtype=np.int8)
    for place, key in manifest.keys.items():
        if key in there:
            keys[place] = key
            completed[place] = 1
    axes = list(manifest.axes)
    lazy = da.from_array(keys, chunks=_chunks(shape))
    variables: dict[str, Any] = {}
    for name, about in manifest.variables.items():
        if name not in {*axes, "step", "completed"}:
            stepped = "step" in about["dims"]
            length = len(manifest.steps) if stepped else None
            values = _values(lazy, str(store.folder), name, np.dtype(about["dtype"]), length)
            variables[name] = ([*axes, "step"] if stepped else axes, values, about["attrs"])
    variables["completed"] = (axes, completed, manifest.variables["completed"]["attrs"])
    coordinates = {
        name: (name, np.asarray(values), manifest.variables.get(name, {}).get("attrs", {}))
        for name, values in {**manifest.axes, "step": manifest.steps}.items()
    }
    return xr.Dataset(variables, coordinates, manifest.attrs)


def _chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Runs read together: along the last axes as far as there is room."""
    room, sizes = _CHUNK, []
    for size in reversed(shape):
        sizes.append(min(size, room))
        room = max(1, room // size)
    return tuple(reversed(sizes))


def _values(keys: da.Array, folder: str, name: str, dtype: np.dtype[Any], length: int | None) -> da.Array:
    """A variable of all runs, read chunk by chunk."""
    further = {} if length is None else {"new_axis": keys.ndim, "chunks": (*keys.chunks, (length,))}
    values: da.Array = da.map_blocks(
        _read_block,
        keys,
        folder=folder,
        variable=name,
        length=length,
        kind=dtype,
        dtype=dtype,
        meta=np.empty(0, dtype),
        **further,
    )
    return values


def _read_block(
    keys: NDArray[np.str_], *, folder: str, variable: str, length: int | None, kind: np.dtype[Any]
) -> NDArray[Any]:
    """Values of one variable of some runs; NaN, or `NEVER`, of those that are not complete."""
    empty = np.nan if kind.kind == "f" else NEVER
    out = np.full(keys.shape + (() if length is None else (length,)), empty, dtype=kind)
    for place in np.ndindex(keys.shape):
        if keys[place]:
            values = _run(folder, str(keys[place]))
            if variable not in values or values[variable].size != out[place].size:
                raise invalid(
                    "run",
                    str(keys[place]),
                    accepted=f"one with {variable} at every step",
                    remedy="sweep again",
                )
            out[place] = values[variable].reshape(out[place].shape)
    return out


@lru_cache(maxsize=4 * _CHUNK)
def _run(folder: str, key: str) -> dict[str, NDArray[Any]]:
    """A run's variables, kept while its other variables are asked for; the name says what it holds."""
    return RunStore(Path(folder)).load(key)


def whole_sizes(group: xr.Dataset, over: str = "width") -> xr.Dataset:
    """The widths, or depths, of which every run is complete, at the learning rates that some run has.

    A run that is missing has not diverged: to judge without it would take it for one.

    Parameters
    ----------
    group
        Dimensions (width or depth, learning_rate, seed, step).
    over
        `width` or `depth`.
    """
    done = group["completed"] == 1
    tried = done.any((over, "seed"))
    kept = group.isel(learning_rate=tried.to_numpy())
    whole = (kept["completed"] == 1).all(("learning_rate", "seed"))
    return kept.isel({over: whole.to_numpy()})


def export_results(results: xr.Dataset, path: Path) -> None:
    """Write results to one file, by its suffix: .nc, .zarr, or long tables .csv and .parquet.

    Tables have a row for each complete run and step.

    Raises
    ------
    InputError
        If the suffix is another one, a package that it needs is not installed, or nothing can be written
        there.
    """
    require_known("type of the export", path.suffix, tuple(_WRITERS))
    _WRITERS[path.suffix](results, path)


def check_export(path: Path) -> None:
    """`InputError`, before any work, if such an export would not be possible."""
    require_known("type of the export", path.suffix, tuple(_WRITERS))
    _require_packages(*_NEEDED.get(path.suffix, ()))
    if path.suffix == ".zarr":
        _check_zarr(path)
    else:
        require_writable(path)


def _check_zarr(path: Path) -> None:
    """`InputError` if something else than a Zarr folder would be replaced, or there is no writing."""
    if path.exists() and not any((path / name).is_file() for name in (".zgroup", "zarr.json")):
        raise invalid("export", str(path), accepted="a new path, or a Zarr folder", remedy="pass another one")
    require_writable(path / ".zgroup")


def _to_zarr(results: xr.Dataset, path: Path) -> None:
    _require_packages("zarr")
    _check_zarr(path)
    beside, before = (path.with_name(f".{path.name}.{word}") for word in ("part", "before"))
    for rest in (beside, before):
        shutil.rmtree(rest, ignore_errors=True)
    results.to_zarr(beside, mode="w", consolidated=True, zarr_format=2)
    if path.exists():
        path.rename(before)
    beside.rename(path)
    shutil.rmtree(before, ignore_errors=True)


def _to_csv(results: xr.Dataset, path: Path) -> None:
    frame = _table(results)
    write_atomically(path, lambda place: frame.to_csv(place, index=False))


def _to_parquet(results: xr.Dataset, path: Path) -> None:
    _require_packages("pyarrow")
    frame = _table(results)
    frame.attrs = {str(name): str(value) for name, value in results.attrs.items()}
    write_atomically(path, lambda place: frame.to_parquet(place, index=False))


def _table(results: xr.Dataset) -> Any:
    """A row for each complete run and step."""
    frame = results.compute().to_dataframe().reset_index()
    return frame[frame["completed"] == 1].drop(columns="completed")


def _to_netcdf(results: xr.Dataset, path: Path) -> None:
    save_record(results.compute(), path)


_WRITERS: dict[str, Callable[[xr.Dataset, Path], None]] = {
    ".nc": _to_netcdf,
    ".zarr": _to_zarr,
    ".csv": _to_csv,
    ".parquet": _to_parquet,
}
_NEEDED = {".zarr": ("zarr",), ".parquet": ("pyarrow",)}


def _require_packages(*names: str) -> None:
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise invalid(
                "package", name, accepted="an installed one", remedy="pip install 'superconsistency[export]'"
            )
