"""Products a measurement at the edge of stability: the tracker at iterates and midpoints, and warm LOBPCG.

Full-batch gradient descent on 256 digits, mean square error, until several eigenvalues lie at the edge; then
the sharpness is measured at every step, at the iterate and at the second-order midpoint. SciPy's LOBPCG,
with one vector and with two, as many as the tracker follows, starts from its last ones and is brought, on the
same operators, to the residual that the tracker reached there. Every product is counted. Beside it the
critical sharpness: forward passes, and the difference from a fine line search in double precision. `--json`
prints one document with all numbers.
"""

from __future__ import annotations

import argparse
import copy
import sys
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.optimize import brentq
from scipy.sparse.linalg import lobpcg
from superconsistency.cli.console import print_json, progress_bar
from superconsistency.neural import Batch, Hessian, Objective, SpectrumTracker, load_dataset
from superconsistency.neural.curvature import Meter, linear_operator
from superconsistency.neural.curvature.midpoints import Midpoints
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

EXAMPLES, CHANNELS, SIDE, WIDTH, CLASSES = 256, 3, 8, 64, 10
OURS = "tracker"
PLACES = ("iterate", "midpoint")


class Setting(NamedTuple):
    """A network and the rate that brings it to the edge."""

    activation: Callable[[], nn.Module]
    rate: float


SETTINGS = {
    "tanh": Setting(nn.Tanh, 0.5),
    "gelu": Setting(nn.GELU, 0.6),
    "relu": Setting(nn.ReLU, 0.4),
}


class Rival:
    """LOBPCG with a block of vectors, warm from its last ones, brought to a residual."""

    def __init__(self, block: int) -> None:
        self.block = block
        self.vectors: NDArray[Any] | None = None

    def __call__(self, operator: Hessian, residual: float) -> tuple[float, int]:
        """The largest eigenvalue, and the products taken."""
        wrapped, before = linear_operator(operator), operator.matvecs
        start = self.vectors
        if start is None:
            start = np.random.default_rng(0).standard_normal((operator.size, self.block))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a later vector of the block may not converge
            values, self.vectors = lobpcg(wrapped, start.astype(wrapped.dtype), tol=residual, maxiter=100)
        return float(values[0]), operator.matvecs - before


class Place:
    """What measures at the iterates or at the midpoints."""

    def __init__(self) -> None:
        self.track = SpectrumTracker()
        self.rivals = {
            f"LOBPCG, {block} {word}": Rival(block) for block, word in ((1, "vector"), (2, "vectors"))
        }
        self.rows: list[dict[str, Any]] = []

    def measure(self, objective: Objective, batch: Batch) -> None:
        """Measure with everything on one operator."""
        operator = Hessian(objective, batch)
        found = self.track(operator)
        row: dict[str, Any] = {"value": found.value, "residual": found.residual, OURS: found.matvecs}
        for name, rival in self.rivals.items():
            _, row[name] = rival(operator, found.residual)
        self.rows.append(row)


class Critical:
    """The critical sharpness along a run, and by a fine line search."""

    def __init__(self) -> None:
        self.meter = Meter(["critical_sharpness"])
        self.passes: list[int] = []
        self.differences: list[float] = []

    def measure(self, objective: Objective, batch: Batch) -> None:
        """Measure both ways."""
        found = self.meter(objective, batch)["critical_sharpness"]
        self.passes.append(int(found.note.split()[0]))
        fine = 2 / first_rise(objective, batch, 4 / found.value)
        self.differences.append(abs(found.value / fine - 1))

    def summary(self) -> dict[str, float]:
        """Passes and differences."""
        return {
            "passes": float(np.median(self.passes)),
            "most_passes": max(self.passes),
            "difference": float(np.median(self.differences)),
            "largest_difference": max(self.differences),
        }


def first_rise(objective: Objective, batch: Batch, far: float) -> float:
    """The first rate at which the loss along the gradient is above its start: 400 rates, then bisection."""
    model = copy.deepcopy(objective.model).double()
    own, inputs = Objective(model, objective.criterion), Batch(batch.inputs.double(), batch.targets)
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    gradient = own.gradients(inputs)

    def rise(rate: float) -> float:
        moved = {name: value - rate * gradient[name] for name, value in start.items()}
        return own.loss_at(moved, inputs) - base

    base = own.loss_at(start, inputs)
    low = 0.0
    for rate in np.linspace(0, far, 401)[1:]:
        if rise(float(rate)) > 0:
            return float(brentq(rise, max(low, 1e-9 * far), float(rate), xtol=1e-12, rtol=1e-10))
        low = float(rate)
    return float("inf")


def network(setting: Setting) -> nn.Module:
    """A network of three hidden layers."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in in (CHANNELS * SIDE**2, WIDTH, WIDTH):
        layers += [nn.Linear(fan_in, WIDTH), setting.activation()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, CLASSES))


def digits() -> Batch:
    """The digits at their own size."""
    data = load_dataset("digits", examples=EXAMPLES)
    return Batch(functional.adaptive_avg_pool2d(data.inputs, SIDE), data.targets)


def along(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The measurements along one run."""
    setting, batch = SETTINGS[name], digits()
    model = network(setting)
    objective = Objective(model, "mse")
    optimizer = torch.optim.SGD(model.parameters(), lr=setting.rate)
    midpoints, places = Midpoints(model), {place: Place() for place in PLACES}
    critical = Critical()
    last = options.steps + options.every * options.measurements
    with progress_bar(name) as update:
        for step in range(last):
            optimizer.zero_grad()
            torch.autograd.backward(objective.criterion(model(batch.inputs), batch.targets))
            optimizer.step()
            midpoints.observe()
            if step >= options.steps and (step - options.steps) % options.every == 0:
                if (step - options.steps) % (8 * options.every) == 0:
                    critical.measure(objective, batch)
                for place, measuring in places.items():
                    with midpoints.weights() if place == "midpoint" else nullcontext():
                        measuring.measure(objective, batch)
            update(step + 1, last)
    edge = np.array([row["value"] for row in places["iterate"].rows]) * setting.rate / 2
    return {
        "network": name,
        "rate": setting.rate,
        "over_edge": [float(np.median(edge)), float(edge.min()), float(edge.max())],
        "measurements": {place: measuring.rows for place, measuring in places.items()},
        "products": {place: _summary(measuring.rows) for place, measuring in places.items()},
        "critical_sharpness": critical.summary(),
    }


def _summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Products of each side; the first measurement, which nothing was known for, is left out."""
    sides = [name for name in rows[0] if name not in {"value", "residual"}]
    counts = {name: np.array([row[name] for row in rows[1:]]) for name in sides}
    return {
        name: {"median": float(np.median(own)), "mean": float(own.mean()), "most": int(own.max())}
        for name, own in counts.items()
    }


def table(results: list[dict[str, Any]]) -> Table:
    """One row a network and place."""
    found = Table(title="products a measurement: mean (median, most)")
    sides = list(results[0]["products"]["iterate"])
    for heading in ("network", "sharpness over edge", "measured at", *sides, "LOBPCG over tracker"):
        found.add_column(heading)
    for result in results:
        for place, products in result["products"].items():
            middle, low, high = result["over_edge"]
            ratios = ", ".join(
                f"{own['mean'] / products[OURS]['mean']:.1f}" for own in list(products.values())[1:]
            )
            found.add_row(
                result["network"],
                f"{middle:.3f} ({low:.3f} to {high:.3f})",
                place,
                *(f"{own['mean']:.1f} ({own['median']:g}, {own['most']})" for own in products.values()),
                ratios,
            )
    return found


def sentences(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over all networks, and their ratios."""
    places = {
        place: {
            side: float(np.mean([result["products"][place][side]["mean"] for result in results]))
            for side in results[0]["products"][place]
        }
        for place in PLACES
    }
    ours = places["midpoint"][OURS]
    rivals = {
        f"{side}, {place}": products / ours
        for place, sides in places.items()
        for side, products in sides.items()
        if side != OURS
    }
    return {"mean_products": places, "over_tracker_at_midpoints": rivals}


def arguments() -> argparse.Namespace:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--steps", type=int, default=1500, help="before the first measurement")
    parser.add_argument("--measurements", type=int, default=64)
    parser.add_argument("--every", type=int, default=1, help="steps between measurements")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = arguments()
    console = Console(width=None if sys.stdout.isatty() else 160, quiet=options.json, highlight=False)
    results = [along(name, options) for name in options.networks]
    whole = sentences(results)
    console.print(table(results))
    for place, sides in whole["mean_products"].items():
        console.print(
            f"at the {place}, mean over networks: "
            + ", ".join(f"{side} {own:.1f}" for side, own in sides.items())
        )
    console.print(
        "over the tracker at midpoints: "
        + ", ".join(f"{side} {own:.1f}" for side, own in whole["over_tracker_at_midpoints"].items())
    )
    for result in results:
        own = result["critical_sharpness"]
        console.print(
            f"critical sharpness, {result['network']}: {own['passes']:g} values of the loss (at most "
            f"{own['most_passes']}), off from a fine line search by {own['difference']:.1e} (at most "
            f"{own['largest_difference']:.1e})"
        )
    if options.json:
        setting = {"torch": torch.__version__, "threads": torch.get_num_threads(), "every": options.every}
        print_json({**setting, **whole, "networks": results})


if __name__ == "__main__":
    main()
