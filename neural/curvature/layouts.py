"""How losses read outputs and targets: shapes, number formats and labels, each refused if it is misread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ...errors import invalid

if TYPE_CHECKING:
    from ...errors import InputError

IGNORED = -100
"""Label that torch's cross-entropy skips by default."""

_CLOSE = 1e-4
"""How far the sum of probabilities in single precision may be from one."""


def require_tensors(loss: str, outputs: Any, targets: Any) -> None:
    """Refuse anything but a floating-point tensor of outputs and a real tensor of targets beside it.

    Raises
    ------
    InputError
        Naming the type, number format or device.
    """
    for what, value in (("outputs", outputs), ("targets", targets)):
        if not isinstance(value, torch.Tensor):
            raise invalid(
                f"{what} of {loss}",
                type(value).__name__,
                accepted="a tensor",
                remedy=f"pass a function of (outputs, targets) that finds the {what}",
            )
        if value.is_complex():
            raise invalid(
                f"{what} of {loss}",
                f"complex ({format_and_shape(value)})",
                accepted="real numbers",
                remedy="view them as real pairs with torch.view_as_real, or pass a function as the loss",
            )
    if not outputs.is_floating_point():
        raise mismatch(loss, outputs, targets, "floating-point outputs", "let the model return its logits")
    if not outputs.numel():
        raise mismatch(loss, outputs, targets, "at least one example", "pass a batch that is not empty")
    if outputs.device != targets.device:
        where = f"outputs on {outputs.device}, targets on {targets.device}"
        raise invalid(
            f"devices of {loss}", where, accepted="one device", remedy=f"targets.to({outputs.device})"
        )


def is_labels(targets: torch.Tensor) -> bool:
    """Whether targets are whole numbers."""
    return not (targets.is_floating_point() or targets.dtype == torch.bool)


def class_dimension(loss: str, outputs: torch.Tensor, targets: torch.Tensor) -> int:
    """Which dimension of the outputs holds the classes: 1, or the last, whichever leaves the labels' shape.

    Raises
    ------
    InputError
        If neither does, or both do and they differ.
    """
    shape, last = tuple(outputs.shape), outputs.ndim - 1
    dense, trailing = shape[:1] + shape[2:], shape[:-1]
    fits = [place for place, rest in ((1, dense), (last, trailing)) if tuple(targets.shape) == rest]
    if outputs.ndim > 1 and len(set(fits)) == 1:
        return fits[0]
    if outputs.ndim > 1 and fits:
        raise mismatch(
            loss,
            outputs,
            targets,
            f"shapes that say which dimension holds the classes; dimension 1 and dimension {last} both fit",
            "use token-cross-entropy for the last dimension, torch.nn:CrossEntropyLoss for dimension 1",
        )
    if outputs.ndim < 2:
        accepted = "outputs of shape (N, C) with labels of shape (N,)"
        remedy = "let the model return one logit a class, or use binary-cross-entropy"
    else:
        accepted = " or ".join(f"labels of shape {rest}" for rest in dict.fromkeys((dense, trailing)))
        remedy = _reshaping(targets, trailing)
    raise mismatch(loss, outputs, targets, accepted, remedy)


def require_same_shape(loss: str, outputs: torch.Tensor, targets: torch.Tensor) -> None:
    """Refuse targets that would be broadcast.

    Raises
    ------
    InputError
        With both shapes.
    """
    if outputs.shape != targets.shape:
        shape = tuple(outputs.shape)
        raise mismatch(loss, outputs, targets, f"targets of shape {shape}", _reshaping(targets, shape))


def require_labels(
    loss: str, outputs: torch.Tensor, labels: torch.Tensor, classes: int, *, ignored: int | None = None
) -> None:
    """Refuse labels that are no classes, and labels all of which are ignored; one reading of the device.

    Parameters
    ----------
    loss, outputs
        What the labels are for.
    labels
        Whole numbers of any shape.
    classes
        How many there are, C.
    ignored
        The one label outside 0 to C - 1 that is allowed.

    Raises
    ------
    InputError
        Naming the label and the number of classes.
    """
    if is_traced(labels):
        return
    low, high = _ends(labels)
    if low >= 0 and high < classes:
        return
    kept = labels if ignored is None else labels[labels != ignored]
    accepted = f"labels from 0 to {classes - 1}" + ("" if ignored is None else f", or {ignored} to skip one")
    if not kept.numel():
        raise mismatch(
            loss,
            outputs,
            labels,
            f"at least one label that is not {ignored}",
            "the mean over none is no number: leave such a batch out",
        )
    low, high = _ends(kept)
    if low < 0 or high >= classes:
        wrong = int(low if low < 0 else high)
        raise invalid(
            f"label of {loss}",
            f"{wrong}, for {classes} classes ({format_and_shape(outputs)})",
            accepted=accepted,
            remedy=f"let the model return at least {wrong + 1} classes, or number the labels from 0"
            if wrong >= 0
            else "number the labels from 0",
        )


def require_class_dimension_of_probabilities(loss: str, outputs: torch.Tensor, targets: torch.Tensor) -> None:
    """Refuse class probabilities over the last dimension where torch reads them over dimension 1.

    Raises
    ------
    InputError
        If they sum to one over the last dimension and not over dimension 1.
    """
    if outputs.ndim == 2 or is_traced(targets):
        return
    close = max(_CLOSE, 8 * torch.finfo(targets.dtype).eps)
    off = torch.stack([(targets.sum(place) - 1).abs().amax() for place in (1, -1)]).tolist()
    if off[1] <= close < off[0]:
        raise mismatch(
            loss,
            outputs,
            targets,
            "class probabilities over dimension 1, as torch reads them; these sum to one over the last",
            "pass a loss of outputs.flatten(0, -2) and targets.flatten(0, -2)",
        )


def require_unit_interval(loss: str, outputs: torch.Tensor, targets: torch.Tensor) -> None:
    """Refuse targets outside 0 to 1.

    Raises
    ------
    InputError
        Naming the target.
    """
    if is_traced(targets):
        return
    low, high = _ends(targets)
    if not (low >= 0 and high <= 1):
        raise invalid(
            f"target of {loss}",
            f"{high if low >= 0 else low} ({format_and_shape(targets)}, outputs {format_and_shape(outputs)})",
            accepted="probabilities from 0 to 1",
            remedy="pass 0 and 1, or use cross-entropy for class labels",
        )


def is_traced(tensor: torch.Tensor) -> bool:
    """Whether a tensor's values cannot be looked at: in `torch.func` transforms, graphs and on no device."""
    return (
        torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        or tensor.is_meta
        or torch.compiler.is_compiling()
        or (tensor.is_cuda and torch.cuda.is_current_stream_capturing())
    )


def format_and_shape(tensor: torch.Tensor) -> str:
    """Number format and shape."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def mismatch(
    loss: str, outputs: torch.Tensor, targets: torch.Tensor, accepted: str, remedy: str
) -> InputError:
    """The error for outputs and targets that do not fit together."""
    value = f"outputs {format_and_shape(outputs)}, targets {format_and_shape(targets)}"
    return invalid(f"input of {loss}", value, accepted=accepted, remedy=remedy)


def _ends(values: torch.Tensor) -> tuple[float, float]:
    """Smallest and largest value, read at once."""
    low, high = torch.stack(torch.aminmax(values)).tolist()
    return low, high


def _reshaping(targets: torch.Tensor, shape: tuple[int, ...]) -> str:
    """What gives targets a shape."""
    if tuple(targets.shape) == (*shape, 1):
        return "pass targets.squeeze(-1)"
    if (*targets.shape, 1) == shape:
        return "pass targets.unsqueeze(-1), or let the model return outputs.squeeze(-1)"
    if len(shape) > 0 and targets.numel() == torch.Size(shape).numel():
        return f"pass targets.reshape({', '.join(map(str, shape))}) if their order is the same"
    if targets.is_floating_point():
        return "make the shapes equal; pass class labels as integers (targets.long())"
    return "make the shapes fit"
