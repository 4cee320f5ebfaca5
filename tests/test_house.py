"""The rules of the source: no import circles, short functions and files, one name for one thing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from .house import (
    PACKAGE,
    Module,
    circles,
    functions,
    hiding,
    imports,
    read_package,
    repeated,
    unused,
)

ROOT = Path(__file__).parent.parent
PACKAGE_MODULES = read_package(ROOT)

NAMED_BY_ITS_USERS = "the name under which its users know it"

HIDING = {
    "cli.curvature.curvature": NAMED_BY_ITS_USERS,
    "cli.ensembles.error_bars": NAMED_BY_ITS_USERS,
    "cli.explore.explore": NAMED_BY_ITS_USERS,
    "cli.plane.bifurcation": NAMED_BY_ITS_USERS,
    "cli.plane.portrait": NAMED_BY_ITS_USERS,
    "cli.report.report": NAMED_BY_ITS_USERS,
    "cli.width.deviation": NAMED_BY_ITS_USERS,
    "cli.width.optimum": NAMED_BY_ITS_USERS,
    "cli.width.width_check": NAMED_BY_ITS_USERS,
    "neural.parametrize.plan.parametrize": NAMED_BY_ITS_USERS,
    "simulations.optimum.best_rates": "what the analysis of that name runs",
    "stats.fast_transfer.fast_transfer": "for the transfer rows of figures, and for the audit",
    "theory.parametrization.parametrization": NAMED_BY_ITS_USERS,
}
"""Functions with the name of a module, with the reason."""

REPEATED = {
    "ANALYSIS": "each module of `runner.analyses` has one",
    "coordinate_check": "a command, and the function that it calls",
    "simulate": "a command, and the function that it calls",
    "verify": "a command, and the function that it calls",
}
"""Public names that several modules define, with the reason."""

CALLED_FROM_OUTSIDE = {
    "cli.help_texts.ListingCommand.format_help": "called by Typer",
    "neural.data.cifar._BatchUnpickler.find_class": "called by pickle",
    "neural.data.cifar._BatchUnpickler.persistent_load": "called by pickle",
    "stats.fast_transfer.fast_transfer": "for the transfer rows of figures, and for the audit",
    "stats.slopes.SizeDependence.fair_interval": "a property of a public result",
    "simulations.edge.approach_edge": "for scripts; the experiment runs its networks in groups",
    "simulations.vector_kernels._VectorModel": "registered with Numba by its decorator",
    "theory.symbolic.core.Derivation._repr_markdown_": "called by Jupyter",
}
"""What nothing in the package names, with who calls it."""


def _short(name: str) -> str:
    return name.removeprefix(f"{PACKAGE}.")


def _module(name: str, text: str, folder: Path = Path()) -> Module:
    leaf = "__init__" if name in {PACKAGE, f"{PACKAGE}.room"} else name.rpartition(".")[2]
    return Module(name, "room", folder / f"{leaf}.py", text, ast.parse(text))


def test_no_modules_import_one_another_not_even_for_types() -> None:
    assert {tuple(map(_short, group)) for group in circles(PACKAGE_MODULES)} == set()


def test_no_function_is_longer_than_60_lines() -> None:
    assert {_short(name) for name, lines in functions(PACKAGE_MODULES) if lines > 60} == set()


def test_no_file_is_longer_than_400_lines() -> None:
    assert not [(module.name, module.lines) for module in PACKAGE_MODULES if module.lines > 400]


def test_no_function_or_class_has_the_name_of_a_module() -> None:
    assert set(map(_short, hiding(PACKAGE_MODULES))) == set(HIDING)


def test_a_public_name_is_defined_once() -> None:
    assert set(repeated(PACKAGE_MODULES)) == set(REPEATED)


def test_nothing_private_to_the_package_is_used_by_tests_only() -> None:
    assert {_short(name) for name, _ in unused(PACKAGE_MODULES, ROOT)} == set(CALLED_FROM_OUTSIDE)


@pytest.mark.parametrize(
    ("room", "heavy"),
    [
        ("theory", {"torch", "sympy", "numba", "matplotlib"}),
        ("simulations", {"torch", "sympy", "matplotlib"}),
        ("stats", {"torch", "sympy", "numba", "matplotlib"}),
        ("records", {"torch", "sympy", "numba", "matplotlib"}),
    ],
)
def test_a_room_loads_no_library_that_it_does_not_need(room: str, heavy: set[str]) -> None:
    code = f"import sys, {PACKAGE}.{room}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())


def test_imports_are_those_that_grimp_finds() -> None:
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    known = {module.name for module in PACKAGE_MODULES}
    for module in PACKAGE_MODULES:
        assert imports(module, known) == graph.find_modules_directly_imported_by(module.name) & known


@pytest.mark.parametrize(
    "statement",
    [
        "from .second import name",
        "from . import second",
        "import superconsistency.room.second",
        "if TYPE_CHECKING:\n    from .second import Name",
        "def function():\n    from superconsistency.room import second",
        "from ..room.second import name",
    ],
)
def test_a_circle_is_found_however_it_is_written(statement: str) -> None:
    names = [f"{PACKAGE}.room.first", f"{PACKAGE}.room.second"]
    room = _module(f"{PACKAGE}.room", "from .first import name")
    first, second = _module(names[0], statement), _module(names[1], "from .first import name")
    assert circles([room, first, second]) == [names]
    assert circles([room, first, second._replace(tree=ast.parse(""))]) == []


def test_a_circle_through_the_face_of_a_room_is_found() -> None:
    room = _module(f"{PACKAGE}.room", "from .first import name")
    first = _module(f"{PACKAGE}.room.first", "from ..room import other")
    assert circles([room, first]) == [[room.name, first.name]]


def test_names_of_modules_and_names_defined_twice_are_found() -> None:
    first = _module("p.sweep", "def sweep(): ...\nLIMIT: int = 1\n_OWN = 2\nclass Law: ...\n")
    second = _module("p.other", "ONE, (LIMIT, TWO) = 1, (2, 3)\n_OWN = 3\nfrom p.sweep import Law\n")
    assert hiding([first, second]) == ["p.sweep.sweep"]
    assert repeated([first, second]) == {"LIMIT": ["p.other", "p.sweep"]}


def test_what_is_named_only_where_it_is_defined_is_unused(tmp_path: Path) -> None:
    text = (
        "__all__ = ['offered']\n"
        "def recursive(): return recursive()\n"
        "def offered(): ...\n"
        "def called(): ...\n"
        "def keyed(): ...\n"
        "def documented(): ...\n"
        "class Thing:\n    def __call__(self): called()\n    def method(self): ...\n"
        "TABLE = {'keyed': Thing()}\n"
    )
    (tmp_path / "README.md").write_text("Call `documented()`.", encoding="utf-8")
    modules = [_module("p.one", text)]
    assert [one.name for one in unused(modules, tmp_path)] == ["p.one.recursive", "p.one.Thing.method"]
    assert [one.name for one in unused(modules, tmp_path, exported=True)] == ["p.one.offered"]
