"""How a model or a loss is called: on other tensors than its own, in full precision."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.stateless import _reparametrize_module
from torch.overrides import TorchFunctionMode

from ..precision import full_precision
from .functions import LeanSecondDerivatives

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SPARSE: dict[Any, int] = {
    functional.embedding_bag: 7,
    torch.embedding: 4,
    torch.embedding_bag: 5,
}
"""Positions of the argument `sparse`. Sparse gradients have no derivative; dense ones are the same."""

_WIDER = {torch.float32: torch.float64, torch.complex64: torch.complex128}

_WIDENING: dict[Any, Any] = {
    torch.Tensor.float: torch.Tensor.double,
}
"""Casts, and what takes their place in double precision."""

_KINKED: frozenset[Any] = frozenset(
    {functional.relu, functional.relu_, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_}
    | {functional.leaky_relu, functional.leaky_relu_, functional.hardtanh, functional.relu6, functional.prelu}
    | {functional.rrelu, functional.threshold, functional.hardswish, functional.hardsigmoid}
    | {functional.max_pool1d, functional.max_pool2d, functional.max_pool3d, torch.max_pool1d}
    | {torch.max_pool2d, torch.max_pool3d, torch.max, torch.min, torch.Tensor.max, torch.Tensor.min}
    | {torch.maximum, torch.minimum, torch.clamp, torch.Tensor.clamp, torch.Tensor.clamp_}
    | {torch.abs, torch.Tensor.abs, functional.l1_loss, functional.hinge_embedding_loss}
    | {functional.softshrink, functional.hardshrink, functional.adaptive_max_pool2d, torch.amax, torch.amin}
)
"""Operations whose derivative jumps somewhere."""

_EMBEDDING = inspect.signature(functional.embedding)

_RECURRENT = frozenset({torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu})
"""Layers whose cuDNN versions have no second derivative."""


class Substitution(TorchFunctionMode):
    """Inside, every operation takes other tensors in the place of some, however it came by them.

    A weight that is reached through a closure or a list is replaced like one that is an attribute. What goes
    around operations, such as `autograd.Function.apply`, is not; following the graph finds it.

    Parameters
    ----------
    replacements
        The tensor to take, by the id of the one that is given.
    originals
        The tensor that is replaced, by the id of what takes its place.
    how
        In double precision, constants and casts are too. What is seen is noted here.
    """

    def __init__(
        self, replacements: Mapping[int, torch.Tensor], originals: Mapping[int, torch.Tensor], how: How
    ) -> None:
        super().__init__()
        self.replacements, self.originals, self.how = replacements, originals, how

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the operation on what replaces its arguments, in full precision."""
        del types
        if function is functional.embedding:
            return self._embedding(*args, **(kwargs or {}))
        args, named = self._replaced(args), self._replaced(kwargs or {})
        if self.how.double:
            function = _WIDENING.get(function, function)
        if function in _KINKED:
            self.how.kinked = True
        if function is torch._weight_norm:
            function = _weight_norm
        if function in _SPARSE:
            args, named = _dense(_SPARSE[function], args, named)
        if torch._C._autograd._top_saved_tensors_default_hooks(True):
            self.how.recomputes = True
        if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            with no_autocast():
                return function(*args, **named)
        if function in _RECURRENT:
            with _without_cudnn():
                return function(*args, **named)
        return function(*args, **named)

    def _embedding(self, *args: Any, **named: Any) -> torch.Tensor:
        """An embedding with dense gradients whose padding row stays what it is, as in training.

        PyTorch leaves that row out of the gradient. The loss whose gradient this is does not depend on it.
        """
        given = self._replaced(_EMBEDDING.bind(*args, **named).arguments | {"sparse": False})
        padding, original = given.get("padding_idx"), self.originals.get(id(given["weight"]))
        if padding is None or original is None:
            found: torch.Tensor = functional.embedding(**given)
            return found
        found = functional.embedding(**given | {"padding_idx": None})
        fixed = original.detach()[padding].to(found.dtype)
        return torch.where((given["input"] == padding % len(original)).unsqueeze(-1), fixed, found)

    def _replaced(self, values: Any) -> Any:
        """Arguments, nested as they may be, with every tensor replaced that has a replacement."""
        if isinstance(values, torch.Tensor):
            found = self.replacements.get(id(values), values)
            wider = _WIDER.get(found.dtype) if self.how.double else None
            return found if wider is None else found.to(wider)
        if self.how.double and type(values) is torch.dtype:
            return _WIDER.get(values, values)
        if type(values) in {tuple, list}:
            return type(values)([self._replaced(value) for value in values])
        if type(values) is dict:
            return {key: self._replaced(value) for key, value in values.items()}
        return values


def _weight_norm(v: torch.Tensor, g: torch.Tensor, dim: int = 0) -> torch.Tensor:
    """`g v/|v|`, whose second derivative PyTorch's own operation gets wrong (it is not symmetric)."""
    return v * (g / torch.norm_except_dim(v, 2, dim))


def _dense(
    place: int, args: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of an embedding with `sparse` false."""
    if len(args) > place:
        return (*args[:place], False, *args[place + 1 :]), named
    return args, named | {"sparse": False}


@dataclass
class How:
    """How a loss is evaluated, and what was seen on the way.

    Attributes
    ----------
    lean
        Whether the operations of `functions` are used, which only reverse passes go through.
    double
        Whether in double precision, whatever the model's own is.
    frozen
        Copies to take in the place of parameters that are not trained, by name.
    kinked
        Whether an operation was met whose derivative jumps.
    recomputes
        Whether parts of the model run again in backward passes, as under `torch.utils.checkpoint`.
    counts
        Whether to note how many random numbers are drawn.
    randomness
        What tells how many they were.
    """

    lean: bool = True
    double: bool = False
    frozen: dict[str, torch.Tensor] = field(default_factory=dict)
    kinked: bool = False
    recomputes: bool = False
    counts: bool = False
    randomness: str = ""


@contextmanager
def double_by_default() -> Iterator[None]:
    """Inside, tensors are made in double precision unless their type is given."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _without_cudnn() -> Iterator[None]:
    cudnn: Any = torch.backends.cudnn
    before, cudnn.enabled = cudnn.enabled, False
    try:
        yield
    finally:
        cudnn.enabled = before


@contextmanager
def no_autocast() -> Iterator[None]:
    """Inside, no operation is cast to a shorter type."""
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield


@contextmanager
def own_context() -> Iterator[None]:
    """Inside, gradients are taken in full precision, whatever the caller's modes are; also a decorator."""
    with torch.inference_mode(mode=False), torch.enable_grad(), full_precision(), no_autocast():
        yield


@contextmanager
def operations(*, lean: bool = True) -> Iterator[None]:
    """Inside, all that is differentiated twice: attention by the math kernel, IEEE single precision.

    Derivatives are taken inside, too, where `torch.utils.checkpoint` runs parts of a model again.

    Parameters
    ----------
    lean
        Whether the operations of `functions` are used, which only reverse passes go through.
    """
    with (
        own_context(),
        sdpa_kernel(SDPBackend.MATH),
        LeanSecondDerivatives() if lean else nullcontext(),
    ):
        yield


@contextmanager
def substituted(
    modules: Sequence[torch.nn.Module],
    named: Sequence[Mapping[str, torch.Tensor]],
    mode: Substitution,
) -> Iterator[None]:
    """Inside, modules have other parameters and buffers, as attributes and wherever else they are met.

    Parameters
    ----------
    modules, named
        Each module, and its tensors by qualified name.
    mode
        The same tensors, by the ids of the modules' own.
    """
    with ExitStack() as stack:
        for module, tensors in zip(modules, named, strict=True):
            stack.enter_context(_reparametrize_module(module, dict(tensors), tie_weights=True))
        stack.enter_context(mode)
        yield


def call(model: torch.nn.Module, inputs: Any) -> Any:
    """The model's outputs: a mapping is passed by keyword, a tuple by position, if its signature allows.

    Parameters
    ----------
    model
        Any module.
    inputs
        Inputs as in `Batch`.
    """
    if isinstance(inputs, Mapping):
        return model(**inputs) if _takes(model, (), dict(inputs)) else model(inputs)
    if isinstance(inputs, (tuple, list)):
        return model(*inputs) if _takes(model, tuple(inputs), {}) else model(inputs)
    return model(inputs)


def _takes(model: torch.nn.Module, args: tuple[Any, ...], named: dict[Any, Any]) -> bool:
    """Whether the model's signature fits these arguments."""
    try:
        inspect.signature(model.forward).bind(*args, **named)
    except TypeError:
        return False
    return True
