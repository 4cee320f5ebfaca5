from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from superconsistency.errors import InputError
from superconsistency.records.source import import_closure, imported_packages, source_hash

ROOT = Path(__file__).parents[2]
LATENT, NETWORK = "superconsistency.simulations.ensemble", "superconsistency.neural.training.grid"
DOORS = {("superconsistency.theory", "symbolic")}
"""Imports inside functions that no run calls: derivations."""
RUNNERS = pytest.mark.parametrize("name", [LATENT, NETWORK])
FOLDERS = [
    path.parent.relative_to(ROOT) for path in ROOT.glob("*/**/__init__.py") if "tests" not in path.parts
]


@RUNNERS
def test_the_import_closure_is_what_a_fresh_process_loads(name: str) -> None:
    code = (
        f"import sys, {name}; print(*(one for one in sys.modules if one.split('.')[0] == 'superconsistency'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(import_closure(name)) == set(done.stdout.split())


@RUNNERS
def test_statistics_and_drawing_do_not_enter_the_identity_of_a_run(name: str) -> None:
    rooms = {one.split(".")[1] for one in import_closure(name) if "." in one}
    assert rooms <= {"errors", "lazy", "records", "simulations", "neural", "theory"}


def test_the_latent_system_depends_on_no_network_and_on_no_version_of_pytorch() -> None:
    assert not any(".neural" in one for one in import_closure(LATENT))
    assert "torch" not in imported_packages(LATENT)
    assert {"numba", "numpy"} <= imported_packages(LATENT)
    assert "torch" in imported_packages(NETWORK)
    assert "numba" not in imported_packages(NETWORK)


@RUNNERS
def test_no_module_that_runs_import_hides_an_import_of_the_package_in_a_function(name: str) -> None:
    hidden = []
    for module in import_closure(name):
        place = ROOT.joinpath(*module.split(".")[1:])
        path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                hidden += [
                    (module, part.module or part.names[0].name)
                    for part in ast.walk(node)
                    if isinstance(part, ast.ImportFrom) and part.level > 0
                ]
    assert set(hidden) <= DOORS


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's source in a folder of its own."""
    package = tmp_path_factory.mktemp("copy") / "superconsistency"
    for folder in [Path(), *FOLDERS]:
        (package / folder).mkdir(parents=True, exist_ok=True)
        for path in (ROOT / folder).glob("*.py"):
            shutil.copy(path, package / folder)
    return package


def hashes(package: Path) -> list[str]:
    code = (
        "from superconsistency.records.source import source_hash;"
        f"print(source_hash('{LATENT}'), source_hash('{NETWORK}'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=package.parent
    )
    return done.stdout.split()


def edited(path: Path, old: str, new: str, package: Path) -> list[str]:
    """The hashes while a file has another text."""
    before = path.read_text()
    assert old in before
    try:
        path.write_text(before.replace(old, new, 1))
        return hashes(package)
    finally:
        path.write_text(before)


def test_a_copy_of_the_source_has_the_same_hashes(copy: Path) -> None:
    assert hashes(copy) == [source_hash(LATENT), source_hash(NETWORK)]


@pytest.mark.parametrize("place", ["neural/networks/transformers.py", "theory/parametrization.py"])
def test_comments_docstrings_and_blank_lines_change_no_identity(copy: Path, place: str) -> None:
    start = "from __future__ import annotations\n"
    words = f'{start}\n# A comment.\n\n"""A text."""\n'
    assert edited(copy / place, start, words, copy) == hashes(copy)


def test_code_of_networks_changes_the_identity_of_networks_only(copy: Path) -> None:
    latent, network = hashes(copy)
    start = "from __future__ import annotations\n"
    changed = edited(copy / "neural/networks/transformers.py", start, f"{start}ONE = 1\n", copy)
    assert changed[0] == latent
    assert changed[1] != network


def test_code_of_the_parametrization_table_changes_both_identities(copy: Path) -> None:
    start = "from __future__ import annotations\n"
    changed = edited(copy / "theory/parametrization.py", start, f"{start}ONE = 1\n", copy)
    assert all(one != other for one, other in zip(changed, hashes(copy), strict=True))


@pytest.mark.parametrize("place", ["stats/power_laws.py", "figures/style.py", "cli/console.py"])
def test_code_that_judges_or_draws_changes_no_identity(copy: Path, place: str) -> None:
    start = "from __future__ import annotations\n"
    assert edited(copy / place, start, f"{start}ONE = 1\n", copy) == hashes(copy)
    assert source_hash() not in {source_hash(LATENT), source_hash(NETWORK)}


@pytest.mark.parametrize(
    "name", ["superconsistency.no_such", "numpy", "", "superconsistency.records.source.x"]
)
def test_a_module_that_is_not_of_the_package_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"module is .*; accepted: a module of superconsistency"):
        import_closure(name)
