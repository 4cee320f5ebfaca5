"""Convolutions and max pooling whose second derivatives take no more work than they need.

PyTorch's own also differentiate a convolution's data, which nothing depends on, and add zeros the size of a
max pooling's input; at the first layers, where images are largest, that is a third of a product's time. A
convolution whose windows do not overlap is a matrix product, which is differentiated at full speed.
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

_IMAGE_DIMENSIONS = 4

_CONVOLUTIONS: dict[Any, int] = {torch.conv1d: 1, torch.conv2d: 2, torch.conv3d: 3}
"""Their spatial dimensions."""

MATRIX_PRODUCTS = frozenset({"cpu"})
"""Device types on which products through convolutions without overlap were measured to be faster so."""

_POOLINGS = frozenset({torch.max_pool2d, functional.max_pool2d})


class LeanSecondDerivatives(TorchFunctionMode):
    """Inside, convolutions of data or without overlap, and two-dimensional max pooling, are of this module.

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
    """The convolution; None if nothing is gained, or it is not batched."""
    special = isinstance(padding, str) or weight.is_complex() or torch.is_autocast_enabled(input.device.type)
    if special or not weight.requires_grad or input.ndim != dimensions + 2:
        return None
    spread = tuple(_spread(value, dimensions) for value in (stride, padding, dilation))
    if not input.requires_grad:
        outputs = _applied(_DataConvolution, input, weight, (*spread, groups))
    elif _is_patchwise(input, weight, spread, groups):
        outputs = _of_patches(input, weight, *spread[:2])
    else:
        return None
    return outputs if bias is None else outputs + bias.view(-1, *[1] * dimensions)


def _is_patchwise(
    images: torch.Tensor, weight: torch.Tensor, spread: tuple[tuple[int, ...], ...], groups: int
) -> bool:
    """Whether a convolution is of images whose windows do not overlap, on a device where that helps."""
    stride, padding, dilation = spread
    apart = all(length <= step for length, step in zip(weight.shape[2:], stride, strict=True))
    plain = images.ndim == _IMAGE_DIMENSIONS and groups == 1 and set(dilation) == {1}
    fits = weight.shape[1] == images.shape[1] and all(
        window <= length + 2 * pad
        for window, length, pad in zip(weight.shape[2:], images.shape[2:], padding, strict=True)
    )
    return apart and plain and fits and images.device.type in MATRIX_PRODUCTS


def _of_patches(
    images: torch.Tensor, weight: torch.Tensor, stride: tuple[int, ...], padding: tuple[int, ...]
) -> torch.Tensor:
    """A convolution whose windows do not overlap, as a matrix product; channels last in memory."""
    sizes = [
        (length + 2 * pad - window) // step + 1
        for length, pad, window, step in zip(images.shape[2:], padding, weight.shape[2:], stride, strict=True)
    ]
    # The image is padded, or cut, to as many whole steps as there are windows.
    margins = [
        (pad, size * step - length - pad)
        for length, pad, size, step in zip(images.shape[2:], padding, sizes, stride, strict=True)
    ]
    pixels = functional.pad(images.permute(0, 2, 3, 1), (0, 0, *margins[1], *margins[0]))
    steps = pixels.reshape(len(images), sizes[0], stride[0], sizes[1], stride[1], images.shape[1])
    windows = steps[:, :, : weight.shape[2], :, : weight.shape[3]].permute(0, 1, 3, 2, 4, 5)
    kernel = weight.permute(0, 2, 3, 1).reshape(len(weight), -1)
    outputs = windows.reshape(-1, kernel.shape[1]) @ kernel.T
    return outputs.view(len(images), *sizes, len(weight)).permute(0, 3, 1, 2)


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
    if not input.requires_grad or input.ndim != _IMAGE_DIMENSIONS or return_indices:
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
