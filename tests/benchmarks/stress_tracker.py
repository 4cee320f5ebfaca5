"""How often a certified sharpness lies outside its bound: trackers against dense Hessians, many runs.

Small networks of every kind, two losses, both ends of the spectrum, ten stages of training, 8 or 60 steps
apart, which is further than a tracker is meant for. Prints every miss.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from superconsistency.cli.console import progress_bar
from superconsistency.neural.curvature import DenseOperator, Hessian, SpectrumTracker

CASES = Path(__file__).parents[1] / "neural" / "curvature" / "conftest.py"
LOSSES = ("cross-entropy", "mse")
ENDS = ("largest", "smallest")
STAGES = (8,) * 6 + (60,) * 4
"""Steps of SGD after each stage."""


def cases() -> Any:
    """The networks that the tests share."""
    spec = importlib.util.spec_from_file_location("curvature_cases", CASES)
    if spec is None or spec.loader is None:
        raise ImportError(CASES)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def followed(case: Any, seed: int) -> list[tuple[int, str, float, int]]:
    """Stage, end, error over its bound, and products of every search along a run."""
    trackers = {end: SpectrumTracker(end=end, seed=seed) for end in ENDS}
    found = []
    for stage, steps in enumerate(STAGES):
        matrix = Hessian(case.objective, case.batch).matrix()
        values = torch.linalg.eigvalsh(0.5 * (matrix + matrix.T)).numpy()
        rounding = 1e-13 * float(np.abs(values).max())
        for end, track in trackers.items():
            pairs = track(DenseOperator(matrix))
            error = abs(pairs.value - values[-1 if end == "largest" else 0]) - rounding
            found.append((stage, end, error / pairs.error_bound, pairs.matvecs))
        case.train(steps)
    return found


def main() -> None:
    """Count misses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--first-seed", type=int, default=2, help="below are those of the tests")
    options = parser.parse_args()
    shared = cases()
    products: list[int] = []
    misses: list[str] = []
    with progress_bar("searching") as update:
        for index in range(options.seeds):
            seed = options.first_seed + index
            for name in shared.MODELS:
                for loss in LOSSES:
                    for stage, end, ratio, spent in followed(shared.case(name, loss, seed=seed), seed):
                        products.append(spent)
                        if not ratio <= 1:
                            where = f"{name}, {loss}, seed {seed}, stage {stage}, {end}"
                            misses.append(f"{where}: {ratio:.2g} times its bound after {spent} products")
            update(index + 1, options.seeds)
    print(*misses, sep="\n")
    print(f"{len(misses)} of {len(products)} outside their bound; products: median {np.median(products):g}, "
          f"mean {np.mean(products):.1f}, most {max(products)}")  # fmt: skip


if __name__ == "__main__":
    main()
