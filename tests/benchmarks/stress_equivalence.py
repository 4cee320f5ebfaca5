"""A wide ConvNet in two equivalent forms: how far its losses part, in single and in double precision.

Prints the largest relative difference over the steps; exit code 1 beyond 1e-5 and 1e-11.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import torch
from superconsistency.cli.console import progress_bar, stdout
from superconsistency.neural import Dataset, TrainingConfig, load_dataset
from superconsistency.neural.training import Measurement, Probe, Run, RunGroup
from superconsistency.theory import Parametrization, Scale, parametrization
from superconsistency.theory.parametrization import HALF

ALLOWED = {torch.float32: 1e-5, torch.float64: 1e-11}
FACTORS = {"hidden": Scale.of(width=HALF), "readout": Scale.of(width=-HALF), "first": Scale.of(width=1)}
RATE, EXAMPLES = 0.1, 64


def losses(
    table: Parametrization, start: RunGroup | None, data: Dataset, width: int, steps: int
) -> tuple[RunGroup, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """A run's losses at every step, from the function that another run began with."""
    config = TrainingConfig(
        table, steps=steps, batch_size=None, measure_every=1, quantities=(), evaluation_examples=EXAMPLES
    )
    group = RunGroup(config, data, Probe(config, data), (Run(width, RATE, 0),))
    first = RunGroup(config, data, Probe(config, data), (Run(width, RATE, 0),)) if start is None else group
    if start is not None:
        with torch.no_grad():
            for parameter, row, given, rule in zip(
                group.parameters, group.rows, start.parameters, start.rows, strict=True
            ):
                parameter.copy_(given * (rule.multiplier / row.multiplier))
    found = []
    with progress_bar(f"{table.name}, {data.inputs.dtype}") as update:
        for event in group.train():
            if isinstance(event, Measurement):
                found.append(event.values["loss"])
                update(event.step, steps)
    return first, np.array(found)


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=500, help="not a power of two, whose roots are exact")
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    data = load_dataset("digits", examples=EXAMPLES)
    wrong = False
    table = parametrization("mup")
    for dtype, allowed in ALLOWED.items():
        cast = data._replace(inputs=data.inputs.to(dtype))
        start, ours = losses(table, None, cast, options.width, options.steps)
        _, theirs = losses(table.rescaled(**FACTORS), start, cast, options.width, options.steps)
        difference = float((np.abs(ours - theirs) / ours).max())
        wrong |= difference > allowed
        stdout().print(
            f"SimpleConvNet of width {options.width}, {options.steps} steps, {dtype}: losses from "
            f"{ours[0]:.3f} to {ours[-1]:.3f} differ by a relative {difference:.1e} (allowed {allowed:g})"
        )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
