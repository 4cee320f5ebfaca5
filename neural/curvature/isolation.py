"""User code run without a trace: random states, attributes and flags are as before afterwards."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from contextlib import contextmanager
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Restore = Callable[[], None]

_NUMPY_SEEDS = 2**32

_LIBRARIES = frozenset({"builtins", "numpy", "torch"})

_IMMUTABLE = frozenset({bool, int, float, str, type(None), torch.nn.Parameter})

_DEEPEST = 3
"""Levels of containers inside one another that are looked into."""

_LARGEST_COPY = 2**24
"""Elements of a tensor in a plain attribute up to which it is copied."""


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Random numbers of one seed inside: PyTorch's on every device, NumPy's and Python's.

    Every generator's state is as before outside.
    """
    numpy_global: Any = np.random.mtrand._rand
    before = random.getstate(), numpy_global.get_state(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    torch.default_generator.manual_seed(seed)
    if devices:
        torch.cuda.manual_seed_all(seed)
    numpy_global.seed(seed % _NUMPY_SEEDS)
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        numpy_global.set_state(before[1])
        torch.set_rng_state(before[2])
        if devices:
            torch.cuda.set_rng_state_all(devices)


def random_state() -> str:
    """Hash of where all generators are, which tells how many numbers were drawn from them."""
    found = hashlib.sha256(repr((random.getstate(), np.random.mtrand._rand.get_state(legacy=False))).encode())
    found.update(torch.get_rng_state().numpy().tobytes())
    for state in torch.cuda.get_rng_state_all() if torch.cuda.is_available() else ():
        found.update(state.numpy().tobytes())
    return found.hexdigest()


def reached_by(function: object) -> list[object]:
    """Objects with a state of their own that a function can reach: what it is bound to or closes over.

    Modules are found among the globals that it names, too.
    """
    if isinstance(function, partial):
        return [found for item in (function.func, *function.args) for found in reached_by(item)]
    if isinstance(function, MethodType):
        return [function.__self__, *reached_by(function.__func__)]
    if not isinstance(function, FunctionType):
        is_module = isinstance(function, torch.nn.Module)
        return (
            [] if is_module or isinstance(function, type) or not hasattr(function, "__dict__") else [function]
        )
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    named = [function.__globals__.get(name) for name in function.__code__.co_names]
    modules = [value for value in (*cells, *named) if isinstance(value, torch.nn.Module)]
    return [
        *modules,
        *(value for value in cells if type(value).__module__ not in _LIBRARIES and _has_state(value)),
    ]


def _is_filled(cell: CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _has_state(value: object) -> bool:
    kinds = (type, FunctionType, MethodType, ModuleType, torch.nn.Module, torch.Tensor, partial)
    return hasattr(value, "__dict__") and not isinstance(value, kinds)


@contextmanager
def unchanged(holders: Iterable[object]) -> Iterator[None]:
    """Attributes of modules, and of other objects that have some, are as before afterwards.

    Plain values, the contents of containers, tensors that are no parameters, and generators are put back.
    Parameters are not copied: `guards` finds what changes them in place.
    """
    kept = [_Attributes.of(holder.__dict__) for holder in holders if hasattr(holder, "__dict__")]
    try:
        yield
    finally:
        for attributes in kept:
            attributes.restore()


def silence_backward_hooks(modules: Iterable[torch.nn.Module]) -> None:
    """Take out what would be called in, and may change, derivatives that are not the user's own."""
    for module in modules:
        for part in module.modules():
            part._backward_hooks.clear()
            part._backward_pre_hooks.clear()


def modules_in(values: Iterable[object]) -> list[torch.nn.Module]:
    """The modules among objects."""
    return [value for value in values if isinstance(value, torch.nn.Module)]


class _Attributes(NamedTuple):
    """What one object's attributes were."""

    present: dict[str, Any]
    before: dict[str, Any]
    contents: list[Restore]

    @classmethod
    def of(cls, present: dict[str, Any]) -> _Attributes:
        found = (_restoring(value) for value in present.values() if type(value) not in _IMMUTABLE)
        return cls(present, dict(present), [restore for restore in found if restore is not None])

    def restore(self) -> None:
        """Put them back."""
        self.present.clear()
        self.present.update(self.before)
        for restore in self.contents:
            restore()


def _restoring(value: Any, depth: int = 0) -> Restore | None:
    """What puts a value's contents back; None for what cannot change, or lies deeper than is looked."""
    if isinstance(value, (dict, list, tuple, set, deque)) and depth <= _DEEPEST:
        return _container_restoring(value, depth)
    if isinstance(value, torch.Tensor):
        return _tensor_restoring(value)
    if isinstance(value, np.ndarray):
        return partial(np.copyto, value, value.copy()) if value.flags.writeable else None
    return _generator_restoring(value)


def _container_restoring(value: Any, depth: int) -> Restore:
    inside = value.values() if isinstance(value, dict) else value
    items = [found for item in inside if (found := _restoring(item, depth + 1)) is not None]
    own: Restore | None = None
    if isinstance(value, (dict, set)):
        own = partial(_refill, value, dict(value) if isinstance(value, dict) else set(value))
    elif isinstance(value, (list, deque)):
        own = partial(_relist, value, list(value))

    def restore() -> None:
        if own is not None:
            own()
        for item in items:
            item()

    return restore


def _generator_restoring(value: Any) -> Restore | None:
    if isinstance(value, torch.Generator):
        return partial(_restate, value, value.get_state())
    if isinstance(value, np.random.Generator):
        return partial(setattr, value.bit_generator, "state", value.bit_generator.state)
    if isinstance(value, random.Random):
        return partial(value.setstate, value.getstate())
    return None


def _restate(generator: torch.Generator, before: torch.Tensor) -> None:
    generator.set_state(before)


def _refill(container: Any, before: Any) -> None:
    if container or before:
        container.clear()
        container.update(before)


def _relist(container: Any, before: list[Any]) -> None:
    container.clear()
    container.extend(before)


def _tensor_restoring(value: torch.Tensor) -> Restore | None:
    if isinstance(value, torch.nn.Parameter) or value.is_meta or value.numel() > _LARGEST_COPY:
        return None
    before, version = value.detach().clone(), value._version

    def restore() -> None:
        if value._version != version:
            with torch.no_grad():
                value.copy_(before)

    return restore
