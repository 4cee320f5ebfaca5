"""What is added to a random model's loss, and what happens to the model after its objective was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from .random_fronts import Assembled, Form
    from .random_losses import Loss

    Own = Callable[[Any, Any], torch.Tensor]
    Criterion = str | nn.Module | Own

DECAY = 0.3


class Extra(NamedTuple):
    """Something added to the loss."""

    build: Callable[[Assembled, Loss, Form], tuple[Criterion, Own, dict[str, Any]]]
    """The criterion, the loss as torch computes it from raw outputs, and arguments of the objective."""
    raw: bool = False
    """Whether the criterion takes the model's outputs as they are."""
    sure: bool = True
    """Whether its curvature has to be right; otherwise it may be refused."""
    splits: bool = True
    """Whether it is the same for every part of a batch."""


def _nothing(model: Assembled, loss: Loss, form: Form) -> tuple[Criterion, Own, dict[str, Any]]:
    """The loss as it is; a function of the user's picks the logits out of raw outputs by itself.

    A module that is not torch's own cannot, and is told where they are.
    """
    del model
    foreign = isinstance(loss.criterion, nn.Module) and not type(loss.criterion).__module__.startswith(
        "torch."
    )
    option = form.logits if foreign and form.option is None else form.option
    options = {} if option is None else {"output": option}
    known = isinstance(loss.criterion, str | nn.Module) or loss.criterion is functional.cross_entropy

    def own(outputs: Any, targets: Any) -> torch.Tensor:
        return loss.own(form.logits(outputs), targets)

    return (loss.criterion if known or options else own), own, options


def _added(term: Callable[[Assembled], Callable[[torch.Tensor], torch.Tensor]]) -> Any:
    """A term, made with the model and then computed from logits, in a function of raw outputs."""

    def build(model: Assembled, loss: Loss, form: Form) -> tuple[Criterion, Own, dict[str, Any]]:
        added = term(model)

        def own(outputs: Any, targets: Any) -> torch.Tensor:
            logits = form.logits(outputs)
            return loss.own(logits, targets) + added(logits)

        return own, own, {}

    return build


def _squares(values: Any) -> torch.Tensor:
    return sum(((value * value.conj()).real.sum() for value in values), torch.zeros(()))


def _l2(model: Assembled) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda _: 0.5 * DECAY * _squares(model.parameters())


def _listed_l2(model: Assembled) -> Callable[[torch.Tensor], torch.Tensor]:
    weights = list(model.parameters())
    return lambda _: 0.5 * DECAY * _squares(weights)


def _absolute_l2(model: Assembled) -> Callable[[torch.Tensor], torch.Tensor]:
    """Without a second derivative by autograd where a weight is zero."""
    return lambda _: (
        0.5 * DECAY * sum((one.abs().square().sum() for one in model.parameters()), torch.zeros(()))
    )


def _l1(model: Assembled) -> Callable[[torch.Tensor], torch.Tensor]:
    """Over matrices, none of whose entries is zero."""
    return lambda _: (
        0.1 * sum((one.abs().sum() for one in model.parameters() if one.ndim > 1), torch.zeros(()))
    )


def _decayed(model: Assembled, loss: Loss, form: Form) -> tuple[Criterion, Own, dict[str, Any]]:
    """Weight decay, which the package adds; it holds for what is trained only."""
    criterion, plain, options = _nothing(model, loss, form)

    def own(outputs: Any, targets: Any) -> torch.Tensor:
        holders = [model, loss.criterion] if isinstance(loss.criterion, nn.Module) else [model]
        trained = [value for one in holders for value in one.parameters() if value.requires_grad]
        return plain(outputs, targets) + 0.5 * DECAY * _squares(trained)

    return criterion, own, options | {"weight_decay": DECAY}


EXTRAS: dict[str, Extra] = {
    "nothing": Extra(_nothing),
    "l2": Extra(_added(_l2), raw=True),
    "l2 of a list": Extra(_added(_listed_l2), raw=True),
    "l2 of absolute values": Extra(_added(_absolute_l2), raw=True, sure=False),
    "l1 of matrices": Extra(_added(_l1), raw=True),
    "penalty of the outputs": Extra(_added(lambda _: lambda out: 0.2 * out.square().mean()), raw=True),
    "penalty of their mean": Extra(_added(lambda _: lambda out: out.mean().square()), raw=True, splits=False),
    "weight decay": Extra(_decayed),
}


def _frozen(model: nn.Module) -> None:
    next(model.parameters()).requires_grad_(False)


def _unfrozen(model: nn.Module) -> None:
    model.head.requires_grad_()


def _assigned(model: nn.Module) -> None:
    model.load_state_dict(
        {name: 1.1 * value if value.is_floating_point() else value for name, value in _state(model)},
        assign=True,
    )


def _state(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return list(model.state_dict().items())


def _replaced(model: nn.Module) -> None:
    """One weight is a new parameter."""
    for module in model.modules():
        if isinstance(module._parameters.get("weight"), nn.Parameter):
            module.weight = nn.Parameter(0.9 * module._parameters["weight"].detach())  # type: ignore[union-attr]
            return


def _stepped(model: nn.Module) -> None:
    """Changed in place, with gradients left behind."""
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(1.05)
            value.grad = torch.ones_like(value)


def _moved(model: nn.Module) -> None:
    for value in model.parameters():
        value.data = 0.95 * value.data


def _grown(model: nn.Module) -> None:
    """One layer more."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        layer = nn.Linear(3, 3, dtype=torch.float32)
    model.blocks.append(nn.Sequential(layer.to(next(model.head.parameters()).dtype), nn.Tanh()))  # type: ignore[union-attr, operator]


def _evaluated(model: nn.Module) -> None:
    model.eval()


CHANGES: dict[str, Callable[[nn.Module], None]] = {
    "nothing": lambda _: None,
    "frozen": _frozen,
    "unfrozen": _unfrozen,
    "assigned": _assigned,
    "replaced": _replaced,
    "stepped": _stepped,
    "moved": _moved,
    "grown": _grown,
    "evaluated": _evaluated,
}

REPLACING = frozenset({"assigned", "replaced"})
"""Changes after which a list still holds the former parameters."""
