"""Results of sweeps as one dataset: lazy, partial, exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from superconsistency import export_results, open_results, simulate
from superconsistency.errors import InputError
from superconsistency.records import load_record, save_record
from superconsistency.records.results import whole_sizes
from superconsistency.records.store import RunStore
from superconsistency.runner import LatentModel, make_plan, make_sweep
from superconsistency.simulations import Ensemble, schedule
from superconsistency.theory import IsotropicTarget, parametrization

from .grids import Single, files, finished

GRID: dict[str, list[Any]] = {
    "parametrization": ["mup", "ntp"],
    "width": [4, 8, 16],
    "learning_rate": [0.2, 0.4],
    "seed": [0, 1],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sweep of 24 runs, each in a group of its own."""
    finished(make_plan(make_sweep(Single(dimension=4, steps=8), [GRID])), tmp_path / "sweep")
    return tmp_path / "sweep"


def test_nothing_is_read_before_it_is_used_and_then_only_what_is_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    load = RunStore.load

    def noted(store: RunStore, family: str, key: str) -> Any:
        read.append(key)
        return load(store, family, key)

    monkeypatch.setattr(RunStore, "load", noted)
    monkeypatch.setattr("superconsistency.records.results._CHUNK", 4)
    results = open_results(folder)
    assert read == []
    some = results["loss"].sel(parametrization="ntp", width=8).load()
    assert 4 <= len(set(read)) < 24
    assert np.isfinite(some).all()


def test_a_group_is_read_once_for_all_its_runs_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(make_plan(make_sweep(LatentModel(dimension=4, steps=8), [GRID])), tmp_path)
    assert len(files(tmp_path)) == 6
    read: list[str] = []
    load = RunStore.load

    def noted(store: RunStore, family: str, key: str) -> Any:
        read.append(key)
        return load(store, family, key)

    monkeypatch.setattr(RunStore, "load", noted)
    results = open_results(tmp_path)
    for name in ("loss", "sharpness", "diverged_step"):
        results[name].load(scheduler="sync")
    assert len(read) == len(set(read)) == 6


@pytest.mark.parametrize("model", [LatentModel, Single])
def test_the_dataset_holds_what_a_simulation_of_each_cell_gives(
    model: type[LatentModel], tmp_path: Path
) -> None:
    results = finished(make_plan(make_sweep(model(dimension=4, steps=8), [GRID])), tmp_path)
    assert results["loss"].dims == ("parametrization", "width", "learning_rate", "seed", "step")
    for name in GRID["parametrization"]:
        table = parametrization(str(name))
        ensemble = Ensemble(table, IsotropicTarget(4, 1.0), (4.0, 8.0, 16.0), (0.2, 0.4), (0, 1))
        expected = simulate(ensemble, record_at=schedule(8), quantities=("loss", "sharpness"))
        for quantity in ("loss", "sharpness", "diverged_step", "completed"):
            np.testing.assert_allclose(
                results[quantity].sel(parametrization=name), expected[quantity], rtol=1e-12
            )


def test_attributes_say_what_produced_the_results(folder: Path) -> None:
    attrs = open_results(folder).attrs
    assert json.loads(attrs["configuration"])["target"] == {"dimension": 4, "norm": 1.0}
    assert json.loads(attrs["seeds"]) == [0, 1]
    assert {"numpy", "numba", "source"} <= set(json.loads(attrs["versions"]))
    assert attrs["schema_version"] == 2
    assert str(folder) not in json.dumps(attrs, default=str)


def test_a_partial_sweep_opens_and_what_is_missing_is_not_a_number(folder: Path) -> None:
    for path in files(folder)[:5]:
        path.unlink()
    results = open_results(folder).load()
    assert int(results["completed"].sum()) == 24 - 5
    gone = results["completed"] == 0
    assert results["loss"].where(gone, drop=True).isnull().all()
    assert (results["diverged_step"].where(gone, drop=True).dropna("seed") == -1).all()
    assert results["loss"].where(~gone).count() == (24 - 5) * results.sizes["step"]


def test_grids_that_do_not_fill_the_axes_leave_holes(tmp_path: Path) -> None:
    grids: list[dict[str, Any]] = [
        {"parametrization": "mup", "width": 4, "learning_rate": 0.2, "seed": 0},
        {"parametrization": "ntp", "width": [4, 8], "learning_rate": 0.4, "seed": 0},
    ]
    results = finished(make_plan(make_sweep(LatentModel(dimension=4, steps=4), grids)), tmp_path / "s")
    assert results["completed"].size == 8
    assert int(results["completed"].sum()) == 3


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_an_export_opens_as_the_same_dataset(suffix: str, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / f"all{suffix}"
    results = open_results(folder)
    export_results(results, path)
    again = open_results(path).load()
    xr.testing.assert_equal(again, results.load())
    assert again.attrs["configuration"] == results.attrs["configuration"]
    export_results(results, path)  # in place of the earlier one


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_has_a_row_for_each_run_and_step(suffix: str, folder: Path, tmp_path: Path) -> None:
    files(folder)[0].unlink()
    path = tmp_path / f"all{suffix}"
    results = open_results(folder)
    export_results(results, path)
    table = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    assert len(table) == 23 * results.sizes["step"]
    row = table[(table.parametrization == "mup") & (table.width == 16) & (table.learning_rate == 0.4)
                & (table.seed == 1) & (table.step == 8)]  # fmt: skip
    cell = {"parametrization": "mup", "width": 16, "learning_rate": 0.4, "seed": 1, "step": 8}
    if len(row):
        assert row.loss.item() == pytest.approx(float(results["loss"].sel(cell)), rel=1e-12)


def test_exports_of_other_kinds_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"type of the export is .xlsx; accepted: .nc, .zarr, .csv, .parquet"
    ):
        export_results(open_results(folder), tmp_path / "all.xlsx")


def record() -> xr.Dataset:
    ensemble = Ensemble(parametrization("mup"), IsotropicTarget(4, 1.0), (4.0,), (0.2,), (0,))
    found: xr.Dataset = simulate(ensemble, record_at=(0, 4))
    return found


def test_records_of_the_first_schema_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "old.nc"
    record().assign_attrs(schema_version=1).to_netcdf(path, engine="h5netcdf")
    assert open_results(path).attrs["schema_version"] == 1


@pytest.mark.parametrize("version", [3, "two", 0])
def test_records_of_a_schema_that_is_not_known_are_refused(version: object, tmp_path: Path) -> None:
    path = tmp_path / "new.nc"
    record().assign_attrs(schema_version=version).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(InputError, match=f"schema version is {version}"):
        load_record(path)


def test_a_record_whose_values_were_changed_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "record.nc"
    save_record(record(), path)
    content = bytearray(path.read_bytes())
    place = bytes(content).find(record()["loss"].to_numpy().ravel()[-1].tobytes())
    content[place + 2] ^= 4
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="one whose values are those written"):
        load_record(path)


def test_a_run_whose_values_are_kept_in_another_file_is_refused(folder: Path, tmp_path: Path) -> None:
    inside = files(folder)[0]
    elsewhere = tmp_path / "elsewhere.nc"
    elsewhere.write_bytes(inside.read_bytes())
    with h5py.File(inside, "a") as file:
        del file["loss"]
        file["loss"] = h5py.ExternalLink(str(elsewhere), "loss")
    with pytest.raises(InputError, match="loss is not kept in it"):
        open_results(folder)["loss"].load()


def test_an_export_replaces_no_folder_that_is_not_zarr(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.zarr"
    path.mkdir()
    (path / "precious.txt").write_text("mine")
    with pytest.raises(InputError, match="accepted: a new path, or a Zarr folder"):
        export_results(open_results(folder), path)
    assert (path / "precious.txt").read_text() == "mine"


def test_an_export_leaves_the_results_lazy(folder: Path, tmp_path: Path) -> None:
    results = open_results(folder)
    export_results(results, tmp_path / "all.csv")
    assert results["loss"].chunks is not None


def test_missing_runs_are_left_out_and_not_taken_for_diverged_ones(folder: Path) -> None:
    results = open_results(folder).load()
    group = results.isel(parametrization=0)
    assert whole_sizes(group).sizes["width"] == 3
    group["completed"][1, 0, 1] = 0
    assert whole_sizes(group)["width"].to_numpy().tolist() == [4, 16]
    group["completed"][:, 1] = 0  # a rate that no width was asked for
    assert whole_sizes(group)["learning_rate"].to_numpy().tolist() == [0.2]
