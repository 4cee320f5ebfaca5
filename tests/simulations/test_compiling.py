"""What was compiled before is used only while no kernel has changed."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from superconsistency.simulations import compiling

FOLDER = Path(compiling.__file__).parent
KERNELS = sorted(path.stem for path in FOLDER.glob("*kernels.py"))
INNER = "from .compiling import compiled\n\n\n@compiled()\ndef inner(x):\n    return x + {}\n"
OUTER = (
    "from .compiling import compiled\nfrom .inner_kernels import inner\n\n\n"
    "@compiled()\ndef outer(x):\n    return 10 * inner(x)\n"
)


@pytest.mark.parametrize("name", [name for name in KERNELS if name != "vector_kernels"])
def test_every_compiled_kernel_is_cached_under_the_hash_of_all_kernels(name: str) -> None:
    module = importlib.import_module(f"superconsistency.simulations.{name}")
    functions = [one for one in vars(module).values() if hasattr(one, "py_func")]
    assert functions
    for function in functions:
        assert f"kernels-{compiling.kernels_hash()}" in function._cache.cache_path


def run(folder: Path) -> str:
    code = "from rooms.outer_kernels import outer; print(outer(1), sum(outer.stats.cache_hits.values()))"
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_an_edited_kernel_that_another_file_inlines_runs_as_edited_with_a_warm_cache(tmp_path: Path) -> None:
    rooms = tmp_path / "rooms"
    rooms.mkdir()
    (rooms / "__init__.py").touch()
    (rooms / "compiling.py").write_text((FOLDER / "compiling.py").read_text())
    (rooms / "outer_kernels.py").write_text(OUTER)
    (rooms / "inner_kernels.py").write_text(INNER.format(1))
    assert run(tmp_path) == "20 0"
    assert run(tmp_path) == "20 1"  # the cache is warm
    (rooms / "inner_kernels.py").write_text(INNER.format(5))
    assert run(tmp_path) == "60 0"
    (rooms / "inner_kernels.py").write_text(INNER.format(1))
    assert run(tmp_path) == "20 1"  # what was compiled for these sources is still there


def test_a_folder_of_the_users_choice_is_taken(tmp_path: Path) -> None:
    code = (
        "from superconsistency.simulations.planar_kernels import planar_orbit\n"
        "from numba import config\n"
        "print(planar_orbit._cache.cache_path, config.CACHE_DIR, sep='\\n')\n"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    kept, chosen = done.stdout.splitlines()
    assert Path(kept).parent == tmp_path / f"kernels-{compiling.kernels_hash()}"
    assert chosen == str(tmp_path)
