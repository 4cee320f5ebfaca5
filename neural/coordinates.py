"""Coordinate check: how sizes of activations, of their changes and of weight changes go with width or depth.

For every layer, the exponents fitted over networks of several sizes are compared with those that the
parametrization table predicts (`theory.width_exponents`, `theory.depth_exponents`).

Source: Yang et al. 2022 (Tensor Programs V), Appendix D.1; Figure 28, Noci et al. 2024.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import xarray as xr

from ..errors import invalid, require_distinct, require_known, require_whole
from ..records import provenance
from ..records.statistics import power_law_fit
from ..theory import SGD, depth_exponents, regime, width_exponents
from ..theory.parametrization import ATTENTION
from .data import IMAGES, TOKENS
from .networks import scaled_layers
from .networks.layers import Norm
from .training import Cohort, Probe, Run, TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..theory import Array, Parametrization
    from .data import Dataset
    from .networks import ScaledLayer, Scales

WIDTH, DEPTH = "width", "depth"
QUANTITIES = ACTIVATION, CHANGE, OWN_CHANGE, WEIGHT_CHANGE = (
    "activation",
    "change",
    "own_change",
    "weight_change",
)
"""What is measured of a layer: mean |h| at initialisation, mean |change of h| since, the part of it by way of
the layer's own weights (on its initial inputs), and mean |change of W|. Changes of outputs are weighted by
the size of the loss's gradient in them at initialisation: where the loss does not look, as at a vision
transformer's patches after the last block, or at the logits of words that do not occur, they are
incoherent."""

_STARTS = 4
"""Networks at initialisation for each that is trained: a readout has few outputs, whose mean is noisy."""

TOLERANCE = 0.1
"""Distance of a fitted exponent from the predicted one that passes."""

PASSED, FAILED, UNDECIDED = "passed", "failed", "undecided"


class Fit(NamedTuple):
    """One exponent of one layer."""

    layer: str
    quantity: str
    """One of `QUANTITIES`."""
    exponent: float
    """Fitted to the means over seeds (means of logarithms would see their spread, which falls with width)."""
    interval: tuple[float, float]
    """95%, from the bootstrap over seeds; infinite with one."""
    predicted: tuple[float, float]
    """What the table predicts; two numbers that differ where terms of different exponents add up."""
    verdict: str
    """`passed`, `failed`, or `undecided` where the interval reaches what would pass."""

    @property
    def words(self) -> str:
        """The fit and what was predicted."""
        low, high = self.predicted
        expected = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        reach = f"{self.interval[0]:.2f} to {self.interval[1]:.2f}"
        name = self.quantity.replace("_", " ")
        return f"{self.layer}: {name} {self.exponent:.2f} (95% {reach}), predicted {expected}"


class CoordinateReport(NamedTuple):
    """A coordinate check."""

    fits: tuple[Fit, ...]
    record: xr.Dataset
    """Every quantity, dimensions (layer, size, seed, step); NaN for a layer that a network has not."""
    verdict: str
    """`passed` if every fit did, `failed` if one did, else `undecided`."""

    @property
    def sentence(self) -> str:
        """The verdict, and the fits that stand out."""
        worst = [fit for fit in self.fits if fit.verdict == self.verdict != PASSED]
        if not worst:
            farthest = max(self.fits, key=_distance)
            return f"{PASSED}: {len(self.fits)} exponents within {TOLERANCE:g}; farthest {farthest.words}"
        return f"{self.verdict}: {len(worst)} of {len(self.fits)} exponents; " + "; ".join(
            fit.words for fit in sorted(worst, key=_distance, reverse=True)[:3]
        )


@dataclass(frozen=True)
class CoordinateCheck:
    """What is checked.

    Attributes
    ----------
    config
        Network, parametrization, optimizer and loss; the rest of its settings is not used.
    learning_rate
        eta0; small, so that the first order in it is what is seen.
    size
        `width` or `depth`.
    sizes
        At least two, different.
    width
        Where the depth varies.
    steps
        At which changes are measured; the last of them is judged.
    seeds
        Of initialisation and data order.

    Raises
    ------
    InputError
        If a value is out of range.
    """

    config: TrainingConfig
    learning_rate: float
    size: str = WIDTH
    sizes: tuple[int, ...] = (64, 128, 256, 512)
    width: int = 64
    steps: tuple[int, ...] = (1, 2, 3)
    seeds: tuple[int, ...] = tuple(range(8))

    def __post_init__(self) -> None:
        require_known("size", self.size, (WIDTH, DEPTH))
        require_distinct(f"{self.size}s", self.sizes)
        require_whole(f"number of {self.size}s", len(self.sizes), least=2, example=4)
        require_distinct("steps", self.steps)
        require_distinct("seeds", self.seeds)
        if self.size == DEPTH and not hasattr(self.config.architecture, "depth"):
            raise invalid(
                "network", type(self.config.architecture).__name__, accepted="one that has a depth",
                remedy="choose resnet, say",
            )  # fmt: skip

    @property
    def every_seed(self) -> tuple[int, ...]:
        """The seeds, then those of networks that are only seen at initialisation."""
        further = range(max(self.seeds) + 1, max(self.seeds) + 1 + (_STARTS - 1) * len(self.seeds))
        return (*self.seeds, *further)

    def at(self, size: int, seed: int) -> tuple[TrainingConfig, Run]:
        """Settings and run of one network."""
        config = replace(
            self.config, steps=max(self.steps), batch_size=None, quantities=(), augmentation=None
        )
        width = size if self.size == WIDTH else self.width
        if self.size == DEPTH:
            deeper: Any = replace(config.architecture, depth=size)  # type: ignore[type-var]
            config = replace(config, architecture=deeper)
        return config, Run(width, self.learning_rate, seed)


def default_steps(table: Parametrization, optimizer: str) -> tuple[int, ...]:
    """Steps to check at: one where a second would no longer be of first order, as what changes grows."""
    return (1, 2, 3) if regime(table, optimizer).stable else (1,)


def coordinate_check(
    check: CoordinateCheck,
    data: Dataset,
    *,
    examples: int | None = None,
    on_progress: Callable[[float, float], None] = lambda _done, _total: None,
) -> CoordinateReport:
    """Measure networks of every size, fit exponents and compare them with the table's.

    Parameters
    ----------
    check, data
        What, and out of which examples, on the device to train on.
    examples
        How many of them every network is trained and measured on, all at each step; None is 16, or one
        sequence's first 8 tokens. The exponents are those of widths beyond the number of a layer's different
        inputs.
    on_progress
        Called with (work done, in all).

    Raises
    ------
    InputError
        If the network does not fit the data.
    """
    few = _few(data, examples)
    tally = _Tally(check)
    work = np.array(check.sizes, dtype=float) ** (2 if check.size == WIDTH else 1)
    total, done = float(work.sum()) * len(check.seeds), 0.0
    for index, size in enumerate(check.sizes):
        for place, seed in enumerate(check.every_seed):
            network = _Network(*check.at(size, seed), few)
            trained = place < len(check.seeds)
            for layer, values in network.measured(check.steps if trained else ()).items():
                tally.add(layer, network.rows[layer], values, (index, place))
            done += float(work[index]) if trained else 0.0
            on_progress(done, total)
    means = tally.means()
    attends = any(row.kind == ATTENTION for row in tally.rows.values())
    fits = tuple(
        _fit(check, (layer, quantity), values, predicted)
        for (layer, quantity), values in means.items()
        if (predicted := _prediction(check, tally.rows[layer], quantity, attends=attends)) is not None
    )
    return CoordinateReport(fits, _record(check, means), _verdict([fit.verdict for fit in fits]))


def _few(data: Dataset, examples: int | None) -> Dataset:
    """The first examples of a shuffled data set."""
    count = examples or (1 if data.kind == TOKENS else 16)
    if examples is None and data.kind == TOKENS:
        data = data._replace(inputs=data.inputs[:, :8], targets=data.targets[:, :8])
    require_whole("examples", count, least=1, most=data.examples, example=16)
    rows = torch.from_numpy(np.random.default_rng(0).permutation(data.examples)[:count])
    rows = rows.to(data.targets.device)
    inputs = data.inputs[rows]
    if data.kind == IMAGES:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    return data._replace(inputs=inputs, targets=data.targets[rows])


class _Network:
    """One network, and what its layers do in training."""

    def __init__(self, config: TrainingConfig, run: Run, data: Dataset) -> None:
        self.inputs, self.targets = data.inputs, data.targets
        self.cohort = Cohort(config, data, Probe(config, data), (run,))
        self.model = self.cohort.models[0]
        self.layers = {
            name: layer for name, layer in scaled_layers(self.model) if not isinstance(layer, Norm)
        }
        self.rows = {name: layer.scales["weight"] for name, layer in self.layers.items()}

    def measured(self, steps: Sequence[int]) -> dict[str, dict[str, Array]]:
        """Every quantity at every step, by layer."""
        start = self._passes()
        shares = self._shares(start)
        start = {name: _Pass(*(part.detach() for part in seen)) for name, seen in start.items()}
        weights = {name: _weight(layer).clone() for name, layer in self.layers.items()}
        changes: dict[str, list[tuple[float, ...]]] = {name: [] for name in self.layers}

        @torch.no_grad()
        def note(cohort: Cohort) -> None:
            if cohort.step not in steps:
                return
            now = self._passes()
            for name, layer in self.layers.items():
                total = now[name].outputs - start[name].outputs
                own = layer(start[name].inputs) - start[name].outputs
                means = [float((shares[name] * part.abs()).sum()) for part in (total, own)]
                moved = float((_weight(layer) - weights[name]).abs().mean())
                changes[name].append((*means, moved))

        for _ in self.cohort.train(note) if steps else ():
            pass
        found = {
            name: {ACTIVATION: np.array(float(seen.outputs.abs().mean()))} for name, seen in start.items()
        }
        for name, rows in changes.items():
            found[name] |= dict(zip(QUANTITIES[1:], np.array(rows).T, strict=True)) if rows else {}
        return found

    def _shares(self, start: dict[str, _Pass]) -> dict[str, torch.Tensor]:
        """Size of the loss's gradient in every output of a layer, over their sum."""
        outputs = [seen.outputs for seen in start.values()]
        loss = self.cohort.probe.criterion(outputs[-1], self.targets)
        gradients = torch.autograd.grad(loss, outputs, materialize_grads=True)
        sizes = {name: gradient.abs() for name, gradient in zip(start, gradients, strict=True)}
        return {name: size / size.sum() for name, size in sizes.items()}

    def _passes(self) -> dict[str, _Pass]:
        """Inputs and outputs of every layer on the examples, the readout's last."""
        seen: dict[str, _Pass] = {}
        hooks = [
            layer.register_forward_hook(
                lambda _layer, given, outputs, name=name: seen.__setitem__(name, _Pass(given[0], outputs))
            )
            for name, layer in self.layers.items()
        ]
        try:
            self.model(self.inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return seen


def _weight(layer: ScaledLayer) -> torch.Tensor:
    return layer.get_parameter("weight").detach()


class _Pass(NamedTuple):
    """What a layer was given, and what it made of it."""

    inputs: torch.Tensor
    outputs: torch.Tensor


class _Tally:
    """Means over the layers of a group, of every quantity in every network."""

    def __init__(self, check: CoordinateCheck) -> None:
        self.check = check
        self.shape = (len(check.sizes), len(check.every_seed), len(check.steps))
        self.rows: dict[str, Scales] = {}
        self.sums: dict[tuple[str, str], Array] = {}
        self.counts: dict[tuple[str, str], Array] = {}

    def add(self, layer: str, row: Scales, values: dict[str, Array], cell: tuple[int, int]) -> None:
        """Add one layer of one network."""
        name = _group(layer, row) if self.check.size == DEPTH else layer
        self.rows[name] = row
        for quantity, numbers in values.items():
            key = (name, quantity)
            self.sums.setdefault(key, np.zeros(self.shape))[cell] += numbers
            self.counts.setdefault(key, np.zeros(self.shape))[cell] += 1

    def means(self) -> dict[tuple[str, str], xr.DataArray]:
        """By layer and quantity; NaN where a network has no such layer."""
        axes = {
            "size": list(self.check.sizes),
            "seed": list(self.check.every_seed),
            "step": list(self.check.steps),
        }
        return {
            key: xr.DataArray(
                np.divide(
                    sums, self.counts[key], out=np.full(self.shape, np.nan), where=self.counts[key] > 0
                ),
                axes,
                tuple(axes),
            )
            for key, sums in self.sums.items()
        }


def _group(layer: str, row: Scales) -> str:
    """Name of the layers that one belongs to where networks differ in how many they have."""
    if row.in_branch:
        return f"branches, {layer.rsplit('.', 1)[-1]}" if not layer[-1].isdigit() else "branches"
    return layer


def _prediction(
    check: CoordinateCheck, row: Scales, quantity: str, *, attends: bool
) -> tuple[float, float] | None:
    """Smallest and largest exponent that the table predicts; None where there is no power law."""
    table, optimizer = check.config.parametrization, check.config.optimizer.name
    if check.size == DEPTH and row.in_branch and quantity == CHANGE:
        return None  # that of the stream, which is less than the readout's by how far up the branch is
    if check.size == DEPTH and row.kind == ATTENTION and optimizer == SGD:
        return None  # its gradient is small at the start, and larger the more has been learned
    if check.size == WIDTH:
        found = width_exponents(table, row.kind, optimizer, attends=attends)
    else:
        found = depth_exponents(table, row.kind, optimizer, in_branch=row.in_branch)
    if quantity == CHANGE:
        ends = (found.least_change, found.change)
        return None if None in ends else (float(ends[0] or 0), float(ends[1] or 0))
    value = {
        ACTIVATION: found.activation,
        OWN_CHANGE: found.own_change,
        WEIGHT_CHANGE: found.weight_change,
    }[quantity]
    return None if value is None else (float(value), float(value))


def _fit(
    check: CoordinateCheck,
    place: tuple[str, str],
    values: xr.DataArray,
    predicted: tuple[float, float],
) -> Fit:
    """Slope of the log mean over seeds, at the last step, on the log size."""
    seen = values.isel(step=-1).dropna("seed", how="all").transpose("seed", "size").to_numpy()
    found = power_law_fit(check.sizes, seen, generator=np.random.default_rng(0), paired=False)
    (bottom, top), exponent = found.interval, found.exponent
    low, high = predicted[0] - TOLERANCE, predicted[1] + TOLERANCE
    verdict = FAILED
    if low <= exponent <= high:
        verdict = PASSED
    elif bottom <= high and top >= low:
        verdict = UNDECIDED
    return Fit(*place, exponent, found.interval, predicted, verdict)


def _distance(fit: Fit) -> float:
    """From what was predicted."""
    low, high = fit.predicted
    return max(low - fit.exponent, fit.exponent - high, 0.0)


def _verdict(found: Sequence[str]) -> str:
    return next((one for one in (FAILED, UNDECIDED) if one in found), PASSED)


def _record(check: CoordinateCheck, means: dict[tuple[str, str], xr.DataArray]) -> xr.Dataset:
    layers = list(dict.fromkeys(layer for layer, _ in means))
    return xr.Dataset(
        {
            quantity: xr.concat([means[layer, quantity] for layer in layers], dim="layer").assign_coords(
                layer=layers
            )
            for quantity in QUANTITIES
        },
        attrs={
            **provenance(check.config.document(), seeds=check.seeds, data_hash=None),
            "size": check.size,
            "learning_rate": check.learning_rate,
        },
    )
