"""torch's own losses, made to refuse targets that they would broadcast."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from .layouts import require_same_shape

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

_WARNED = frozenset(
    {functional.mse_loss, functional.l1_loss, functional.smooth_l1_loss, functional.huber_loss}
)
"""torch's losses that warn of targets of another shape."""

_SILENT = frozenset(
    {
        functional.kl_div,
        functional.poisson_nll_loss,
        functional.gaussian_nll_loss,
        functional.soft_margin_loss,
        functional.hinge_embedding_loss,
        functional.multilabel_soft_margin_loss,
    }
)
"""torch's losses that broadcast without a warning."""


class _RefuseBroadcast(TorchFunctionMode):
    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Look at the shapes first if the function is one of torch's losses."""
        del types
        named = kwargs or {}
        if function in _WARNED or function in _SILENT:
            bound = inspect.signature(function).bind(*args, **named).arguments
            one, other = bound["input"], bound["target"]
            if function in _WARNED or _grows(one, other):
                require_same_shape(function.__name__, one, other)
        return function(*args, **named)


def _grows(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether outputs are broadcast; targets that are one row for all examples are meant to be."""
    pairs = zip(reversed(one.shape), reversed(other.shape), strict=False)
    return other.ndim > one.ndim or any(own == 1 != wide for own, wide in pairs)


def refuse_broadcast() -> AbstractContextManager[Any]:
    """Inside, torch's losses refuse targets that they would broadcast, with or without a warning.

    Examples
    --------
    >>> import torch
    >>> from superconsistency.neural.curvature.broadcast import refuse_broadcast
    >>> with refuse_broadcast():  # doctest: +ELLIPSIS
    ...     torch.nn.functional.mse_loss(torch.ones(3, 1), torch.ones(3))
    Traceback (most recent call last):
    ...
    superconsistency.errors.InputError: input of mse_loss is outputs float32 (3, 1), targets float32 (3,); ...
    """
    return _RefuseBroadcast()
