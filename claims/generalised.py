"""Claims about the one-line law beyond Theorem 5.1: derived, and against PyTorch on the raw weights."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from ..records.tables import Table
from ..theory import PARAMETRIZATIONS
from ..theory.generalised import (
    Descent,
    GeneralisedState,
    LayerWeights,
    LinearNetwork,
    cross_entropy_gradient,
    descent_step,
    gaussian_layers,
    initial_factors,
    joint_gram,
    readout,
    squared_gradient,
    step_matrix,
)
from .checks import compared, derived
from .ledger import CheckResult, Claim, Evidence, Kind, Settings, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from ..theory import Array

RECIPE_STEPS = 100
RECIPE_TOLERANCE = 1e-10
RECIPE_EXAMPLES, BATCH = 24, 8
SHAPES = ((6, 40), (6, 5), (4, 1), (1, 8))
"""Sizes (D, N): N above and below D + K, one neuron, one input."""
LEAST_MOVEMENT = 0.2
"""Half the networks of a recipe have to move W by this part of its norm for the comparison to count."""


class Recipe(NamedTuple):
    """One training recipe; the defaults are those of Theorem 5.1."""

    name: str
    outputs: int = 1
    cross_entropy: bool = False
    general_data: bool = False
    noise: float = 0.0
    batch: int | None = None
    momentum: float = 0.0
    weight_decay: float = 0.0


RECIPES = (
    Recipe("Theorem 5.1"),
    Recipe("three outputs", outputs=3),
    Recipe("general data", general_data=True),
    Recipe("label noise", noise=0.5),
    Recipe("mini-batches", general_data=True, batch=BATCH),
    Recipe("cross-entropy", outputs=3, cross_entropy=True),
    Recipe("momentum 0.9", momentum=0.9),
    Recipe("weight decay 0.01", weight_decay=0.01),
    Recipe("all together", 3, True, True, 0.2, BATCH, 0.9, 0.01),
)


class Data(NamedTuple):
    """Training data and the examples of every step."""

    inputs: Array
    """Shape (n, D)."""
    targets: NDArray[np.float64] | NDArray[np.int64]
    """Shape (n, K), or labels, shape (n,), for the cross-entropy."""
    batches: tuple[NDArray[np.int64], ...]


class Comparison(NamedTuple):
    """Largest relative errors over all steps, and how far W went."""

    factors: float
    gram: float
    movement: float
    """Largest distance of W from its start, over its largest norm."""


def made_data(case: Recipe, dimension: int, generator: np.random.Generator) -> Data:
    """Inputs, noisy targets of a random linear teacher, and batches.

    Without general data the inputs are `sqrt(D) I`, whitened. Noise is added to the targets, or redraws that
    fraction of the labels.
    """
    inputs = np.sqrt(dimension) * np.eye(dimension)
    if case.general_data:
        inputs = generator.standard_normal((RECIPE_EXAMPLES, dimension))
    teacher = generator.standard_normal((dimension, case.outputs))
    clean = inputs @ teacher / np.linalg.norm(teacher)
    batches = tuple(
        np.arange(len(inputs))
        if case.batch is None
        else generator.choice(len(inputs), size=case.batch, replace=False)
        for _ in range(RECIPE_STEPS)
    )
    if not case.cross_entropy:
        return Data(inputs, clean + case.noise * generator.standard_normal(clean.shape), batches)
    labels = np.argmax(clean, axis=1)
    redrawn = generator.random(len(labels)) < case.noise
    labels[redrawn] = generator.integers(case.outputs, size=int(redrawn.sum()))
    return Data(inputs, labels, batches)


def descent_of(case: Recipe, network: LinearNetwork, layers: LayerWeights, data: Data) -> Descent:
    """A learning rate of a quarter of the stability threshold `2/sharpness`, times 1 - momentum.

    The Gauss-Newton matrix is at most the NTK times the second moment of a batch's inputs and the Hessian of
    the loss in the outputs (at most 1/2 for the softmax, else 1). The NTK, `lambda_max(e) + lambda_max(v)` at
    the start, may grow by the `2 kappa |W*|` of a balanced minimizer, W* being the least-squares map.
    """
    _, e, v = readout(network, joint_gram(initial_factors(network, layers)))
    wanted = np.eye(case.outputs)[data.targets] if case.cross_entropy else data.targets
    solution = np.linalg.lstsq(data.inputs, wanted, rcond=None)[0]
    kernel = np.linalg.eigvalsh(e)[-1] + np.linalg.eigvalsh(v)[-1]
    kernel += 2 * network.kappa * np.linalg.norm(solution, 2)
    moments = [np.linalg.norm(data.inputs[batch], 2) ** 2 / len(batch) for batch in data.batches]
    curvature = float(max(moments) * kernel) * (0.5 if case.cross_entropy else 1.0)
    return Descent(0.5 * (1 - case.momentum) / curvature, case.momentum, case.weight_decay)


def batch_gradients(data: Data) -> Iterator[Callable[[Array], Array]]:
    """The gradient in W of every step's batch, in closed form."""
    for batch in data.batches:
        inputs, targets = data.inputs[batch], data.targets[batch]
        if targets.ndim == 1:
            yield partial(cross_entropy_gradient, inputs=inputs, labels=targets.astype(np.int64))
        else:
            yield partial(squared_gradient, inputs=inputs, targets=targets.astype(np.float64))


class Prediction(NamedTuple):
    """What the law says of the state after a step."""

    factors: GeneralisedState
    """From the factors, which run freely from the start."""
    gram: GeneralisedState
    """From the joint Gram matrix before the step, by `J+ = A J A^T`."""


def by_law(
    network: LinearNetwork, layers: LayerWeights, data: Data, settings: Descent
) -> Iterator[Prediction]:
    """The law in both forms, after every step."""
    state = initial_factors(network, layers)
    for gradient in batch_gradients(data):
        gram = joint_gram(state)
        matrix = step_matrix(network, gradient(readout(network, gram).w), settings)
        state = descent_step(state, network, gradient, settings)
        yield Prediction(readout(network, joint_gram(state)), readout(network, matrix @ gram @ matrix.T))


def by_autograd(
    network: LinearNetwork, layers: LayerWeights, data: Data, settings: Descent
) -> Iterator[GeneralisedState]:
    """`torch.optim.SGD` on the raw weights E and V, the gradients by autograd; the state after every step."""
    weights = [torch.tensor(layer, requires_grad=True) for layer in layers]
    optimizer = torch.optim.SGD(
        weights,
        lr=settings.learning_rate * network.learning_rate_scale,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    inputs, targets = torch.tensor(data.inputs), torch.tensor(data.targets)
    for batch in map(torch.from_numpy, data.batches):
        outputs = inputs[batch] @ (network.multiplier * weights[0] @ weights[1])
        if targets.ndim == 1:
            loss = functional.cross_entropy(outputs, targets[batch])
        else:
            loss = 0.5 * (outputs - targets[batch]).square().sum(dim=1).mean()
        for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.grad = slope
        optimizer.step()
        yield _seen(network, weights)


def _seen(network: LinearNetwork, weights: list[torch.Tensor]) -> GeneralisedState:
    first, second = (weight.detach().numpy() for weight in weights)
    return GeneralisedState(
        network.multiplier * first @ second,
        network.gram * first @ first.T,
        network.gram * second.T @ second,
    )


def compare_recipe(case: Recipe, network: LinearNetwork, generator: np.random.Generator) -> Comparison:
    """Run the law and PyTorch from the same weights on the same batches."""
    layers = gaussian_layers(network, generator)
    data = made_data(case, network.dimension, generator)
    run = (network, layers, data, descent_of(case, network, layers, data))
    reference = list(by_autograd(*run))
    start = network.multiplier * layers.first @ layers.second
    norms = [np.linalg.norm(state.w) for state in reference]
    distances = [np.linalg.norm(state.w - start) for state in reference]
    free, single = zip(*by_law(*run), strict=True)
    movement = float(np.max(distances) / np.max([*norms, np.linalg.norm(start)]))
    return Comparison(_largest_error(free, reference), _largest_error(single, reference), movement)


def _largest_error(found: Sequence[GeneralisedState], reference: Sequence[GeneralisedState]) -> float:
    """Largest over steps and w, e, v of the error in the maximum norm, relative to it; NaN if anything is."""
    errors = [
        np.max(np.abs(value - expected)) / np.max(np.abs(expected))
        for state, truth in zip(found, reference, strict=True)
        for value, expected in zip(state, truth, strict=True)
    ]
    return float(np.max(errors))


def _network(settings: Settings, report: Callable[[float], None]) -> CheckResult:
    rows: list[tuple[str, float, float, float, float]] = []
    networks = list(product(PARAMETRIZATIONS.values(), SHAPES))
    for done, case in enumerate(RECIPES, start=1):
        found = [
            compare_recipe(
                case,
                LinearNetwork(table, width, dimension, case.outputs),
                np.random.default_rng([settings.seed, done, index]),
            )
            for index, (table, (dimension, width)) in enumerate(networks)
        ]
        free, single, movement = (np.array(column) for column in zip(*found, strict=True))
        went = float(np.median(movement))
        rows.append((case.name, float(free.max()), float(single.max()), went, float(movement.min())))
        report(done / len(RECIPES))
    return _judged(rows, len(networks), settings)


def _judged(
    rows: list[tuple[str, float, float, float, float]], networks: int, settings: Settings
) -> CheckResult:
    """Verified if both forms agree and, in every recipe, half the networks went far enough to count."""
    largest = float(np.max([row[1:3] for row in rows]))  # NaN, unlike with max(), if one is
    movement = min(row[3] for row in rows)
    summary = (
        f"largest relative error of W, e, v {largest:.1e} over {len(rows)} recipes, {networks} networks "
        f"each, {RECIPE_STEPS} steps; median distance W moved at least {movement:.0%} of its norm"
    )
    table = Table(
        f"{networks} networks (D, N) = {', '.join(map(str, SHAPES))} under NTP, muP, SP; largest errors",
        ("recipe", "factors, free run", "Gram matrix, each step", "median movement of W", "least"),
        tuple(rows),
    )
    figures = {"least median movement of W": movement, "steps": RECIPE_STEPS}
    evidence = Evidence(summary, figures, largest, RECIPE_TOLERANCE, (settings.seed,), tables=(table,))
    return compared(evidence) if movement >= LEAST_MOVEMENT else CheckResult(Verdict.REFUTED, evidence)


GENERALISED_CLAIMS = (
    Claim(
        id="generalised-law",
        room="theory",
        statement=(
            "Training with any loss, several outputs, any data, momentum and weight decay is one product "
            "on the stacked weights, and closes on a Gram matrix whose size does not depend on width"
        ),
        source="beyond the paper",
        kind=Kind.SYMBOLIC,
        method="matrix calculus, every D, N, K; gradients entry by entry for an undefined loss at 5 sizes",
        check=partial(
            derived,
            "generalised",
            "",
            "gradients, product, laws of W, e, v and the joint Gram matrix with momentum leave nothing",
        ),
    ),
    Claim(
        id="generalised-law-network",
        room="theory",
        statement="The generalised law is stochastic gradient descent on the raw weights, to rounding",
        source="beyond the paper",
        kind=Kind.NUMERIC,
        method="NumPy law against autograd and torch.optim.SGD; each extension alone, then all together",
        check=_network,
    ),
)
