"""A user's program: type checkers accept it on the installed package, and reject what it marks."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import numpy as np
import superconsistency as sc
import xarray as xr
from superconsistency.neural import Dataset
from superconsistency.neural.coordinates import CoordinateReport
from superconsistency.theory import LatentState, Parametrization, Problem, TraceTail
from superconsistency.theory.problem import Array


def latent() -> xr.Dataset:
    runs = sc.Ensemble("mup", [0.6, 0.8], widths=32, learning_rates=np.geomspace(0.1, 1, 3), seeds=3)
    sc.Ensemble(sc.parametrization("ntp"), np.ones(4), range(2, 9), [0.5], [1, 4])
    sc.Ensemble(sc.TABLE["sp"], sc.IsotropicTarget(10**6, 1.0), (np.int64(64), 128.0), 0.5, seeds=range(2))
    sc.Ensemble("mup", "target", widths=32, learning_rates=0.5, seeds=3)  # type: ignore[arg-type]
    sc.Ensemble("mup", [1.0], widths="32", learning_rates=0.5, seeds=3)  # type: ignore[arg-type]
    sc.Ensemble("mup", [1.0], widths=None, learning_rates=0.5, seeds=3)  # type: ignore[arg-type]
    assert_type(runs.parametrization, Parametrization)
    assert_type(runs.widths, tuple[float, ...])
    assert_type(runs.seeds, tuple[int, ...])
    record = sc.simulate(runs, record_at=sc.schedule(20, every=5), quantities="loss")
    sc.simulate(runs, record_at=20, quantities=["loss", "sharpness"])
    sc.simulate(runs, record_at=20, quantities=3)  # type: ignore[arg-type]
    return assert_type(record, xr.Dataset)


def state() -> tuple[LatentState, float]:
    problem = sc.Problem("mup", 64, [0.6, 0.8])
    start = assert_type(sc.initial_state(problem, 0), LatentState)
    assert_type(sc.initial_state(problem, np.random.default_rng(0)), LatentState)
    planar = sc.PlanarMap(20, target_norm=1.0, learning_rate=0.5)
    assert_type(planar.edge, float)
    return sc.evolve(start, problem, 0.1), float(sc.regime("mup", "adam").stable)


def kept(record: xr.Dataset, folder: Path) -> xr.Dataset:
    sc.save_record(record, "run.nc")
    sc.export_results(record, folder / "run.csv")
    sc.save_record(record, 3)  # type: ignore[arg-type]
    assert_type(sc.load_record(folder / "run.nc"), xr.Dataset)
    return assert_type(sc.open_results("sweep"), xr.Dataset)


def trained() -> xr.Dataset:
    config = sc.TrainingConfig("mup", architecture="resnet", optimizer="adam", quantities="sharpness")
    sc.TrainingConfig("mup", sc.network("resnet", depth=12), sc.Optimizer(momentum=0.9), steps=8)
    sc.TrainingConfig(1)  # type: ignore[arg-type]
    assert_type(config.parametrization, Parametrization)
    assert_type(config.quantities, tuple[str, ...])
    data = assert_type(sc.load_images("cifar"), Dataset)
    sc.load_dataset("digits", examples=100)
    grid = sc.Grid(config, widths=[16, 32], learning_rates=0.1, seeds=2)
    assert_type(grid.widths, tuple[int, ...])
    return assert_type(sc.train_grid(grid, data), xr.Dataset)


def checked(config: sc.TrainingConfig, data: Dataset) -> CoordinateReport:
    check = sc.CoordinateCheck(config, 0.01, sizes=[32, 64], seeds=4, expected="mup")
    for entry in sc.verify(sc.CLAIMS[:3], sc.Settings(seed=1, data_dir="cifar")):
        assert_type(entry.seconds, float)
    return sc.coordinate_check(check, data)


def kernel_trace(trace: Array, latent_state: LatentState, problem: Problem) -> Array:
    return np.asarray(trace + problem.sizes["dimension"] * latent_state.v)


def whole_kernel_trace(latent_state: LatentState, problem: Problem) -> Array:
    return kernel_trace(np.trace(latent_state.e, axis1=-2, axis2=-1), latent_state, problem)


def observed() -> None:
    observable = sc.Observable("ntk_trace", whole_kernel_trace, TraceTail(kernel_trace))
    sc.add_observable(observable, long_name="trace of the kernel", units="1 / eta0")
    sc.add_observable("ntk_trace", long_name="trace of the kernel", units="1 / eta0")  # type: ignore[arg-type]


def unknown() -> None:
    sc.no_such_name  # type: ignore[attr-defined] # noqa: B018
