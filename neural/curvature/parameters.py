"""What is measured of a model: its trained parameters as they are now, in real coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, NamedTuple

import torch

from ...errors import InputError, invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Module = torch.nn.Module

_MEASURABLE = frozenset({torch.float32, torch.float64, torch.complex64, torch.complex128})
"""Types in which a curvature can be found to a useful error."""

_WRAPPERS = frozenset({"DataParallel", "DistributedDataParallel", "FullyShardedDataParallel"})

_SAMPLED = 8
"""Entries of a parameter that tell whether it has changed."""

_OF_CRITERION = "criterion:"
"""Before the names of a criterion's own parameters."""


class ParameterList:
    """The trained parameters of a model, and of the criterion where it has some, at one moment.

    Parameters
    ----------
    model, criterion
        Their parameters that require gradients and are not empty are trained.

    Raises
    ------
    InputError
        If there is none, or one is lazy, on no device, sparse, or of a type in which curvature means little.
    """

    def __init__(self, model: Module, criterion: object) -> None:
        found: dict[str, torch.Tensor] = dict(model.named_parameters())
        if isinstance(criterion, torch.nn.Module):
            known = {id(value) for value in found.values()}
            own = {f"{_OF_CRITERION}{name}": value for name, value in criterion.named_parameters()}
            found |= {name: value for name, value in own.items() if id(value) not in known}
        for name, value in found.items():
            if _is_lazy(value):
                raise _refused_parameter(name, "not initialised (lazy)", "call the model once on a batch")
        self.frozen = {name: value for name, value in found.items() if not value.requires_grad}
        self.trained: dict[str, torch.Tensor] = {
            name: value for name, value in found.items() if value.requires_grad and value.numel()
        }
        self._places = [
            (module, name, value, value.requires_grad)
            for whole in (model, criterion)
            if isinstance(whole, torch.nn.Module)
            for module in whole.modules()
            for name, value in module._parameters.items()
            if value is not None
        ]
        for name, value in self.trained.items():
            _require_measurable_type(name, value)
        self._samples = [_sample(value) for value in self.trained.values()]
        if not self.trained:
            raise invalid(
                "model",
                type(model).__name__,
                accepted="a module with at least one parameter that is trained",
                remedy="set requires_grad on what is to be measured",
            )

    @property
    def is_stale(self) -> bool:
        """Whether a parameter has been replaced, frozen or unfrozen since, or changed through its `data`.

        A few values of each are compared, except on a GPU, where the host would have to wait.
        """
        return any(
            owner._parameters.get(name) is not value or value.requires_grad != trained
            for owner, name, value, trained in self._places
        ) or any(
            not torch.equal(_sample(value), before)
            for value, before in zip(self.trained.values(), self._samples, strict=True)
            if not value.is_cuda
        )

    def coordinates(self) -> dict[str, torch.Tensor]:
        """Each parameter's real coordinates, sharing its memory; complex ones get a last dimension of two."""
        return {name: coordinates_of(value) for name, value in self.trained.items()}

    @property
    def size(self) -> int:
        """Number of real coordinates."""
        return sum(value.numel() * (2 if value.is_complex() else 1) for value in self.trained.values())

    @property
    def device(self) -> torch.device:
        """Where the first parameter is."""
        return next(iter(self.trained.values())).device

    @property
    def dtype(self) -> torch.dtype:
        """The widest real precision among the parameters."""
        double = {torch.float64, torch.complex128}
        wide = any(value.dtype in double for value in self.trained.values())
        return torch.float64 if wide else torch.float32


def _sample(value: torch.Tensor) -> torch.Tensor:
    """A few entries along the first dimension, copied."""
    plain = value.detach()
    return (
        plain[:: max(1, len(plain) // _SAMPLED)].flatten()[:_SAMPLED].clone() if plain.ndim else plain.clone()
    )


def coordinates_of(value: torch.Tensor) -> torch.Tensor:
    """A tensor's real coordinates, detached, sharing its memory."""
    plain = value.detach()
    return torch.view_as_real(plain) if plain.is_complex() else plain


def as_parameter(coordinates: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """Coordinates in the form of the parameter that they are of."""
    return torch.view_as_complex(coordinates) if parameter.is_complex() else coordinates


def _is_lazy(value: torch.Tensor) -> bool:
    return bool(torch.nn.parameter.is_lazy(value))


def _require_measurable_type(name: str, value: torch.Tensor) -> None:
    kind = str(value.dtype).removeprefix("torch.")
    if value.is_meta:
        raise _refused_parameter(name, "on the meta device, without values", "load the weights first")
    if value.layout != torch.strided:
        layout = str(value.layout).removeprefix("torch.")
        raise _refused_parameter(name, layout, "make it dense with to_dense()")
    if value.dtype not in _MEASURABLE:
        remedy = "convert the model and its inputs with float() or double() (--double at the command line)"
        raise _refused_parameter(name, kind, remedy)


def _refused_parameter(name: str, what: str, remedy: str) -> InputError:
    accepted = "trained parameters in float32, float64, complex64 or complex128, on a device"
    return invalid(f"parameter {name}", what, accepted=accepted, remedy=remedy)


def require_measurable(model: object, criterion: object) -> None:
    """Refuse what cannot be differentiated twice or called in other parameters' place.

    Raises
    ------
    InputError
        Naming the module, if something is no module, compiled, scripted, or wrapped for several devices.
    """
    if not isinstance(model, torch.nn.Module):
        raise invalid(
            "model",
            f"of type {type(model).__name__}",
            accepted="a torch.nn.Module",
            remedy="pass the module itself",
        )
    for what, whole in (("model", model), ("loss", criterion)):
        for name, module in _modules(whole):
            why = _unusable(module)
            if why:
                where = name or "its root"
                raise invalid(
                    what,
                    f"{why[0]} at {where}",
                    accepted="a module that is differentiable twice",
                    remedy=why[1],
                )


def _modules(whole: object) -> Iterator[tuple[str, object]]:
    if isinstance(whole, torch.nn.Module):
        yield from whole.named_modules()
    else:
        yield "", whole


def _unusable(module: object) -> tuple[str, str] | None:
    """Why a module or function cannot be used, and what to pass instead; None if it can."""
    attributes = getattr(module, "__dict__", {})
    if "_orig_mod" in attributes.get("_modules", {}) or "_orig_mod" in attributes:
        return "compiled by torch.compile", "pass the module as it was before torch.compile (its _orig_mod)"
    compiled = attributes.get("_compiled_call_impl") is not None
    if compiled or hasattr(getattr(module, "forward", module), "_torchdynamo_orig_callable"):
        return "compiled by torch.compile", "pass it as it was before torch.compile"
    if isinstance(module, (torch.jit.ScriptModule, torch.jit.ScriptFunction)):
        return "scripted or traced by torch.jit", "pass the Python module that it was made of"
    if any(kind.__name__ in _WRAPPERS for kind in type(module).__mro__):
        return f"wrapped in {type(module).__name__}", "pass the module inside, its .module"
    return None


class Snapshot(NamedTuple):
    """What takes the place of a model's and a criterion's own tensors for one evaluation."""

    named: list[dict[str, torch.Tensor]]
    """Tensors for each module, by qualified name."""
    replacements: dict[int, torch.Tensor]
    """The same, by the ids of the modules' own."""
    originals: dict[int, torch.Tensor]
    """The parameters, by the ids of what takes their place."""

    @classmethod
    def of(
        cls,
        modules: Sequence[Module],
        listed: ParameterList,
        values: Mapping[str, torch.Tensor],
        frozen: Mapping[str, torch.Tensor],
    ) -> Snapshot:
        """Other values of the parameters, and copies of the buffers."""
        own = {id(value): values[name] for name, value in listed.trained.items()}
        own |= {id(value): frozen[name] for name, value in listed.frozen.items() if name in frozen}
        named = []
        for module in modules:
            buffers = dict(module.named_buffers(remove_duplicate=False))
            own |= {id(value): value.clone() for value in buffers.values() if id(value) not in own}
            held = dict(module.named_parameters(remove_duplicate=False)) | buffers
            named.append({name: own[id(value)] for name, value in held.items() if id(value) in own})
        originals = {id(values[name]): value for name, value in listed.trained.items()}
        return cls(named, own, originals)


def _is_amount(value: object) -> bool:
    return isinstance(value, Real) and 0 <= float(value) < math.inf


class WeightDecay:
    """Half of each parameter's decay times its square, as a part of the loss.

    Parameters
    ----------
    decay
        One number for all, or numbers by name; names that are left out have none.
    listed
        The parameters.

    Raises
    ------
    InputError
        If a number is negative or not finite, or a name is unknown.
    """

    def __init__(self, decay: float | Mapping[str, float], listed: ParameterList) -> None:
        values = decay.values() if isinstance(decay, Mapping) else (decay,)
        for value in values:
            if isinstance(value, bool) or not _is_amount(value):
                raise invalid(
                    "weight decay", value, accepted="a finite number of at least 0", remedy="pass 1e-4"
                )
        known = {*listed.trained, *listed.frozen}
        unknown = [name for name in decay if name not in known] if isinstance(decay, Mapping) else []
        if unknown:
            accepted = f"names of parameters, such as {next(iter(known))}"
            raise invalid("weight decay of", unknown[0], accepted=accepted, remedy="take one of these")
        self.decay = decay

    def __bool__(self) -> bool:
        """Whether there is any."""
        decay = self.decay
        return any(decay.values()) if isinstance(decay, Mapping) else bool(decay)

    def of(self, name: str) -> float:
        """A parameter's."""
        decay = self.decay
        return float(decay.get(name, 0.0) if isinstance(decay, Mapping) else decay)

    def penalty(self, coordinates: Mapping[str, torch.Tensor]) -> float:
        """The part of the loss."""
        if not self:
            return 0.0
        squares = (
            self.of(name) * float(value.double().square().sum()) for name, value in coordinates.items()
        )
        return 0.5 * sum(squares)
