"""Every parameter of every public name: what it takes, and that anything else is one `InputError`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import superconsistency as sc
import torch
import xarray as xr
from superconsistency.errors import InputError
from superconsistency.neural.data.synthetic import gaussian_regression

if TYPE_CHECKING:
    from collections.abc import Callable


class Thing:
    """An object of no use anywhere."""


WRONG: dict[str, Any] = {
    "None": None,
    "text": "x",
    "an object": Thing(),
    "NaN": math.nan,
    "-1": -1,
    "a nested list": [[1, 2], [3]],
    "a set": {1, 2},
    "True": True,
    "bytes": b"x",
    "a function": len,
    "a large number": 10**400,
}


class Door(NamedTuple):
    """One public function or class."""

    call: Callable[..., object]
    right: dict[str, Any]
    """Arguments that are accepted."""
    also: dict[str, set[str]]
    """Entries of `WRONG` that a parameter does accept."""


PROBLEM = sc.Problem("mup", 8, [0.6, 0.8])
RUNS = sc.Ensemble("mup", [0.6, 0.8], widths=8, learning_rates=0.5, seeds=1)
CONFIG = sc.TrainingConfig("mup", "two-layer-linear", loss="mse", steps=1, batch_size=None, quantities=())
DATA = gaussian_regression(16, 3, 1, torch.Generator().manual_seed(0))
RECORD = sc.simulate(RUNS, record_at=(0, 1))


def _saved(path: Any = "run.nc") -> xr.Dataset:
    sc.save_record(RECORD, "run.nc")
    return sc.load_record(path)


def _opened(path: Any = "run.nc") -> xr.Dataset:
    sc.save_record(RECORD, "run.nc")
    return sc.open_results(path)


def _parametrized(**arguments: Any) -> object:
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    return sc.parametrize(**{"model": model} | arguments)


DRAWN = {"name": "5", "settings": sc.FigureSettings()}


def _drawn(**arguments: Any) -> object:
    """The figure, unless the arguments are right: then it would be drawn."""
    return None if arguments == DRAWN else sc.draw_figure(**arguments)


def _stepped(**arguments: Any) -> object:
    return sc.PlanarMap(3, 1.0, 0.1).step(**arguments)


NONE, CALLABLE = {"None"}, {"None", "a function"}

DOORS: dict[str, Door] = {
    "Ensemble": Door(
        sc.Ensemble,
        {"parametrization": "mup", "target": [1.0], "widths": 4, "learning_rates": 0.1, "seeds": 2},
        {},
    ),
    "simulate": Door(
        sc.simulate,
        {
            "ensemble": RUNS,
            "record_at": (0, 1),
            "quantities": ("loss",),
            "start": None,
            "method": "auto",
            "on_progress": None,
            "on_block": None,
            "resume": None,
        },
        {"on_progress": CALLABLE, "on_block": CALLABLE, "resume": NONE, "start": CALLABLE},
    ),
    "schedule": Door(sc.schedule, {"steps": 10, "every": 2}, {}),
    "Problem": Door(
        sc.Problem,
        {"parametrization": "mup", "width": 8, "target": [1.0], "inputs": 3},
        {"inputs": NONE},
    ),
    "IsotropicTarget": Door(sc.IsotropicTarget, {"dimension": 3, "norm": 1.0}, {}),
    "uniform_target": Door(sc.uniform_target, {"dimension": 3, "norm": 1.0}, {}),
    "PlanarMap": Door(sc.PlanarMap, {"dimension": 3, "target_norm": 1.0, "learning_rate": 0.1}, {}),
    "PlanarMap.step": Door(_stepped, {"state": (0.0, 1.0)}, {}),
    "parametrization": Door(sc.parametrization, {"name": "mup"}, {}),
    "regime": Door(sc.regime, {"table": "mup", "optimizer": "sgd"}, {}),
    "initial_state": Door(
        sc.initial_state, {"problem": PROBLEM, "generator": 0}, {"generator": {"a large number"}}
    ),
    "evolve": Door(
        sc.evolve,
        {"state": sc.initial_state(PROBLEM, 0), "problem": PROBLEM, "learning_rate": 0.1},
        {"learning_rate": {"-1"}},
    ),
    "add_observable": Door(
        sc.add_observable,
        {"observable": sc.Observable("copy", lambda state, _: state.v), "long_name": "copy", "units": "1"},
        {"long_name": {"text"}, "units": {"text"}},
    ),
    "Optimizer": Door(
        sc.Optimizer,
        {"name": "sgd", "momentum": 0.9, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0},
        {},
    ),
    "network": Door(
        sc.network, {"name": "resnet", "depth": 6, "skip": 1.0, "norm": "layer"}, {"skip": {"-1"}}
    ),
    "TrainingConfig": Door(
        sc.TrainingConfig,
        {
            "parametrization": "mup",
            "architecture": "mlp",
            "optimizer": "sgd",
            "loss": "mse",
            "steps": 3,
            "batch_size": 4,
            "warmup": 1,
            "augmentation": None,
            "frozen": "first",
            "measure_every": 2,
            "measure_at": (0, 2),
            "measure_points": "iterate",
            "quantities": "sharpness",
            "count": 1,
            "hessian_examples": 4,
            "evaluation_examples": 4,
            "probe_seed": 0,
            "tolerance": 0.1,
            "vary": "both",
            "give_up": 3.0,
            "as_published": (),
        },
        {
            "batch_size": NONE,
            "augmentation": NONE,
            "frozen": {"text"},
            "measure_at": NONE,
            "give_up": NONE,
        },
    ),
    "Grid": Door(sc.Grid, {"config": CONFIG, "widths": 4, "learning_rates": 0.1, "seeds": 2}, {}),
    "CoordinateCheck": Door(
        sc.CoordinateCheck,
        {
            "config": CONFIG,
            "learning_rate": 0.1,
            "size": "width",
            "sizes": (2, 4),
            "width": 4,
            "steps": 1,
            "seeds": 2,
            "expected": "mup",
        },
        {"expected": NONE},
    ),
    "coordinate_check": Door(
        sc.coordinate_check,
        {
            "check": sc.CoordinateCheck(CONFIG, 0.1, sizes=(2, 4), steps=1, seeds=1),
            "data": DATA,
            "examples": 4,
            "on_progress": lambda _done, _total: None,
        },
        {"examples": NONE, "on_progress": CALLABLE},
    ),
    "load_dataset": Door(
        sc.load_dataset,
        {
            "name": "digits",
            "folder": None,
            "download": False,
            "progress": False,
            "split": "train",
            "examples": 20,
            "seed": 0,
            "limit": None,
        },
        {"folder": NONE, "progress": {"True"}, "examples": NONE, "limit": NONE},
    ),
    "load_images": Door(
        sc.load_images,
        {"data_dir": None, "download": False, "progress": False},
        {"data_dir": NONE, "progress": {"True"}},
    ),
    "parametrize": Door(
        _parametrized,
        {
            "table": "mup",
            "base": None,
            "kinds": {"0": "input", "2": "readout"},
            "branches": (),
            "inside": (),
            "queries": (),
            "width": 8,
            "depth": 1,
        },
        {"base": NONE, "kinds": NONE, "width": NONE, "depth": NONE},
    ),
    "save_record": Door(sc.save_record, {"record": RECORD, "path": "run.nc"}, {"path": {"text"}}),
    "load_record": Door(_saved, {"path": "run.nc"}, {}),
    "open_results": Door(_opened, {"path": "run.nc"}, {}),
    "export_results": Door(sc.export_results, {"results": RECORD, "path": "run.csv"}, {}),
    "Settings": Door(
        sc.Settings,
        {"seed": 0, "device": "auto", "data_dir": "folder", "download": False},
        {"device": {"text"}, "data_dir": {"None", "text"}, "download": {"True"}},
    ),
    "verify": Door(
        sc.verify,
        {"claims": sc.CLAIMS[:1], "settings": sc.Settings(), "on_progress": None},
        {"settings": NONE, "on_progress": CALLABLE},
    ),
    "FigureSettings": Door(
        sc.FigureSettings,
        {"scale": "smoke", "seed": 0, "download": False, "data_dir": "folder", "keep": "folder"},
        {"download": {"True"}, "data_dir": {"None", "text"}, "keep": {"None", "text"}},
    ),
    "draw_figure": Door(_drawn, DRAWN, {}),
}

NO_DOORS = {
    "CLAIMS",
    "InputError",
    "LatentState",
    "Observable",
    "PARAMETRIZATIONS",
    "TABLE",
    "consistency",
    "settled",
    "train_grid",
    "size_dependence",
    "transfer_verdict",
}
"""Data, and what is tested elsewhere."""

PLACES = [(name, parameter) for name, door in DOORS.items() for parameter in door.right]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_public_name_is_tried() -> None:
    assert {name for name in DOORS if "." not in name} == set(sc.__all__) - NO_DOORS


@pytest.mark.parametrize(
    "observable",
    [
        sc.Observable(1, len),  # type: ignore[arg-type]
        sc.Observable("mine", None),  # type: ignore[arg-type]
        sc.Observable("mine", len, "head"),  # type: ignore[arg-type]
    ],
)
def test_an_observable_of_wrong_parts_is_refused(observable: sc.Observable) -> None:
    with pytest.raises(InputError, match="observable"):
        sc.add_observable(observable, long_name="mine", units="1")


@pytest.mark.parametrize("name", DOORS)
def test_what_is_said_to_be_accepted_is(name: str) -> None:
    door = DOORS[name]
    if name != "add_observable":
        door.call(**door.right)


@pytest.mark.parametrize(("name", "parameter"), PLACES)
def test_anything_else_is_one_line_that_says_what_is_wrong(name: str, parameter: str) -> None:
    door = DOORS[name]
    for wrong, value in WRONG.items():
        if wrong not in door.also.get(parameter, set()):
            assert refusal(door.call, door.right | {parameter: value}) == "one line", wrong


def test_a_grid_takes_every_form_of_a_list_and_keeps_plain_numbers_in_order() -> None:
    for widths in ([16, 4], (4, 16), range(4, 17, 12), np.array([16, 4]), iter([4, 16.0])):
        grid = sc.Grid(CONFIG, widths, learning_rates=np.array([1.0, 0.5], np.float32), seeds=range(2))
        assert (grid.widths, grid.learning_rates, grid.seeds) == ((4, 16), (0.5, 1.0), (0, 1))
        kept = (*grid.widths, *grid.learning_rates, *grid.seeds)
        assert [type(value) for value in kept] == [int, int, float, float, int, int]
    assert [run.width for run in sc.Grid(CONFIG, 4, 0.1, seeds=3).runs] == [4, 4, 4]


@pytest.mark.parametrize(
    "axes", [{"learning_rates": (0.3, 0.1 + 0.2)}, {"widths": (4, 4.0)}, {"seeds": (1, 1)}]
)
def test_a_grid_refuses_twins(axes: dict[str, Any]) -> None:
    given: dict[str, Any] = {"config": CONFIG, "widths": 4, "learning_rates": 0.1, "seeds": 1}
    with pytest.raises(InputError, match=next(iter(axes)).replace("_", " ")):
        sc.Grid(**given | axes)


def test_the_order_of_a_grid_does_not_change_its_record() -> None:
    config = sc.TrainingConfig("mup", "two-layer-linear", loss="mse", steps=2, batch_size=None, quantities=())
    one = sc.train_grid(sc.Grid(config, [8, 4], [0.2, 0.1], [1, 0]), DATA)
    other = sc.train_grid(sc.Grid(config, [4, 8], [0.1, 0.2], [0, 1]), DATA)
    assert one.identical(other)
    assert one["loss"].sel(width=slice(4, 8), learning_rate=slice(0.1, 0.2)).shape[:2] == (2, 2)


def test_names_stand_for_rows_networks_and_optimizers() -> None:
    row = sc.parametrization("mup")
    named = sc.TrainingConfig("mup", "resnet", "adam", quantities="loss", measure_at=3)
    written = sc.TrainingConfig(
        row, sc.network("resnet"), sc.Optimizer("adam"), quantities=("loss",), measure_at=(3,)
    )
    assert named == written
    assert sc.parametrization(row) is row
    assert sc.regime("MUP") == sc.regime(row)
    assert sc.Problem("ntp", 4, [1, 2]).kappa == sc.Problem(sc.TABLE["ntp"], 4, np.array([1.0, 2.0])).kappa
    assert sc.CoordinateCheck(CONFIG, 0.1, sizes=[4, 2], seeds=1, expected="sp").expected == sc.TABLE["sp"]


def test_a_seed_stands_for_its_generator() -> None:
    by_seed = sc.initial_state(PROBLEM, 3)
    by_generator = sc.initial_state(PROBLEM, np.random.default_rng(3))
    for one, other in zip(by_seed, by_generator, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("form", [str, Path])
def test_a_path_is_taken_as_text_too(form: Callable[[str], Any]) -> None:
    sc.save_record(RECORD, form("run.nc"))
    sc.export_results(RECORD, form("run.csv"))
    assert Path("run.csv").exists()
    for kept in (sc.load_record(form("run.nc")), sc.open_results(form("run.nc"))):
        np.testing.assert_array_equal(kept["loss"], RECORD["loss"])
    assert sc.Settings(data_dir=form("cifar")).data_dir == Path("cifar")
    with pytest.raises(InputError, match="data folder is cifar"):
        sc.load_images(form("cifar"))


def test_a_record_that_netcdf_cannot_hold_is_refused() -> None:
    with pytest.raises(InputError, match="that NetCDF can hold"):
        sc.save_record(RECORD.assign_attrs(nested={"a": 1}), "run.nc")


def test_part_of_a_record_can_be_exported() -> None:
    sc.export_results(RECORD[["loss"]], "loss.csv")
    assert len(Path("loss.csv").read_text().splitlines()) == 1 + RECORD["loss"].size


def test_one_claim_is_checked_with_the_settings_that_there_are() -> None:
    claim = next(claim for claim in sc.CLAIMS if claim.kind == "symbolic")
    (entry,) = sc.verify(claim)
    assert entry.claim is claim


def refusal(call: Callable[..., object], arguments: dict[str, Any]) -> str:
    """How a call is refused."""
    try:
        call(**arguments)
    except InputError as error:
        message = str(error)
        parts = [message.find(words) for words in (" is ", "; accepted: ", "; remedy: ")]
        return "one line" if 0 < parts[0] < parts[1] < parts[2] and "\n" not in message else message
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "not at all"
