"""Convolutions of data and max pooling whose second derivatives take no more work than they need.

PyTorch's own also differentiate a convolution's data, which nothing depends on, and add zeros the size of a
max pooling's input; at the first layers, where images are largest, that is a third of a product's time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable

    Geometry = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]
    """Stride, padding, dilation, groups."""

_CONVOLUTIONS: dict[Any, int] = {torch.conv1d: 1, torch.conv2d: 2, torch.conv3d: 3}
"""Their spatial dimensions."""

_POOLINGS = frozenset({torch.max_pool2d, functional.max_pool2d})


class LeanSecondDerivatives(TorchFunctionMode):
    """Inside, convolutions of data and two-dimensional max pooling are those of this module.

    Values and derivatives are the same. Forward differentiation does not go through them, and inside
    `torch.func` transforms PyTorch's own are left in place.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Replace a call if it is one of these."""
        del types
        named = kwargs or {}
        if torch._C._functorch.peek_interpreter_stack() is not None:  # inside vmap and the like
            found = None
        elif function in _CONVOLUTIONS:
            found = _convolution(_CONVOLUTIONS[function], *args, **named)
        elif function in _POOLINGS:
            found = _max_pooling(*args, **named)
        else:
            found = None
        return function(*args, **named) if found is None else found


def _convolution(
    dimensions: int,
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> torch.Tensor | None:
    """The convolution, None if it is of something that is differentiated or is not batched."""
    special = isinstance(padding, str) or weight.is_complex() or torch.is_autocast_enabled(input.device.type)
    if special or input.requires_grad or not weight.requires_grad or input.ndim != dimensions + 2:
        return None
    spread = (_spread(value, dimensions) for value in (stride, padding, dilation))
    outputs = _applied(_DataConvolution, input, weight, (*spread, groups))
    return outputs if bias is None else outputs + bias.view(-1, *[1] * dimensions)


def _max_pooling(
    input: torch.Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> torch.Tensor | None:
    """The pooling, None if nothing is differentiated, it is not batched, or more is asked for."""
    if not input.requires_grad or input.ndim != 4 or return_indices:
        return None
    size, pad, apart = (_spread(value, 2) for value in (kernel_size, padding, dilation))
    step = _spread(stride, 2) if stride else size
    return _applied(_MaxPooling, input, (size, step, pad, apart, ceil_mode))


def _spread(value: Any, dimensions: int) -> tuple[int, ...]:
    """One number for each dimension."""
    if isinstance(value, int):
        return (value,) * dimensions
    values = tuple(value)
    return values * dimensions if len(values) == 1 else values


def _applied(function: type[torch.autograd.Function], *arguments: Any) -> torch.Tensor:
    """The function's one output."""
    outputs: torch.Tensor = function.apply(*arguments)  # type: ignore[no-untyped-call]
    return outputs


class _DataConvolution(torch.autograd.Function):
    """A convolution of constant data."""

    @staticmethod
    def forward(ctx: Any, data: torch.Tensor, weight: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        ctx.save_for_backward(data, weight)
        ctx.geometry = geometry
        return _convolved(data, weight, geometry)

    @staticmethod
    def backward(ctx: Any, outer: torch.Tensor) -> tuple[None, torch.Tensor, None]:
        data, weight = ctx.saved_tensors
        return None, _applied(_WeightGradient, outer, data, weight.detach(), ctx.geometry), None


class _WeightGradient(torch.autograd.Function):
    """Its gradient in the weights, linear in the outputs' gradient."""

    @staticmethod
    def forward(
        ctx: Any, outer: torch.Tensor, data: torch.Tensor, weight: torch.Tensor, geometry: Geometry
    ) -> torch.Tensor:
        ctx.save_for_backward(data)
        ctx.geometry = geometry
        stride, padding, dilation, groups = geometry
        nothing = [0] * len(stride)
        gradient: torch.Tensor = torch.ops.aten.convolution_backward(
            outer, data, weight, None, stride, padding, dilation, False, nothing, groups,
            [False, True, False],
        )[1]  # fmt: skip
        return gradient

    @staticmethod
    def backward(ctx: Any, along: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (data,) = ctx.saved_tensors
        return _convolved(data, along, ctx.geometry), None, None, None


def _convolved(data: torch.Tensor, weight: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    stride, padding, dilation, groups = geometry
    nothing = [0] * len(stride)
    outputs: torch.Tensor = torch.ops.aten.convolution(
        data, weight, None, stride, padding, dilation, False, nothing, groups
    )
    return outputs


class _MaxPooling(torch.autograd.Function):
    """Max pooling over the last two dimensions of four.

    Where windows do not overlap, every product writes to the same places of one kept tensor, whose other
    places stay zero: a new one would have to be filled, which takes longer than all that is written.
    """

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, geometry: Any) -> torch.Tensor:
        size, step, pad, apart, ceil_mode = geometry
        outputs, places = torch.ops.aten.max_pool2d_with_indices(inputs, size, step, pad, apart, ceil_mode)
        ctx.save_for_backward(inputs, places)
        ctx.geometry, ctx.kept = geometry, None
        ctx.apart = all(length <= stride for length, stride in zip(size, step, strict=True))
        ctx.apart = ctx.apart and tuple(apart) == (1, 1)
        pooled: torch.Tensor = outputs
        return pooled

    @staticmethod
    def backward(ctx: Any, outer: torch.Tensor) -> tuple[torch.Tensor, None]:
        inputs, places = ctx.saved_tensors
        if torch.is_grad_enabled() or not ctx.apart:  # the result may be kept, or places be met twice
            return _applied(_Unpooled, outer, inputs.detach(), places, ctx.geometry), None
        if ctx.kept is None:
            ctx.kept = _Unpooling(inputs, places)
        return ctx.kept(outer), None


class _Unpooled(torch.autograd.Function):
    """The pooling's gradient: the outputs' put where the maxima were."""

    @staticmethod
    def forward(
        ctx: Any, outer: torch.Tensor, inputs: torch.Tensor, places: torch.Tensor, geometry: Any
    ) -> torch.Tensor:
        ctx.save_for_backward(places)
        size, step, pad, apart, ceil_mode = geometry
        gradient: torch.Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
            outer, inputs, size, step, pad, apart, ceil_mode, places
        )
        return gradient

    @staticmethod
    def backward(ctx: Any, along: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (places,) = ctx.saved_tensors
        return _taken(along, places), None, None, None


class _Unpooling:
    """Puts values at flat places of the last two dimensions of one tensor, again and again.

    Parameters
    ----------
    inputs, places
        The pooling's inputs, for their shape, and its indices, no two of which may be the same.
    """

    def __init__(self, inputs: torch.Tensor, places: torch.Tensor) -> None:
        examples, channels, height, width = inputs.shape
        self.last = places.is_contiguous(memory_format=torch.channels_last)
        if self.last:
            self.values = inputs.new_zeros(examples, height * width, channels)
            self.image = self.values.view(examples, height, width, channels).permute(0, 3, 1, 2)
            self.places = _pixels(places)
        else:
            self.values = inputs.new_zeros(examples, channels, height * width)
            self.image = self.values.view(inputs.shape)
            self.places = places.flatten(2)

    def __call__(self, outer: torch.Tensor) -> torch.Tensor:
        """The tensor with these values, in the inputs' shape; the next call changes it."""
        source = _pixels(outer) if self.last else outer.flatten(2)
        self.values.scatter_(1 if self.last else 2, self.places, source)
        return self.image


def _taken(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Values at flat places of the last two dimensions, in the memory layout that they have."""
    if places.is_contiguous(memory_format=torch.channels_last):
        shape = places.permute(0, 2, 3, 1).shape
        return _pixels(values).gather(1, _pixels(places)).view(shape).permute(0, 3, 1, 2)
    return values.flatten(2).gather(2, places.flatten(2)).view(places.shape)


def _pixels(values: torch.Tensor) -> torch.Tensor:
    """Channels last, the two dimensions before them as one."""
    return values.permute(0, 2, 3, 1).flatten(1, 2)
