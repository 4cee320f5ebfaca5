"""Factors in a module's forward pass that are added, and taken away again, from outside."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn
from torch.nn.utils import parametrize

from ...errors import invalid


class Removable(Protocol):
    """What was added."""

    def remove(self) -> None:
        """Take it away; a second time does nothing."""


def multiply_output(module: nn.Module, factor: float) -> Removable:
    """Multiply what a module returns, the first of it if it is a tuple."""
    return module.register_forward_hook(_Output(factor))


def multiply_input(module: nn.Module, factor: float) -> Removable:
    """Multiply the first input of a module, given by place or by name."""
    return module.register_forward_pre_hook(_Input(factor), with_kwargs=True)


def multiply_rows(module: nn.Module, name: str, rows: int, factor: float) -> Removable:
    """Multiply the first rows of a parameter wherever the module uses it.

    The parameter itself goes on, as `parametrizations.<name>.original`; removing puts the factor into it.
    """
    parametrize.register_parametrization(module, name, _Rows(rows, factor))
    return _Settled(module, name)


class _Output:
    """A hook, which unlike a closure can be copied and pickled with its module."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, module: nn.Module, _inputs: object, output: Any) -> Any:
        if isinstance(output, torch.Tensor):
            return output * self.factor
        if type(output) is tuple and output and isinstance(output[0], torch.Tensor):
            return (output[0] * self.factor, *output[1:])
        raise invalid(
            f"output of the residual branch {type(module).__name__}",
            type(output).__name__,
            accepted="a tensor, or a tuple that begins with one",
            remedy="name a module that returns the branch itself",
        )


class _Input:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(
        self, _module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if inputs:
            return (inputs[0] * self.factor, *inputs[1:]), named
        first = next(iter(named))
        return inputs, {**named, first: named[first] * self.factor}


class _Rows(nn.Module):
    def __init__(self, rows: int, factor: float) -> None:
        super().__init__()
        self.rows, self.factor = rows, factor

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.factor * value[: self.rows], value[self.rows :]])


class _Settled:
    """Removes a factor of rows by putting it into their values."""

    def __init__(self, module: nn.Module, name: str) -> None:
        self.module, self.name = module, name

    def remove(self) -> None:
        if parametrize.is_parametrized(self.module, self.name):
            parametrize.remove_parametrizations(self.module, self.name, leave_parametrized=True)
