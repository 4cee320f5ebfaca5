"""Sweeps that the tests run, and how their results are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr
from superconsistency import open_results
from superconsistency.runner import HERE, Executor, Group, LatentModel, Plan, carry_out, look
from superconsistency.runner.groups import rectangles

THIRTY_SIX = """
[data]
dataset = "digits"
examples = 64

[settings]
steps = 6
measure_every = 3
hessian_examples = 8
evaluation_examples = 16

[[grid]]
architecture = "two-layer-linear"
parametrization = ["mup", "ntp"]
batch_size = 16
width = [4, 8, 16]
learning_rate = [0.01, 0.03, 0.1]
seeds = 2
"""
"""Two-layer networks on digits, in 12 groups of 3 runs."""

SIXTY = f"""{THIRTY_SIX}
[[grid]]
architecture = "simple-convnet"
parametrization = ["mup", "ntp"]
batch_size = 16
width = [2, 4]
learning_rate = [0.1, 0.3]
seeds = 3
"""
"""And 24 SimpleConvNets, in 12 groups of 2 runs."""

LATENT = """
model = "latent"

[settings]
dimension = 5
steps = 20

[grid]
parametrization = ["mup", "ntp"]
width = [8, 64]
learning_rate = [0.2, 0.4]
seeds = 2
"""


def written(folder: Path, text: str, name: str = "grid.toml") -> Path:
    """A file with the text."""
    path = folder / name
    path.write_text(text)
    return path


def same_bits(one: xr.Dataset, other: xr.Dataset) -> bool:
    """Whether two datasets are the same, to the bit and the attribute."""
    return one.identical(other) and all(
        one[name].to_numpy().tobytes() == other[name].to_numpy().tobytes() for name in one.variables
    )


def files(folder: Path) -> list[Path]:
    """Files of the complete groups in a folder."""
    return sorted((folder / "runs").glob("*/*/[0-9a-f]*.nc"))


def finished(plan: Plan, folder: Path, executor: Executor = HERE) -> xr.Dataset:
    """The results of a plan, after doing what is left of it."""
    carry_out(plan, folder, executor, look(plan, folder))
    results: xr.Dataset = open_results(folder)
    return results.load()


@dataclass(frozen=True)
class Single(LatentModel):
    """Latent systems, each of them a group of its own."""

    def groups(self, shared: Any, rates_of: Mapping[int, list[float]]) -> Iterator[Group]:
        yield from rectangles(shared, rates_of, lambda seed: seed, 1)
