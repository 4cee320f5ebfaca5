"""A device that is not there: tensors whose values are on the CPU, out of sight.

What PyTorch refuses on a GPU is refused here: operations on tensors of two devices, and NumPy. What it allows
there but has to wait for, or copy between host and device, is noted. Its type is `lazy`, one of the few whose
gradients a build for the CPU can take; CUDA's cannot be, also of fake tensors: the process aborts.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("lazy")

WAITING = {"_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2", "unique_consecutive"}
"""Operations whose result, or its shape, the host has to wait for."""


class Elsewhere(torch.Tensor):
    """A tensor of the device; `held` is on the CPU, in the same layout."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> Self:
        made: Self = torch.Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=DEVICE,
        )
        made.held = values
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, _types: Any, _args: Any = (), _kwargs: Any = None) -> Any:
        if function is torch.ops.aten._has_compatible_shallow_copy_type.default:
            return True
        raise RuntimeError(f"{function} on a tensor of a device that is not there")

    def data_ptr(self) -> int:
        """Where the values are."""
        return self.held.data_ptr()

    def tolist(self) -> Any:
        """The values, for the host."""
        return self.cpu().tolist()

    @property
    def data(self) -> torch.Tensor:
        """The same tensor without a gradient; what replaces it brings its values."""
        return self.detach()

    @data.setter
    def data(self, other: torch.Tensor) -> None:
        torch.Tensor.data.__set__(self, other)  # type: ignore[attr-defined]
        self.held = _held(other)


class Event(NamedTuple):
    """Something that the host does, or waits for."""

    kind: str
    """`to host`, `from host`, `wait`, or `on host`: an operation on the host's own tensors."""
    operation: str
    shape: tuple[int, ...]


class OtherDevice(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, the device is there.

    Attributes
    ----------
    events
        Events on the host, in their order.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.events: list[Event] = []

    def __torch_dispatch__(
        self, function: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        tensors = [value for value in tree_leaves((args, named)) if isinstance(value, torch.Tensor)]
        apart = [isinstance(value, Elsewhere) for value in tensors]
        goal = torch.device(named["device"]) if named.get("device") is not None else None
        away = any(apart) if goal is None else goal.type == DEVICE.type
        self._note(function, tensors, apart, away=away)
        if goal == DEVICE:
            named["device"] = torch.device("cpu")
        known = {id(value.held): value for value in tensors if isinstance(value, Elsewhere)}
        inside = tree_map(_held, (args, named))
        found = function(*inside[0], **inside[1])
        return tree_map(lambda value: _outside(value, known), found) if away else found

    def _note(self, function: Any, tensors: list[torch.Tensor], apart: list[bool], *, away: bool) -> None:
        name = function.overloadpacket.__name__
        kind = ""
        chosen = name.startswith("index") and any(value.dtype == torch.bool for value in tensors[1:])
        if (name in WAITING or chosen) and any(apart):
            kind = "wait"
        elif name == "copy_" and apart[0] != apart[1]:
            kind = "from host" if apart[0] else "to host"
        elif any(apart) != away and tensors:
            kind = "from host" if away else "to host"
        elif not away:
            kind = "on host"
        elif any(value.ndim for value, other in zip(tensors, apart, strict=True) if not other):
            raise RuntimeError(f"{name} of tensors on two devices")
        if kind:
            self.events.append(Event(kind, name, tuple(tensors[0].shape) if tensors else ()))


def _held(value: Any) -> Any:
    return value.held if isinstance(value, Elsewhere) else value


def _outside(value: Any, known: dict[int, Elsewhere]) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    same = known.get(id(value))
    if same is None:
        return Elsewhere(value)
    if same.shape != value.shape:  # changed in place
        same.data = Elsewhere(value)
    return same
