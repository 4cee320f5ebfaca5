"""Many parameters: the right eigenvalue, in few vectors. `make bench-curvature` does it with ten million."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "tracker_memory.py"
PARAMETERS = 2_500_000


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(("shape", "rounding"), [("layers", 1e-6), ("tensor", 2e-4)])
def test_millions_of_parameters_converge_in_block_plus_four_vectors_beyond_the_graph(
    shape: str, rounding: float
) -> None:
    """The products of a layer with a million inputs are themselves rounded by more."""
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, SCRIPT, shape, str(PARAMETERS)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["parameters"] == PARAMETERS
    assert found["converged"]
    assert found["quotient"] == pytest.approx(found["value"], rel=rounding)
    assert found["vectors"] <= found["block"] + 4
