"""Functions with a backward pass of their own, right and wrong."""

from __future__ import annotations

from typing import Any

import torch


class Cube(torch.autograd.Function):
    """x + x^3 / 10, with a backward pass that is right or off by a factor."""

    @staticmethod
    def forward(ctx: Any, h: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.save_for_backward(h)
        ctx.factor = factor
        return h + 0.1 * h**3

    @staticmethod
    def backward(ctx: Any, outer: torch.Tensor) -> tuple[torch.Tensor, None]:
        (h,) = ctx.saved_tensors
        gradient: torch.Tensor = ctx.factor * outer * (1 + 0.3 * h**2)
        return gradient, None


class Constant(torch.autograd.Function):
    """x + x^3 / 10, whose backward pass takes its slope for a constant."""

    @staticmethod
    def forward(ctx: Any, h: torch.Tensor) -> torch.Tensor:
        ctx.slope = 1 + 0.3 * h.detach() ** 2
        return h + 0.1 * h**3

    @staticmethod
    def backward(ctx: Any, outer: torch.Tensor) -> torch.Tensor:
        gradient: torch.Tensor = outer * ctx.slope
        return gradient


class Once(torch.autograd.Function):
    """A sine marked as differentiable once."""

    @staticmethod
    def forward(ctx: Any, h: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(h)
        return h.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outer: torch.Tensor) -> torch.Tensor:
        (h,) = ctx.saved_tensors
        gradient: torch.Tensor = outer * h.cos()
        return gradient


class Rounded(torch.autograd.Function):
    """Rounds, and passes gradients straight through."""

    @staticmethod
    def forward(_: Any, h: torch.Tensor) -> torch.Tensor:
        return (4 * h).round() / 4

    @staticmethod
    def backward(_: Any, outer: torch.Tensor) -> torch.Tensor:
        return outer


def applied(function: type[torch.autograd.Function], *arguments: Any) -> torch.Tensor:
    out: torch.Tensor = function.apply(*arguments)  # type: ignore[no-untyped-call]
    return out
