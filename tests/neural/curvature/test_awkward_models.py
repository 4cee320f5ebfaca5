"""Models that once were measured wrongly, refused without reason, or left changed."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural.curvature import Batch, GaussNewton, Hessian, Meter, Objective, Residual, measure
from torch import nn
from torch.nn import functional

INPUTS = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
BATCH = Batch(INPUTS, torch.arange(16) % 3)


class _Swish(torch.autograd.Function):
    """The first derivative is right; in the second, the saved sigmoid counts as a constant."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kind: Any) -> torch.Tensor:
        if kind not in {None, x.dtype}:
            raise TypeError(f"this kernel takes {kind}")
        gate = torch.sigmoid(x)
        ctx.save_for_backward(x, gate)
        return x * gate

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> Any:
        x, gate = ctx.saved_tensors
        return outer[0] * gate * (1 + x * (1 - gate)), None


class Swish(nn.Module):
    def __init__(self, kind: Any = None) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        apply: Any = _Swish.apply
        out: torch.Tensor = apply(x, self.kind)
        return out


def test_a_wrong_second_derivative_among_a_hundred_thousand_kinks_is_found_in_its_module() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1)]
        for _ in range(8):
            layers += [nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)]
        layers += [nn.BatchNorm2d(16), Swish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)]
        images = Batch(torch.randn(8, 3, 32, 32), torch.arange(8) % 4)
    model = nn.Sequential(*layers)
    with pytest.raises(InputError, match=r"in 26 \(Swish\)"):
        measure(Objective(model), images, ["loss"])
    model[26] = nn.SiLU()
    assert measure(Objective(model), images, ["loss"])["loss"].kind == "exact"


def test_a_wrong_second_derivative_in_a_kernel_of_single_precision_is_found() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), Swish(torch.float32), nn.Linear(8, 3))
    with pytest.raises(InputError, match=r"in 3 \(Swish\)"):
        measure(Objective(model), BATCH, ["directional_sharpness"])


class _Keeping(nn.Module):
    """Keeps its activations for the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3)
        self.kept: Any = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.kept = torch.tanh(self.first(x))
        out: torch.Tensor = self.last(self.kept)
        return out


@pytest.mark.parametrize("earlier", ["no pass", "a pass", "a pass without gradients"])
def test_a_loss_that_reads_what_the_model_kept_has_no_gauss_newton_matrix(earlier: str) -> None:
    model = _Keeping().double()
    inputs = INPUTS.double()
    if earlier != "no pass":
        with torch.set_grad_enabled(earlier == "a pass"):
            model(inputs)

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        penalty: torch.Tensor = model.kept.square().mean()
        return functional.cross_entropy(outputs, targets) + 0.1 * penalty

    batch = Batch(inputs, BATCH.targets)
    found = measure(Objective(model, loss), batch)
    names = {"ggn_sharpness", "residual_sharpness", "residual_spectral_norm", "output_residual"}
    names |= {"ggn_share", "ggn_overlap"}
    assert {name for name, one in found.estimates.items() if one.kind == "undefined"} == names
    assert found["sharpness"].kind == "certified"
    for kind in (GaussNewton, Residual):
        with pytest.raises(InputError, match="weights beside the outputs"):
            kind(Objective(model, loss), batch)


def test_values_changed_behind_autograds_back_make_an_operator_stale() -> None:
    model = nn.Linear(4, 3)
    operator = Hessian(Objective(model), BATCH)
    operator(torch.ones(operator.size))
    for value in model.parameters():
        value.data.mul_(1.5)
    with pytest.raises(InputError, match="built before the parameters changed"):
        operator(torch.ones(operator.size))


class _Domains(nn.Module):
    """Rounds what is of the second domain, with a straight-through gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor, domain: torch.Tensor) -> torch.Tensor:
        out = self.layer(x)
        return torch.where(domain[:, None] == 0, out, out + (out.round() - out).detach())


def test_examples_that_are_checked_are_spread_over_the_batch() -> None:
    domains = (torch.arange(16) >= 8).long()
    with pytest.raises(InputError, match="not differentiated rightly"):
        measure(Objective(_Domains()), Batch((INPUTS, domains), BATCH.targets), ["loss"])


def test_a_switch_that_is_set_later_is_checked_again() -> None:
    class Switched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.rounds = nn.Linear(4, 3), False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.layer(x)
            return out + (out.round() - out).detach() if self.rounds else out

    model = Switched()
    objective = Objective(model)
    measure(objective, BATCH, ["loss"])
    model.rounds = True
    with pytest.raises(InputError, match="not differentiated rightly"):
        measure(objective, BATCH, ["loss"])


def test_mini_batches_that_cannot_be_measured_leave_the_other_quantities() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))
    found = Meter(["sharpness", "batch_sharpness"], mini_batch=1)(Objective(model), BATCH)
    assert (found["sharpness"].kind, found["batch_sharpness"].kind) == ("certified", "undefined")
    assert "BatchNorm1d" in found["batch_sharpness"].note
    assert measure(Objective(model), BATCH, ["batch_sharpness"])["batch_sharpness"].kind == "standard error"


def test_a_mini_batch_none_of_whose_labels_counts_is_left_out() -> None:
    labels = BATCH.targets.clone()
    labels[4:6] = -100
    found = measure(Objective(nn.Linear(4, 3)), Batch(INPUTS, labels), ["batch_sharpness"])
    assert found["batch_sharpness"].note == "7 mini-batches"


def test_masks_as_large_as_the_batch_are_not_cut_by_guess() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.readout = nn.Embedding(9, 4), nn.Linear(4, 9)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            hidden = self.embedding(ids)
            weights = (hidden @ hidden.transpose(1, 2)).masked_fill(~mask, -1e9).softmax(-1)
            out: torch.Tensor = self.readout(weights @ hidden)
            return out

    ids, mask = torch.randint(9, (8, 8)), torch.tril(torch.ones(8, 8, dtype=torch.bool))
    batch = Batch({"ids": ids, "mask": mask}, torch.randint(9, (8, 8)))
    objective = Objective(Masked(), "token-cross-entropy")
    assert "pass mini_batches" in measure(objective, batch, ["batch_sharpness"])["batch_sharpness"].note


def test_parameters_that_have_to_be_positive_stay_so_while_derivatives_are_checked() -> None:
    class Normal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean, self.scale = nn.Linear(4, 1), nn.Parameter(torch.tensor([1.0, 0.01]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: Any = torch.distributions.Normal(self.mean(x), self.scale)
            out: torch.Tensor = -found.log_prob(x[:, :2])
            return out

    found = measure(Objective(Normal(), lambda outputs, _: outputs.mean()), BATCH, ["loss"])
    assert found["loss"].kind == "exact"


def test_a_function_that_varies_within_a_millionth_is_not_accused() -> None:
    """Differences with large steps agree with each other there, and not with the derivative."""
    model = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3, eps=1e-12), nn.Linear(3, 3)).double()
    with torch.no_grad():
        for value in model[0].parameters():
            value.mul_(1e-7)
    batch = Batch(INPUTS.double(), BATCH.targets)
    assert measure(Objective(model), batch, ["sharpness"])["sharpness"].kind == "certified"


class _Typed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> Any:
        (x,) = ctx.saved_tensors
        if outer[0].dtype != torch.float32:
            raise ValueError("single precision only")
        return outer[0] * (1 - x.tanh() ** 2)


def test_a_backward_pass_that_refuses_double_precision_is_checked_in_single() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    apply: Any = _Typed.apply
    model.register_forward_hook(lambda _module, _inputs, outputs: apply(outputs))
    assert measure(Objective(model), BATCH, ["sharpness"])["sharpness"].kind == "certified"


class _Stop(BaseException):
    pass


@pytest.mark.parametrize("error", [_Stop, AssertionError, KeyError, SystemExit])
@pytest.mark.parametrize("place", ["forward", "backward"])
def test_whatever_is_raised_forwards_or_backwards_is_one_line(error: type[BaseException], place: str) -> None:
    class Raising(torch.autograd.Function):
        @staticmethod
        def forward(_ctx: Any, x: torch.Tensor) -> torch.Tensor:
            if place == "forward":
                raise error("no")
            return x.clone()

        @staticmethod
        def backward(_ctx: Any, *_outer: torch.Tensor) -> Any:
            raise error("no")

    if place == "backward" and error is _Stop:
        pytest.skip("autograd's own engine lets it through")
    model = nn.Sequential(nn.Linear(4, 3))
    apply: Any = Raising.apply
    model.register_forward_hook(lambda _module, _inputs, outputs: apply(outputs))
    with pytest.raises(InputError) as found:
        measure(Objective(model), BATCH, ["sharpness"])
    assert "\n" not in str(found.value)


WRONG_ARGUMENTS: dict[str, Any] = {
    "a vector of NumPy": lambda: Hessian(Objective(nn.Linear(4, 3)), BATCH)(np.ones(15)),  # type: ignore[arg-type]
    "a complex vector": lambda: Hessian(Objective(nn.Linear(4, 3)), BATCH)(torch.ones(15) * 1j),
    "a model for an objective": lambda: measure(nn.Linear(4, 3), BATCH),  # type: ignore[arg-type]
    "a pair for a batch": lambda: measure(Objective(nn.Linear(4, 3)), (INPUTS, BATCH.targets)),  # type: ignore[arg-type]
    "arrays": lambda: measure(Objective(nn.Linear(4, 3)), Batch(INPUTS.numpy(), BATCH.targets.numpy())),
    "sparse inputs": lambda: measure(Objective(nn.Linear(4, 3)), Batch(INPUTS.to_sparse(), BATCH.targets)),
}


@pytest.mark.parametrize("case", WRONG_ARGUMENTS)
def test_a_wrong_argument_is_refused_in_one_line(case: str) -> None:
    with pytest.raises(InputError) as found:
        WRONG_ARGUMENTS[case]()
    assert "\n" not in str(found.value)


class _State(nn.Module):
    """Changes all kinds of things when it is called, a frozen average of its weights among them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.average = nn.Linear(4, 3), nn.Linear(4, 3).requires_grad_(requires_grad=False)
        self.nested, self.listed = {"mean": torch.zeros(3), "log": []}, [torch.zeros(1)]
        self.counts, self.fixed = np.zeros(2), (torch.zeros(1),)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x) + self.average(x)
        with torch.no_grad():
            for own, other in zip(self.average.parameters(), self.layer.parameters(), strict=True):
                own.mul_(0.9).add_(other, alpha=0.1)
        nested: Any = self.nested
        nested["mean"].add_(out.detach().mean(0).float())
        nested["log"].append(1)
        self.listed[0] += 1
        self.fixed[0].add_(1)
        self.counts += 1
        return out


def test_nested_state_and_frozen_averages_are_left_as_they_were() -> None:
    model = _State()
    before, weights = copy.deepcopy(vars(model)), copy.deepcopy(model.state_dict())
    found = measure(Objective(model), BATCH, ["sharpness"])
    again = measure(Objective(model), BATCH, ["sharpness"])
    assert found.estimates == again.estimates
    assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())
    assert torch.equal(model.nested["mean"], before["nested"]["mean"])  # type: ignore[arg-type]
    assert (model.nested["log"], model.listed[0].item(), model.fixed[0].item()) == ([], 0, 0)
    assert not model.counts.any()


def test_what_a_loss_closes_over_is_left_as_it_was() -> None:
    critic = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).requires_grad_(
        requires_grad=False
    )
    before = copy.deepcopy(critic.state_dict())
    measure(
        Objective(nn.Linear(4, 3), lambda outputs, _: functional.softplus(-critic(outputs)).mean()),
        BATCH,
        ["sharpness"],
    )
    assert all(torch.equal(before[key], value) for key, value in critic.state_dict().items())

    class Trainer:
        def __init__(self) -> None:
            self.calls, self.history = 0, [0.0]

        def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            self.history.append(float(self.calls))
            return functional.cross_entropy(outputs, targets)

    trainer = Trainer()
    measure(Objective(nn.Linear(4, 3), trainer.loss), BATCH, ["sharpness"])
    assert (trainer.calls, trainer.history) == (0, [0.0])
