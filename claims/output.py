"""Claims about Appendix D and Eq. 25: Gauss-Newton matrix, NTK and output Hessian with several outputs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.func import jacrev

from ..records.tables import Table
from ..theory.output_loss import gauss_newton, neural_tangent_kernel, softmax_curvature_bound, softmax_hessian
from .checks import compared, corrected, derived, holds
from .ledger import CheckResult, Claim, Correction, Evidence, Kind, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..theory import Array

SPECTRUM_TOLERANCE = 1e-10

NETWORK_SIZES = ((6, 2, 4, 3), (1, 2, 4, 3), (6, 2, 4, 1), (5, 1, 1, 1), (10, 3, 2, 5))
"""Examples, inputs, hidden width, outputs; parameters above and below outputs times examples."""

CLASSIFIER_EXAMPLES, CLASSES = 24, 3
CLASSIFIER_STEPS, CHECKPOINTS = 2400, 8
LEARNING_RATE = 1.0


class Curvature(NamedTuple):
    """A network's curvature by dense autograd; P parameters, n examples, K outputs."""

    jacobian: Array
    """Jacobian of the outputs in the parameters, shape (n, K, P)."""
    models: Array
    """Hessian of each output in the parameters, shape (n, K, P, P)."""
    outputs: Array
    """Shape (n, K)."""


class Perceptron:
    """A tanh network with one hidden layer, in float64, as a function of flat parameters."""

    def __init__(self, inputs: int, hidden: int, outputs: int, generator: torch.Generator) -> None:
        self._shapes = ((inputs, hidden), (hidden,), (hidden, outputs), (outputs,))
        count = sum(torch.Size(shape).numel() for shape in self._shapes)
        self.start = torch.randn(count, generator=generator, dtype=torch.float64) / hidden**0.5

    def __call__(self, flat: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """Outputs, shape (n, K), at parameters of shape (P,)."""
        pieces = torch.split(flat, [torch.Size(shape).numel() for shape in self._shapes])
        first, bias, second, offset = (
            piece.reshape(shape) for piece, shape in zip(pieces, self._shapes, strict=True)
        )
        return torch.tanh(inputs @ first + bias) @ second + offset

    def curvature(self, flat: torch.Tensor, inputs: torch.Tensor) -> Curvature:
        """Jacobian and Hessians of the outputs."""
        outputs = partial(self.__call__, inputs=inputs)
        slopes = jacrev(outputs)
        return Curvature(slopes(flat).numpy(), jacrev(slopes)(flat).numpy(), outputs(flat).numpy())


class Squared(NamedTuple):
    """A network on the squared loss, with its exact Hessian."""

    curvature: Curvature
    targets: Array
    """Shape (n, K)."""
    loss_hessian: Array
    """Hessian of `sum |f - y|^2 / 2` by autograd through the whole loss, shape (P, P)."""

    @property
    def residual_part(self) -> Array:
        """`sum (f - y) nabla^2 f`, shape (P, P)."""
        residual = self.curvature.outputs - self.targets
        return np.asarray(np.einsum("nk,nkpq->pq", residual, self.curvature.models))


def squared_network(size: tuple[int, int, int, int], seed: int) -> Squared:
    """A random network on random data of given examples, inputs, hidden width and outputs."""
    examples, width, hidden, outputs = size
    generator = torch.Generator().manual_seed(seed)
    model = Perceptron(width, hidden, outputs, generator)
    inputs = torch.randn(examples, width, generator=generator, dtype=torch.float64)
    targets = torch.randn(examples, outputs, generator=generator, dtype=torch.float64)

    def loss(flat: torch.Tensor) -> torch.Tensor:
        return 0.5 * (model(flat, inputs) - targets).square().sum()

    dense = jacrev(jacrev(loss))(model.start)
    return Squared(model.curvature(model.start, inputs), targets.numpy(), dense.numpy())


def _largest(matrix: Array) -> float:
    return float(np.linalg.eigvalsh(matrix)[-1])


def spectrum_error(network: Squared) -> float:
    """Largest difference of the eigenvalues of Hessian - R and of the NTK, sorted, over the largest.

    The shorter list is filled with zeros: none of the longer one's further eigenvalues may differ from zero.
    """
    newton = np.linalg.eigvalsh(network.loss_hessian - network.residual_part)[::-1]
    kernel = np.linalg.eigvalsh(neural_tangent_kernel(network.curvature.jacobian))[::-1]
    size = max(len(newton), len(kernel))
    gap = np.pad(newton, (0, size - len(newton))) - np.pad(kernel, (0, size - len(kernel)))
    return float(np.abs(gap).max() / kernel[0])


def _same_spectrum(settings: Settings, report: Callable[[float], None]) -> CheckResult:
    rows = []
    for done, size in enumerate(NETWORK_SIZES, start=1):
        network = squared_network(size, settings.seed + done)
        examples, outputs, parameters = network.curvature.jacobian.shape
        rows.append((*size, parameters, examples * outputs, spectrum_error(network)))
        report(done / len(NETWORK_SIZES))
    largest = float(np.max([row[-1] for row in rows]))
    columns = ("examples", "inputs", "hidden", "outputs K", "parameters", "NTK size", "error")
    table = Table("Eigenvalues of Gauss-Newton (dense Hessian minus R) and NTK", columns, tuple(rows))
    summary = f"eigenvalues of Gauss-Newton matrix and NTK differ by {largest:.1e} over {len(rows)} networks"
    evidence = Evidence(summary, {}, largest, SPECTRUM_TOLERANCE, (settings.seed,), tables=(table,))
    return compared(evidence)


class Confidence(NamedTuple):
    """A softmax network at one time of its training; the columns of the table."""

    step: int
    loss: float
    output_curvature: float
    """Mean of `lambda_max(H_L)` over examples."""
    bound: float
    """Largest over examples of what `max p` allows."""
    distance: float
    """Mean Frobenius distance of `H_L` from the identity."""
    gauss_newton: float
    ntk: float

    @property
    def ratio(self) -> float:
        """`lambda_max(G) / lambda_max(K K^T)`."""
        return self.gauss_newton / self.ntk


def trained_softmax(seed: int, report: Callable[[float], None]) -> list[Confidence]:
    """Train a softmax network on three clusters by gradient descent, looking ever more rarely."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSIFIER_EXAMPLES) % CLASSES
    angles = 2 * torch.pi * labels / CLASSES
    centres = 2 * torch.stack([angles.cos(), angles.sin()], dim=1).double()
    inputs = centres + 0.3 * torch.randn(CLASSIFIER_EXAMPLES, 2, generator=generator, dtype=torch.float64)
    model = Perceptron(2, 8, CLASSES, generator)
    flat = model.start.clone().requires_grad_()
    looks = {0, *np.geomspace(10, CLASSIFIER_STEPS, CHECKPOINTS - 1).round().astype(int).tolist()}
    seen = []
    for step in range(CLASSIFIER_STEPS + 1):
        loss = torch.nn.functional.cross_entropy(model(flat, inputs), labels)
        if step in looks:
            seen.append(_confidence(model, flat.detach(), inputs, step, loss.item()))
            report(step / CLASSIFIER_STEPS)
        (slope,) = torch.autograd.grad(loss, flat)
        flat = (flat - LEARNING_RATE * slope).detach().requires_grad_()
    return seen


def _confidence(
    model: Perceptron, flat: torch.Tensor, inputs: torch.Tensor, step: int, loss: float
) -> Confidence:
    probabilities = torch.softmax(model(flat, inputs), dim=1).numpy()
    jacobian = jacrev(partial(model.__call__, inputs=inputs))(flat).numpy()
    output = softmax_hessian(probabilities)
    return Confidence(
        step,
        loss,
        float(np.linalg.eigvalsh(output)[:, -1].mean()),
        float(softmax_curvature_bound(probabilities).max()),
        float(np.linalg.norm(output - np.eye(CLASSES), axis=(1, 2)).mean()),
        _largest(gauss_newton(jacobian, output)),
        _largest(neural_tangent_kernel(jacobian)),
    )


def _cross_entropy(settings: Settings, report: Callable[[float], None]) -> CheckResult:
    from ..theory.symbolic import output
    from ..theory.symbolic.core import nothing_left

    seen = trained_softmax(settings.seed, report)
    start, end = seen[0], seen[-1]
    confident = np.array([0.99, 0.005, 0.005])
    example = _largest(softmax_hessian(confident))
    slack = 1 + 1e-12
    within = all(look.output_curvature <= 0.5 * slack and look.ratio <= look.bound * slack for look in seen)
    falls = end.output_curvature <= 0.1 * start.output_curvature and end.ratio <= 0.1 * start.ratio
    correction = Correction(
        "H_L gets closer to the identity as the model grows confident, so that the Gauss-Newton matrix "
        "keeps the spectrum of the NTK",
        "H_L = diag(p) - p p^T tends to zero, its largest eigenvalue never being above 1/2; the Gauss-Newton "
        "matrix vanishes beside the NTK",
        f"p = (0.99, 0.005, 0.005): lambda_max(H_L) = {example:.4f}; trained softmax network: mean "
        f"lambda_max(H_L) {start.output_curvature:.3f} -> {end.output_curvature:.4f}, distance from the "
        f"identity {start.distance:.3f} -> {end.distance:.3f}, lambda_max(G)/lambda_max(NTK) "
        f"{start.ratio:.3f} -> {end.ratio:.5f}",
    )
    columns = ("step", "loss", "mean lambda_max(H_L)", "bound", "|H_L - I|", "GGN", "NTK", "GGN/NTK")
    rows = tuple((*look, look.ratio) for look in seen)
    evidence = Evidence(
        f"lambda_max(G)/lambda_max(NTK) falls from {start.ratio:.3f} to {end.ratio:.5f} as a softmax "
        "network trains",
        {
            "lambda_max(H_L) at p = (0.99, 0.005, 0.005)": example,
            "largest bound over time": max(look.bound for look in seen),
        },
        seeds=(settings.seed,),
        correction=correction,
        tables=(Table("A softmax network during gradient descent", columns, rows),),
    )
    fails = not nothing_left(output.limit_left_over(output.OUTPUT_FORMULAS["D-limit-published"]))
    return corrected(
        published_fails=fails and end.distance > start.distance,
        instead_holds=within and falls and holds("D", "cross-entropy"),
        evidence=evidence,
    )


def _sign(settings: Settings, _report: Callable[[float], None]) -> CheckResult:
    from ..theory.symbolic import output
    from ..theory.symbolic.core import nothing_left

    network = squared_network(NETWORK_SIZES[0], settings.seed)
    examples, *_, outputs = NETWORK_SIZES[0]
    identity = np.broadcast_to(np.eye(outputs), (examples, outputs, outputs))
    rest = network.loss_hessian - gauss_newton(network.curvature.jacobian, identity)
    scale = float(np.linalg.norm(rest))
    instead = float(np.linalg.norm(rest - network.residual_part)) / scale
    published = float(np.linalg.norm(rest + network.residual_part)) / scale
    correction = Correction(
        "R = sum_i nabla^2 f(x_i) (y_i - f(x_i)) (Sec. 4.1 and Eq. 25)",
        "R = sum_i nabla^2 f(x_i) (f(x_i) - y_i), as the proof of Lemma 5.2 has it (w - w*)",
        "dense Hessian of a tanh network minus Gauss-Newton: the printed sign misses it by "
        f"{published:.3f} of its norm, the other by {instead:.1e}",
    )
    figures = {"|R|": scale, "published: relative error": published, "instead: relative error": instead}
    summary = f"the printed R has the wrong sign: relative error {published:.3f} against {instead:.1e}"
    evidence = Evidence(summary, figures, instead, SPECTRUM_TOLERANCE, (settings.seed,), correction)
    fails = not nothing_left(output.residual_left_over(output.OUTPUT_FORMULAS["25-published"]))
    right = instead <= SPECTRUM_TOLERANCE and holds("D", "sign")
    return corrected(published_fails=fails and published > 1, instead_holds=right, evidence=evidence)


def _shapes(settings: Settings, _report: Callable[[float], None]) -> CheckResult:
    from ..theory.symbolic import output

    network = squared_network(NETWORK_SIZES[0], settings.seed)
    jacobian = network.curvature.jacobian
    examples, outputs, parameters = jacobian.shape
    printed = jacobian.reshape(examples, outputs * parameters)
    repeated = np.eye(outputs * parameters)  # k x k identities, P times
    undefined = _product_fails(printed.T, repeated, printed)
    blocks = np.broadcast_to(np.eye(outputs), (examples, outputs, outputs))
    newton = network.loss_hessian - network.residual_part
    error = float(np.abs(gauss_newton(jacobian, blocks) - newton).max() / np.abs(newton).max())
    kernel, true, summed = neural_tangent_kernel(jacobian), _largest(newton), _largest(printed @ printed.T)
    instead = max(error, abs(_largest(kernel) - true) / true)
    correction = Correction(
        "G = K^T H K with K in R^(|D| x kP) and H in R^(kP x kP), the k x k Hessian repeated P times",
        "K in R^(k|D| x P), one row an output and example, and H in R^(k|D| x k|D|) with |D| blocks, the "
        "k x k Hessian of each example; then G is P x P and the NTK k|D| x k|D|",
        f"|D| = {examples}, k = {outputs}, P = {parameters}: {printed.T.shape} {repeated.shape} "
        f"{printed.shape} is no product; K K^T of the printed K has the size {examples} and the largest "
        f"eigenvalue {summed:.4g} where Gauss-Newton (dense autograd) has {true:.4g}, as has the NTK of "
        f"size {examples * outputs}",
    )
    figures = {"lambda_max, printed K K^T": summed, "lambda_max(G)": true, "instead: relative error": instead}
    summary = (
        f"the printed dimensions give no product; with those put in their place G is right to {instead:.1e}"
    )
    evidence = Evidence(summary, figures, instead, SPECTRUM_TOLERANCE, (settings.seed,), correction)
    stated = output.OUTPUT_FORMULAS["26-published"](examples, outputs, parameters)
    wrong = output.gauss_newton_of(stated["jacobian"], stated["output Hessian"]) is None
    fails = wrong and undefined and abs(summed / true - 1) > 0.01
    right = instead <= SPECTRUM_TOLERANCE and holds("D", "shapes")
    return corrected(published_fails=fails, instead_holds=right, evidence=evidence)


def _product_fails(left: Array, middle: Array, right: Array) -> bool:
    try:
        left @ middle @ right
    except ValueError:
        return True
    return False


OUTPUT_CLAIMS = (
    Claim(
        id="appendix-d-mse",
        room="theory",
        statement="For the squared loss and K outputs, Gauss-Newton matrix and NTK have the same eigenvalues",
        source="Appendix D",
        kind=Kind.NUMERIC,
        method="dense autograd Hessian minus R against the NTK; tanh networks, P above and below n K",
        check=_same_spectrum,
    ),
    Claim(
        id="appendix-d-spectrum",
        room="theory",
        statement="K^T K and K K^T share their non-zero eigenvalues, for any data, outputs and parameters",
        source="Appendix D",
        kind=Kind.SYMBOLIC,
        method="map of eigenvectors by matrix algebra at every size; determinants of symbols at 4 sizes",
        check=partial(derived, "D", "mse", "eigenvectors map onto eigenvectors; determinants agree"),
    ),
    Claim(
        id="appendix-d-cross-entropy",
        room="theory",
        statement="The output Hessian of the cross-entropy gets closer to the identity during training",
        source="Appendix D, after Eq. 27",
        kind=Kind.NUMERIC,
        method="a softmax network trained by gradient descent; dense Gauss-Newton matrix and NTK",
        check=_cross_entropy,
    ),
    Claim(
        id="eq-25-sign",
        room="theory",
        statement="The residual part of the Hessian is R = sum nabla^2 f (y - f)",
        source="Section 4.1 and Eq. 25",
        kind=Kind.NUMERIC,
        method="dense autograd Hessian of a tanh network minus its Gauss-Newton matrix",
        check=_sign,
    ),
    Claim(
        id="eq-26-shapes",
        room="theory",
        statement="G = K^T H K with K in R^(|D| x kP) and H the k x k output Hessian, repeated P times",
        source="Appendix D, Eq. 26",
        kind=Kind.NUMERIC,
        method="the product at the printed dimensions; dense autograd Hessian of a tanh network",
        check=_shapes,
    ),
)
