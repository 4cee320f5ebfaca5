"""Random small models out of awkward pieces, each the same whenever it is built from the same seed."""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from superconsistency.neural.curvature import Batch, Objective
from torch import nn
from torch.nn import functional

from .random_extras import CHANGES, EXTRAS, REPLACING
from .random_fronts import FORMS, LAYOUTS, WIDTH, Masked, TwoInputs
from .random_pieces import BLOCKS, HOLDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .random_fronts import Assembled, Front
    from .random_pieces import Piece

    Own = Callable[[Any, Any], torch.Tensor]


class Plan(NamedTuple):
    """The names of a random model's pieces."""

    layout: str
    front: str
    blocks: tuple[str, ...]
    form: str
    loss: str
    extra: str
    change: str
    parts: int | None
    """Examples at once."""
    examples: int
    single: bool
    """Whether model and data are in float32."""

    def pieces(self) -> tuple[str, ...]:
        """All of them, fit to be counted."""
        parts = "whole" if self.parts is None else f"parts of {self.parts}"
        return (
            self.front, *self.blocks, f"as {self.form}", f"{self.layout}: {self.loss}", f"plus {self.extra}",
            f"then {self.change}", parts, "float32" if self.single else "float64",
        )  # fmt: skip


@dataclass
class Specimen:
    """A random model, what it is measured with, and what a user would compute."""

    model: nn.Module
    batch: Batch
    criterion: Any
    own: Own
    """The loss from the model's raw outputs and the targets."""
    options: dict[str, Any]
    """Arguments of the objective."""
    change: Callable[[nn.Module], None]
    """What happens to the model after the objective was made."""
    plan: Plan
    sure: bool
    """Whether it ought to be measured; otherwise it may be refused."""
    partly: bool
    """Whether a part of it runs in float32 whatever its own precision is."""

    def objective(self) -> Objective:
        """As a user makes it, before the model changes."""
        found = Objective(self.model, self.criterion, **self.options)
        self.change(self.model)
        return found

    def loss(self) -> torch.Tensor:
        """As a user computes it."""
        inputs = self.batch.inputs
        if isinstance(self.model, TwoInputs):
            outputs = self.model(*inputs)
        elif isinstance(self.model, Masked):
            outputs = self.model(**inputs)
        else:
            outputs = self.model(inputs)
        return self.own(outputs, self.batch.targets)

    def free(self) -> torch.Tensor:
        """One for every number that is trained, zero for the rows of embeddings that torch keeps fixed."""
        fixed = {
            id(module.weight): module.padding_idx
            for module in self.model.modules()
            if isinstance(module, nn.Embedding) and module.padding_idx is not None
        }
        found = []
        for value in self.leaves():
            ones = torch.ones(torch.view_as_real(value).shape if value.is_complex() else value.shape)
            if id(value) in fixed:
                ones[fixed[id(value)]] = 0
            found.append(ones.flatten())
        return torch.cat(found).double()

    def leaves(self) -> list[torch.Tensor]:
        """All that is trained: registered parameters, the loss's own, and what no module has registered."""
        holders = [self.model, *([self.criterion] if isinstance(self.criterion, nn.Module) else [])]
        found: list[torch.Tensor] = [
            value for holder in holders for value in holder.parameters() if value.requires_grad
        ]
        for module in self.model.modules():
            found += module.strays() if isinstance(module, HOLDERS) else []
        return [value for value in found if value.numel()]


@contextmanager
def drawn(seed: int) -> Iterator[random.Random]:
    """Random choices and weights of a seed, in float64; torch's state as before afterwards."""
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        torch.set_default_dtype(torch.float64)
        try:
            yield random.Random(seed)  # noqa: S311
        finally:
            torch.set_default_dtype(before)


FIXED = ("dropout", "island", "complex", "unregistered")
"""In names of pieces that are not the same in another precision."""


WEIGHTED = ("ignore", "padded", "weight", "sum")
"""In names of losses that divide by something else than the number of examples."""


def planned(draw: random.Random, seed: int) -> Plan:
    """The choices of a seed; consecutive seeds go through all blocks, twice through those that are sure."""
    names = [*BLOCKS, *(name for name, block in BLOCKS.items() if block.sure)]
    tame = [name for name, block in BLOCKS.items() if block.sure and block.splits]
    blocks = [names[seed % len(names)], *draw.sample(tame, draw.choice((0, 0, 1, 2)))]
    draw.shuffle(blocks)
    layout = draw.choices(list(LAYOUTS), weights=[one.weight for one in LAYOUTS.values()])[0]
    extra = draw.choice(list(EXTRAS)) if draw.random() < 0.35 else "nothing"
    if extra == "weight decay" and any(name.startswith("unregistered") for name in blocks):
        extra = "nothing"
    change = draw.choice(list(CHANGES)) if draw.random() < 0.4 else "nothing"
    front = draw.choice(list(LAYOUTS[layout].fronts))
    return Plan(
        layout,
        front,
        tuple(blocks),
        draw.choice(list(FORMS)) if draw.random() < 0.4 else "tensor",
        draw.choice(list(LAYOUTS[layout].losses)),
        extra,
        "stepped" if extra == "l2 of a list" and change in REPLACING else change,
        draw.choice((1, 3)) if draw.random() < 0.25 else None,
        draw.choice((5, 6, 7)),
        draw.random() < 0.25 and not any(word in name for name in (front, *blocks) for word in FIXED),
    )


def specimen(seed: int, *, exact: bool = False) -> Specimen:
    """The random model of a seed; if `exact`, in float64 even where its numbers are those of float32."""
    with drawn(seed) as draw:
        plan = planned(draw, seed)
        layout, form = LAYOUTS[plan.layout], FORMS[plan.form]
        front = layout.fronts[plan.front]
        blocks = [BLOCKS[name].build(WIDTH) for name in plan.blocks]
        model = front.kind(front.build(), blocks, plan.form)
        model.head = layout.head(model)
        if plan.change == "unfrozen":
            model.head.requires_grad_(False)
        loss = layout.losses[plan.loss]((plan.examples, *layout.outputs))
        if layout.ambiguous and loss.criterion == "cross-entropy":  # torch reads classes in dimension 1
            loss = loss._replace(own=functional.cross_entropy)
        batch = Batch(front.inputs(plan.examples), loss.targets)
        criterion, own, options = EXTRAS[plan.extra].build(model, loss, form)
        if plan.single:
            for dtype in (torch.float32, torch.float64) if exact else (torch.float32,):
                model.to(dtype)
                if isinstance(loss.criterion, nn.Module):
                    loss.criterion.to(dtype)
                batch = Batch(*_converted(tuple(batch), dtype))
        return Specimen(
            model, batch, criterion, own, options,
            CHANGES[plan.change], plan, _sure(plan, model, sure=loss.sure, splits=loss.splits),
            any(BLOCKS[name].single for name in plan.blocks),
        )  # fmt: skip


def _converted(values: Any, dtype: torch.dtype) -> Any:
    """Real numbers in another precision."""
    if isinstance(values, torch.Tensor):
        return values.to(dtype) if values.is_floating_point() else values
    if isinstance(values, dict):
        return {key: _converted(value, dtype) for key, value in values.items()}
    return tuple(_converted(value, dtype) for value in values) if isinstance(values, tuple) else values


def _sure(plan: Plan, model: Assembled, *, sure: bool, splits: bool) -> bool:
    """Whether every piece has to be right, alone and together with the others."""
    layout, form = LAYOUTS[plan.layout], FORMS[plan.form]
    pieces: list[Front | Piece] = [layout.fronts[plan.front], *(BLOCKS[name] for name in plan.blocks)]
    holds = {"listed", "closed over"} & set(plan.blocks)
    _, *others = model.parameters()
    lone = plan.change == "frozen" and not any(value.requires_grad for value in others)
    known = not layout.ambiguous and (form.sure or EXTRAS[plan.extra].raw)
    hidden = EXTRAS[plan.extra].raw and any(word in plan.loss for word in WEIGHTED)
    whole = plan.parts is None or (
        splits and not hidden and EXTRAS[plan.extra].splits and all(piece.splits for piece in pieces)
    )
    fresh = not (plan.change in REPLACING and holds)
    return (
        sure
        and EXTRAS[plan.extra].sure
        and known
        and whole
        and fresh
        and not lone
        and all(piece.sure for piece in pieces)
    )
