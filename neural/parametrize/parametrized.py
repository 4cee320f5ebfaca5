"""A network that follows a row of the parametrization table: its rows, optimizers and metric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ...errors import invalid, require_known, require_positive
from ...theory import ADAM, OPTIMIZERS, SGD
from ..curvature import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ...theory import Parametrization
    from ..networks import Scales
    from .factors import Removable

_OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = MappingProxyType(
    dict(zip(OPTIMIZERS, (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW), strict=True))
)


class Row(NamedTuple):
    """What the table does to one parameter."""

    name: str
    """As in the model's `named_parameters`."""
    start: float
    """What its initial values were multiplied by."""
    scales: Scales
    """Kind (of `theory.KINDS`, or `fixed`), whether in a branch, rates."""


class Part(NamedTuple):
    """The same, of a parameter by itself: factors change its name."""

    value: torch.nn.Parameter
    start: float
    scales: Scales


@dataclass(frozen=True)
class Parametrized:
    """A network that follows a row of the table.

    Attributes
    ----------
    model
        The one that was given.
    table
        The row.
    sizes
        The table's `width` and `depth`, over the base's where there is one, without the width where layers
        do not all grow alike; empty for networks of this package.
    parts
        Every parameter.
    factors
        Added to the model's forward pass.
    """

    model: torch.nn.Module
    table: Parametrization
    sizes: Mapping[str, float]
    parts: tuple[Part, ...]
    factors: tuple[Removable, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """Rows of all parameters, in the model's order, frozen ones included.

        Raises
        ------
        InputError
            If the model has parameters that it did not have.
        """
        return tuple(row for row, _ in self._pairs())

    def optimizer(self, name: str, learning_rate: float, **settings: Any) -> torch.optim.Optimizer:
        """PyTorch's optimizer of the parameters that are trained, one group for each learning rate.

        Parameters
        ----------
        name
            `sgd`, `adam` or `adamw`.
        learning_rate
            eta0: at the base's sizes the learning rate of every layer.
        **settings
            As PyTorch's. `eps` is that at the base's sizes: it goes with the size of the gradient.
            `weight_decay`, 0 unless given, is the part of each weight that a step takes away, over eta0, in
            every layer: its coefficient is divided by the layer's rate.

        Raises
        ------
        InputError
            If there is no such optimizer, nothing is trained, Adam is given a weight decay (AdamW has one),
            or PyTorch refuses a setting.
        """
        require_known("optimizer", name, OPTIMIZERS)
        require_positive("learning rate", learning_rate, example=0.1)
        for key in ("weight_decay", "eps"):
            value = settings.get(key, 0.0)
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise invalid(key, value, accepted="a number of at least 0", remedy="leave it out")
        if name == ADAM and settings.get("weight_decay"):
            decay = settings["weight_decay"]
            raise invalid("weight decay", decay, accepted="0 with adam", remedy="pass adamw")
        groups = self._groups(name, learning_rate, settings)
        if not groups:
            accepted = "one with parameters that are trained"
            raise invalid("model", "frozen", accepted=accepted, remedy="set requires_grad")
        try:
            return _OPTIMIZERS[name](groups, lr=learning_rate, **settings)
        except (TypeError, ValueError) as error:
            what, accepted = f"settings of {name}", f"those of torch.optim ({error})"
            raise invalid(what, settings, accepted=accepted, remedy="leave it out") from error

    def _groups(self, name: str, learning_rate: float, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Trained parameters by what is theirs alone: learning rate, weight decay, Adam's epsilon."""
        decay, epsilon = settings.get("weight_decay", 0.0), settings.get("eps", 1e-8)
        groups: dict[tuple[float, ...], dict[str, Any]] = {}
        for row, value in self._pairs():
            if not value.requires_grad:
                continue
            rate = row.scales.rate(name)
            group = {"lr": learning_rate * rate, "weight_decay": decay / rate}
            if name != SGD:
                group["eps"] = epsilon * row.scales.epsilon
            groups.setdefault(tuple(group.values()), {"params": [], **group})["params"].append(value)
        return list(groups.values())

    def metric(self, optimizer: torch.optim.Optimizer, learning_rate: float) -> Metric:
        """The learning-rate metric, of an `Objective` of this model.

        Parameters
        ----------
        optimizer, learning_rate
            As made by `optimizer`, Adam's after a step; eta0, which the sharpness is then measured against.

        Raises
        ------
        InputError
            As in `Metric.from_optimizer`.
        """
        named = self.model.named_parameters()
        trained = {name: value for name, value in named if value.requires_grad and value.numel()}
        return Metric.from_optimizer(optimizer, trained, base=learning_rate)

    def remove(self) -> None:
        """Take the factors out of the forward pass; weights and rates stay as they are.

        Those of `nn.MultiheadAttention` are put into its weights. Those of residual branches and of tied
        readouts end: where there were any, the model is another function afterwards. It is not to be
        parametrized again, since its weights are not at the initial sizes of its base.
        """
        for factor in self.factors:
            factor.remove()

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} x {size:g}" for name, size in self.sizes.items())
        cells = [("parameter", "kind", "start", "sgd", "adam"), *map(_cells, self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
        return "\n".join([f"{self.table.title}, {sizes}" if sizes else self.table.title, *lines])

    def _pairs(self) -> Iterator[tuple[Row, torch.nn.Parameter]]:
        known = {id(part.value): part for part in self.parts}
        for name, value in self.model.named_parameters():
            if id(value) not in known:
                what, accepted = f"with a new parameter {name}", "the one that was parametrized"
                raise invalid("model", what, accepted=accepted, remedy="change it before")
            _, start, scales = known[id(value)]
            yield Row(name, start, scales), value


def _cells(row: Row) -> tuple[str, ...]:
    kind = row.scales.kind + (", branch" if row.scales.in_branch else "")
    return row.name, kind, *(f"{number:.4g}" for number in (row.start, row.scales.sgd, row.scales.adam))
