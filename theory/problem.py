"""The problem of Section 5: a two-layer linear network, its parametrization and its target."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, as_number, invalid, require_instance, require_whole
from .parametrization import Parametrization
from .parametrization import parametrization as row_of

if TYPE_CHECKING:
    from ..errors import Vector

Array = NDArray[np.float64]


class LatentScales(ABC):
    """What a parametrization makes of a network's sizes."""

    @property
    def kappa(self) -> float:
        """Coupling `kappa` of the evolution laws; the only place where width can enter them."""
        return self._at("kappa")

    @property
    def gram(self) -> float:
        """Normalisation of `e` and `v`."""
        return self._at("gram")

    @property
    def multiplier(self) -> float:
        """Output multiplier of the network."""
        return self._at("multiplier")

    @property
    def learning_rate_scale(self) -> float:
        """Raw learning rate over `eta0` (`gamma^2`)."""
        return self._at("learning_rate")

    @abstractmethod
    def _at(self, name: str) -> float:
        """A scale of the parametrization at the network's sizes."""


@dataclass(frozen=True, eq=False)
class Problem(LatentScales):
    """Regression of `w = multiplier * E V` on a target, with whitened data (`X = I_D`).

    Attributes
    ----------
    parametrization
        A row of the table; its name may be passed.
    width
        Hidden width `N`: a whole number of at least 1, or `math.inf`.
    target
        `w*`, shape (D,); its length is the input dimension. Any sequence of numbers may be passed.
    inputs
        The input dimension D if the target is given in fewer coordinates, as in `chain`.

    Raises
    ------
    InputError
        If the width is not positive, the target is empty or not finite, or the infinite-width limit does
        not exist.
    """

    parametrization: Parametrization
    width: float
    target: Array
    inputs: int | None = None

    if TYPE_CHECKING:  # what may be passed, which is more than what is kept

        def __init__(
            self,
            parametrization: Parametrization | str,
            width: float,
            target: Vector,
            inputs: int | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "parametrization", row_of(self.parametrization))
        object.__setattr__(self, "target", as_target(self.target))
        if self.inputs is not None:
            require_whole("dimension", self.inputs, least=1, example=100)
        require_whole("width", self.width, least=1, example=64, most=math.inf)
        object.__setattr__(self, "width", as_number("width", self.width, example=64))
        if math.isinf(self.width):
            require_limit(self.parametrization)

    @property
    def dimension(self) -> int:
        """Coordinates of the target and of states: the input dimension `D` unless `inputs` is given."""
        return int(self.target.size)

    @property
    def sizes(self) -> dict[str, float]:
        """Width and input dimension, as the parametrization's scales take them."""
        return {"width": float(self.width), "dimension": float(self.inputs or self.dimension)}

    def _at(self, name: str) -> float:
        return float(getattr(self.parametrization, name).at(**self.sizes))


@dataclass(frozen=True)
class IsotropicTarget:
    """A target of which only the norm is given: all that matters to the law of a trajectory.

    Attributes
    ----------
    dimension
        Input dimension `D`, of any size: nothing of that length is stored.
    norm
        `|w*|`, at least zero.
    """

    dimension: int
    norm: float

    def __post_init__(self) -> None:
        require_whole("dimension", self.dimension, least=1, example=100)
        require_norm(self.norm)
        object.__setattr__(self, "dimension", int(self.dimension))
        object.__setattr__(self, "norm", float(self.norm))

    @property
    def size(self) -> int:
        """Input dimension, as that of a vector."""
        return self.dimension

    @property
    def vector(self) -> Array:
        """A target of this norm, along (1, ..., 1); shape (D,)."""
        return uniform_target(self.dimension, self.norm)


def uniform_target(dimension: int, norm: float) -> Array:
    """Target `w*` of a given norm along (1, ..., 1), shape (dimension,).

    By rotation invariance of the Gaussian start only the norm matters to the law of a trajectory.
    """
    require_whole("dimension", dimension, least=1, example=100)
    require_norm(norm)
    return np.full(int(dimension), norm / math.sqrt(dimension))


def require_norm(norm: float) -> None:
    """Raise `InputError` unless a target's norm is at least 0 and far from overflow."""
    if not 0 <= as_number("target norm", norm, example=1) <= _LARGEST_NORM:
        accepted = f"a number from 0 to {_LARGEST_NORM:g}"
        raise invalid("target norm", norm, accepted=accepted, remedy="pass --target-norm 1, for example")


_LARGEST_NORM = 1e100


def as_target(target: object) -> Array:
    """A target as an array that cannot be written to, shape (D,).

    Raises
    ------
    InputError
        If it is not a vector of finite numbers, or is empty.
    """
    vector = as_floats("target", target)
    if vector.ndim != 1 or vector.size == 0:
        raise invalid(
            "target shape",
            vector.shape,
            accepted="(D,) with D at least 1",
            remedy="pass a vector of length D",
        )
    if not np.isfinite(vector).all():
        bad = vector[~np.isfinite(vector)][0]
        raise invalid(
            "target", float(bad), accepted="finite numbers", remedy="pass a finite target, for example norm 1"
        )
    vector.setflags(write=False)
    return vector


def require_problem(problem: object) -> None:
    """Raise `InputError` unless a problem is one."""
    accepted, remedy = "a Problem", 'pass Problem("mup", 64, [0.6, 0.8]), for example'
    require_instance("problem", problem, Problem, accepted=accepted, remedy=remedy)


def as_floats(name: str, values: object) -> Array:
    """A copy of numbers of any shape; `InputError` if something else is among them."""
    try:
        found = np.asarray(values)
    except Exception as error:  # lists of uneven lengths, and arrays of other libraries in their own ways
        raise _no_numbers(name, values) from error
    if found.dtype.kind not in "iuf":
        raise _no_numbers(name, values)
    return np.array(found, dtype=np.float64)


def _no_numbers(name: str, values: object) -> InputError:
    return invalid(
        name, values, accepted="an array or list of numbers", remedy="pass [1.0, 0.5], for example"
    )


def require_limit(parametrization: Parametrization) -> None:
    """Refuse a parametrization whose start grows with the width.

    Raises
    ------
    InputError
        If the mean of `e` or `v`, or the variance of `w`, diverges at infinite width (App. C.3: SP).
    """
    if any(scale.exponent("width") > 0 for scale in parametrization.start):
        raise invalid(
            "parametrization at infinite width",
            parametrization.title,
            accepted="parametrizations whose start has a limit, as those of muP and NTP",
            remedy="use finite widths and drawn weights",
        )
