"""Results as one `xarray.Dataset`: a record's file, or a sweep's folder, read as its values are used."""

from __future__ import annotations

import importlib.util
import shutil
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dask.array as da
import numpy as np
import xarray as xr

from ..errors import as_path, in_words, invalid, require_known
from .manifest import MOST_TOGETHER, Manifest, read_manifest
from .schema import NEVER
from .storage import (
    check_version,
    load_record,
    require_record,
    require_writable,
    save_record,
    write_atomically,
)
from .store import RunStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ..errors import PathText

_CHUNK = 64
"""Runs, at most, that are read together."""


def open_results(path: PathText) -> xr.Dataset:
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
    place = as_path("results", path)
    if place.suffix == ".zarr":
        return _open_zarr(place)
    if place.is_dir():
        folder = place.resolve()
        manifest = read_manifest(folder)
        try:
            return _lazy(RunStore(folder), manifest)
        except (ValueError, TypeError, KeyError, MemoryError) as error:
            raise invalid(
                "sweep folder",
                str(place),
                accepted=f"one whose sweep.json is whole ({in_words(error, 100)})",
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


def planned_results(manifest: Manifest) -> xr.Dataset:
    """The dataset of a sweep of which nothing has run: all values NaN, no run completed."""
    return _dataset("", manifest, set())


def _lazy(store: RunStore, manifest: Manifest) -> xr.Dataset:
    """A sweep's dataset, of which only the manifest has been read, and which files there are."""
    _group.cache_clear()  # a file may have been replaced since
    return _dataset(str(store.folder), manifest, store.complete(manifest.groups))


def _dataset(folder: str, manifest: Manifest, there: set[str]) -> xr.Dataset:
    """The dataset of a manifest, with the values of the groups whose keys are given."""
    shape = tuple(len(values) for values in manifest.axes.values())
    # A run's code is its group's index times the most runs of a group, plus its index within; -1: incomplete.
    codes = np.full(shape, -1, dtype=np.int64)
    for place, (group, within) in manifest.runs.items():
        if manifest.groups[group][1] in there:
            codes[place] = group * MOST_TOGETHER + within
    axes = list(manifest.axes)
    lazy = da.from_array(codes, chunks=_chunks(shape))
    variables: dict[str, Any] = {}
    for name, about in manifest.variables.items():
        if name in {*axes, *manifest.coordinates, "completed"}:
            continue
        free = tuple(len(manifest.coordinates[dim]) for dim in about["dims"])
        source = _Source(folder, tuple(manifest.groups), name, free)
        values = _values(lazy, source, np.dtype(about["dtype"]))
        variables[name] = ([*axes, *about["dims"]], values, about["attrs"])
    completed = (codes >= 0).astype(np.int8)
    variables["completed"] = (axes, completed, manifest.variables["completed"]["attrs"])
    coordinates = {
        name: (name, np.asarray(values), manifest.variables.get(name, {}).get("attrs", {}))
        for name, values in {**manifest.axes, **manifest.coordinates}.items()
    }
    return xr.Dataset(variables, coordinates, manifest.attrs)


class _Source(NamedTuple):
    """Where the values of a variable are."""

    folder: str
    groups: tuple[tuple[str, str], ...]
    """Family and key, by index."""
    variable: str
    free: tuple[int, ...]
    """Sizes of the dimensions beside the axes."""


def _chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Runs read together: along the last axes as far as there is room."""
    room, sizes = _CHUNK, []
    for size in reversed(shape):
        sizes.append(min(size, room))
        room = max(1, room // size)
    return tuple(reversed(sizes))


def _values(codes: da.Array, source: _Source, dtype: np.dtype[Any]) -> da.Array:
    """A variable of all runs, read chunk by chunk."""
    axes = list(range(codes.ndim, codes.ndim + len(source.free)))
    further = (
        {"new_axis": axes, "chunks": (*codes.chunks, *((size,) for size in source.free))} if axes else {}
    )
    values: da.Array = da.map_blocks(
        _read_block, codes, source=source, kind=dtype, dtype=dtype, meta=np.empty(0, dtype), **further
    )
    return values


def _read_block(codes: NDArray[np.int64], *, source: _Source, kind: np.dtype[Any]) -> NDArray[Any]:
    """Values of one variable of some runs; NaN, or `NEVER`, of those that are not complete."""
    empty = np.nan if kind.kind == "f" else NEVER
    out = np.full(codes.shape + source.free, empty, dtype=kind)
    for place in np.ndindex(codes.shape):
        if codes[place] >= 0:
            group, within = divmod(int(codes[place]), MOST_TOGETHER)
            out[place] = _row(source, group, within)
    return out


def _row(source: _Source, group: int, within: int) -> NDArray[Any]:
    """A variable of one run of a group."""
    family, key = source.groups[group]
    values = _group(source.folder, family, key)
    found = values.get(source.variable)
    each = int(np.prod(source.free))
    if found is None or found.size % each or found.size <= within * each:
        raise invalid(
            "run", key, accepted=f"one with {source.variable} at every step", remedy="sweep again"
        )  # fmt: skip
    row: NDArray[Any] = found.reshape((-1, *source.free))[within]
    return row


@lru_cache(maxsize=4 * _CHUNK)
def _group(folder: str, family: str, key: str) -> dict[str, NDArray[Any]]:
    """A group's variables, kept while others of them are asked for; the name says what it holds."""
    return RunStore(Path(folder)).load(family, key)


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


def export_results(results: xr.Dataset, path: PathText) -> None:
    """Write results to one file, by its suffix: .nc, .zarr, or long tables .csv and .parquet.

    Tables have a row for each complete run and step.

    Raises
    ------
    InputError
        If the suffix is another one, a package that it needs is not installed, or nothing can be written
        there.
    """
    require_record(results)
    path = as_path("export", path)
    require_known("type of the export", path.suffix, tuple(_WRITERS))
    _WRITERS[path.suffix](results, path)


def check_export(path: PathText) -> None:
    """`InputError`, before any work, if such an export would not be possible."""
    path = as_path("export", path)
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
    return frame[frame["completed"] == 1].drop(columns="completed") if "completed" in frame else frame


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
