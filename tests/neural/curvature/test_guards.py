"""Derivatives that are not those of the loss are refused; others, however awkward, are not."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.neural.curvature import Batch, Hessian, Objective, measure
from superconsistency.neural.curvature.derivatives import DOUBLE, SINGLE, UNRESOLVED, defect
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


INPUTS = torch.randn(12, 3, generator=generator())
LABELS = torch.randint(2, (12,), generator=generator(1))
BATCH = Batch(INPUTS, LABELS)


class Of(nn.Module):
    """Two layers with a function between them."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor], width: int = 6) -> None:
        super().__init__()
        self.first, self.last, self.function = nn.Linear(3, width), nn.Linear(width, 2), function

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.function(self.first(inputs)))
        return out


class _Scaled(torch.autograd.Function):
    """A sine whose gradient is off by a factor."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.factor = factor
        return x.sin()

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return ctx.factor * outer[0] * x.cos(), None


class _CutOff(torch.autograd.Function):
    """A sine whose gradient is right, and whose second derivative is cut off."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return outer[0] * x.detach().cos()


def scaled(factor: float) -> Callable[[torch.Tensor], torch.Tensor]:
    apply: Any = _Scaled.apply
    return lambda x: apply(x, factor)


def cut_off(x: torch.Tensor) -> torch.Tensor:
    apply: Any = _CutOff.apply
    out: torch.Tensor = apply(x)
    return out


WRONG: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "a gradient that is twice too large": scaled(2.0),
    "a gradient that is off by a thousandth": scaled(1.001),
    "a second derivative that is cut off": cut_off,
    "a straight-through estimate": lambda x: x + (x.round() - x).detach(),
    "a factor that is detached": lambda x: x.sigmoid() * x.detach(),
}


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("differentiation", ["reverse", "forward"])
def test_a_wrong_derivative_is_refused_by_every_door(case: str, differentiation: str) -> None:
    objective = Objective(Of(WRONG[case]))
    with pytest.raises(
        InputError, match=r"not differentiated rightly in its root|forward|setup_context"
    ) as found:
        Hessian(objective, BATCH, differentiation=differentiation)
    assert "\n" not in str(found.value)
    for quantity in ("loss", "gradient_norm", "hessian_trace", "directional_sharpness", "ntk_sharpness"):
        with pytest.raises(InputError, match="not differentiated rightly"):
            measure(Objective(Of(WRONG[case])), BATCH, [quantity])
    with pytest.raises(InputError, match="not differentiated rightly"):
        Objective(Of(WRONG[case])).loss(BATCH)


def test_the_module_with_the_wrong_derivative_is_named() -> None:
    model = nn.Sequential(nn.Embedding(5, 3, scale_grad_by_freq=True), nn.Flatten(), nn.Linear(12, 2))
    tokens = torch.randint(5, (12, 4), generator=generator())
    with pytest.raises(InputError, match=r"in 0 \(Embedding\)"):
        measure(Objective(model), Batch(tokens, LABELS), ["loss"])


def test_a_loss_with_a_wrong_derivative_is_named() -> None:
    def fitted(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(outputs, targets) * outputs.detach().square().mean()

    with pytest.raises(InputError, match="in loss fitted"):
        measure(Objective(nn.Linear(3, 2), fitted), BATCH, ["sharpness"])


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(x + self.norm(self.convolution(x)))


class _Single(nn.Module):
    """Refuses double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 256), nn.Linear(256, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.first.weight.dtype != torch.float32:
            raise TypeError(self.first.weight.dtype)
        out: torch.Tensor = self.last(functional.relu(self.first(x)))
        return out


class _Casting(nn.Module):
    """Normalises in single precision whatever it is given, as language models do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        wide = hidden.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        out: torch.Tensor = self.last(functional.silu(wide.to(hidden.dtype)).float())
        return out


class _Physics(nn.Module):
    """Returns the gradient of a potential in its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.potential = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.requires_grad_()
        (gradient,) = torch.autograd.grad(self.potential(x).sum(), x, create_graph=True)
        return gradient


class _Noisy(nn.Module):
    """Random numbers of every kind, and state in plain attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls, self.seen = nn.Linear(3, 2), 0, [0]
        self.own, self.numpys = torch.Generator().manual_seed(3), np.random.default_rng(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.seen.append(self.calls)
        factor = random.random() + self.numpys.random() + torch.rand((), generator=self.own)  # noqa: S311
        factor = factor + float(np.random.rand()) + torch.rand(()) + sum(self.seen)  # noqa: NPY002
        out: torch.Tensor = self.layer(x) * factor
        return out


IMAGES = Batch(
    torch.randn(12, 3, 8, 8, generator=generator()), torch.randint(5, (12,), generator=generator(1))
)
RIGHT: dict[str, tuple[Callable[[], nn.Module], Batch, str]] = {
    "zeros at the start of residual branches": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), _Residual(), _Residual(), nn.Flatten(), nn.Linear(144, 5)
        ),
        IMAGES,
        "cross-entropy",
    ),
    "a wide network of kinks": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 512), nn.ReLU(), nn.Linear(512, 5)),
        IMAGES,
        "cross-entropy",
    ),
    "single precision only": (_Single, BATCH, "cross-entropy"),
    "casts to single precision": (_Casting, BATCH, "cross-entropy"),
    "a model that differentiates": (_Physics, Batch(INPUTS, INPUTS.cos()), "mse"),
    "random numbers and state": (_Noisy, BATCH, "cross-entropy"),
    "weight norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 6)), nn.Linear(6, 2)),
        BATCH,
        "cross-entropy",
    ),
    "all weights zero": (lambda: _zeroed(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))), BATCH,
                         "cross-entropy"),
    "a fixed number of examples": (lambda: Of(lambda x: x.view(12, 6).tanh()), BATCH, "cross-entropy"),
    "one example": (lambda: Of(torch.tanh), Batch(INPUTS[:1], LABELS[:1]), "cross-entropy"),
}  # fmt: skip


def _zeroed(model: nn.Module) -> nn.Module:
    for value in model.parameters():
        nn.init.zeros_(value)
    return model


@pytest.mark.parametrize("case", RIGHT)
def test_an_awkward_model_is_not_refused(case: str) -> None:
    build, batch, loss = RIGHT[case]
    model = build()
    values = [float(model(batch.inputs).sum().detach()) for _ in range(2)]
    found = measure(Objective(model, loss), batch, ["loss", "sharpness"])
    again = measure(Objective(model, loss), batch, ["loss", "sharpness"])
    assert found.estimates == again.estimates
    assert found["sharpness"].kind == "certified", found["sharpness"]
    assert (values[0] == values[1]) == (case != "random numbers and state")


def test_weight_norm_has_the_second_derivative_that_torchs_own_operation_lacks() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 4).double())
    batch = Batch(INPUTS.double(), torch.zeros(12, 4, dtype=torch.float64))
    names = [name for name, _ in layer.named_parameters()]
    values = tuple(value.detach() for value in layer.parameters())

    def loss(*weights: torch.Tensor) -> torch.Tensor:
        found = dict(zip(names, weights, strict=True))
        g, v = (found[f"parametrizations.weight.original{number}"] for number in (0, 1))
        weight = g * v / v.norm(dim=1, keepdim=True)
        outputs = functional.linear(batch.inputs, weight, found["bias"])
        return functional.mse_loss(outputs, batch.targets)

    hessian: Any = torch.autograd.functional.hessian
    blocks = hessian(loss, values)
    sizes = [value.numel() for value in values]
    rows = [
        torch.cat([block.reshape(own, -1) for block in row], 1)
        for own, row in zip(sizes, blocks, strict=True)
    ]
    own = Hessian(Objective(layer, "mse"), batch).matrix()
    torch.testing.assert_close(own, torch.cat(rows), rtol=1e-11, atol=1e-12)


def test_a_loss_that_is_not_one_function_is_refused() -> None:
    calls = [0]

    def drifting(x: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        return calls[0] * x

    with pytest.raises(InputError, match="when called again"):
        measure(Objective(Of(drifting)), BATCH, ["loss"])


def test_weights_changed_in_place_are_refused_before_they_change() -> None:
    embedding = nn.Embedding(5, 3, max_norm=0.1)
    model, before = (
        nn.Sequential(embedding, nn.Flatten(), nn.Linear(12, 2)),
        embedding.weight.detach().clone(),
    )
    with pytest.raises(InputError, match=r"parameter 0\.weight is changed in place"):
        measure(Objective(model), Batch(torch.randint(5, (12, 4)), LABELS), ["loss"])
    assert torch.equal(before, embedding.weight)


@pytest.mark.parametrize("outside", ["tensor", "module"])
def test_what_is_trained_beside_the_model_is_refused(outside: str) -> None:
    temperature = torch.tensor(1.5, requires_grad=True)
    head = nn.Linear(2, 2)

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(
            outputs / temperature if outside == "tensor" else head(outputs), targets
        )

    with pytest.raises(InputError, match=r"of a tensor of shape \(.*\) that requires a gradient"):
        measure(Objective(nn.Linear(3, 2), loss), BATCH, ["loss"])


def test_a_parameter_reached_around_the_module_is_named() -> None:
    model: Any = nn.Linear(3, 2)
    view = model.weight.T
    model.forward = lambda inputs: inputs @ view + model.bias
    with pytest.raises(InputError, match="parameter weight is reached around the module"):
        measure(Objective(model), BATCH, ["loss"])


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_a_loss_compiled_in_part_is_refused() -> None:
    compiled: Any = torch.compile(torch.sin, backend="aot_eager")
    with pytest.raises(InputError, match=r"compiled by torch\.compile in one of its parts"):
        measure(Objective(Of(compiled)), BATCH, ["sharpness"])


class _Polynomial:
    """A random cubic of two tensors, with kinks if so said."""

    def __init__(self, seed: int, *, kinked: bool) -> None:
        own = generator(seed)
        self.factors = [torch.randn(9, 9, generator=own, dtype=torch.float64) for _ in range(3)]
        self.point = [torch.randn(n, generator=own, dtype=torch.float64) for n in (4, 5)]
        self.kinked = kinked

    def __call__(self, leaves: list[torch.Tensor]) -> torch.Tensor:
        both = torch.cat(leaves).to(self.factors[0].dtype)
        images = [factor @ both for factor in self.factors]
        if self.kinked:
            images = [image.relu() for image in images]
        return (images[0] * images[1] * images[2]).sum()


@given(seed=st.integers(0, 10**6), kinked=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_function_is_never_said_to_have_a_wrong_derivative_that_it_has_not(seed: int, kinked: bool) -> None:
    function = _Polynomial(seed, kinked=kinked)
    assert defect(function, function.point, DOUBLE, generator(seed)) in {None, UNRESOLVED}
    function.factors = [factor.float() for factor in function.factors]
    point = [value.float() for value in function.point]
    assert defect(function, point, SINGLE, generator(seed), jumps=lambda: kinked) in {None, UNRESOLVED}


@given(seed=st.integers(0, 10**6), kinked=st.booleans(), size=st.floats(0.05, 10.0))
@settings(max_examples=60, deadline=None)
def test_a_part_that_is_not_differentiated_is_always_seen(seed: int, kinked: bool, size: float) -> None:
    function = _Polynomial(seed, kinked=kinked)

    def cut(leaves: list[torch.Tensor]) -> torch.Tensor:
        return function(leaves) + size * leaves[0].detach().square().sum()

    assert defect(cut, function.point, DOUBLE, generator(seed)) is not None
