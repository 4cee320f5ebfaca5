"""The public names as checkers see them, and as they are at run time."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import shutil
from pathlib import Path
from typing import Any

import pytest
import superconsistency

from .check_types import problems, public_names
from .check_wheel import expected

ROOT = Path(__file__).parent.parent
WIDER = [
    "Ensemble",
    "Problem",
    "Grid",
    "TrainingConfig",
    "CoordinateCheck",
    "Settings",
    "FigureSettings",
    "LinearNetwork",
]
"""Classes that may be passed more than they keep."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as its wheel installs it."""
    folder = tmp_path_factory.mktemp("installed")
    for name in expected():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT.joinpath(*Path(name).parts[1:]), place)
    return folder / "superconsistency"


def test_pyright_knows_the_type_of_every_public_name_and_reads_a_users_program(package: Path) -> None:
    assert problems(package, with_mypy=False) == []


def test_what_checkers_see_is_what_is_found_at_run_time() -> None:
    (guarded,) = (
        node
        for node in ast.parse((ROOT / "__init__.py").read_text()).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    )
    seen = {
        (alias.asname, alias.name, node.module)
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = {name: importlib.import_module(f"superconsistency.{module}") for name, _, module in seen if name}
    assert set(public_names(ROOT)) == set(homes) == set(superconsistency.__all__)
    assert all(name == original for name, original, _ in seen)
    for name, home in homes.items():
        assert getattr(superconsistency, name) is getattr(home, name)


def _classes() -> dict[str, Any]:
    homes = (
        "simulations",
        "theory",
        "neural",
        "neural.coordinates",
        "claims",
        "experiments.gallery",
        "theory.generalised",
    )
    modules = [importlib.import_module(f"superconsistency.{home}") for home in homes]
    return {name: getattr(module, name) for name in WIDER for module in modules if hasattr(module, name)}


@pytest.mark.parametrize("name", WIDER)
def test_checkers_see_the_parameters_that_a_class_has(name: str) -> None:
    """The signature for checkers is written out beside the fields, whose names and order it repeats."""
    kind = _classes()[name]
    (guarded,) = (
        node
        for node in ast.walk(ast.parse(inspect.getsource(kind)))
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )
    (written,) = (node for node in guarded.body if isinstance(node, ast.FunctionDef))
    fields = dataclasses.fields(kind)
    assert [argument.arg for argument in written.args.args[1:]] == [field.name for field in fields]
    nothing = dataclasses.MISSING
    optional = [field for field in fields if (field.default, field.default_factory) != (nothing, nothing)]
    assert len(written.args.defaults) == len(optional)
