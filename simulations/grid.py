"""What an ensemble of latent trajectories is: its grid, its problems, and its randomness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import as_rates, as_seeds, as_sizes, require_whole
from ..theory import IsotropicTarget, Problem
from ..theory import parametrization as row_of
from ..theory.krylov_chain import target_coordinates
from ..theory.problem import as_target

if TYPE_CHECKING:
    from ..errors import Numbers, Vector
    from ..theory import Array, Parametrization


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A grid of latent trajectories.

    Widths, learning rates and seeds may be passed in any order, as one number, a list, a range or an array;
    they are kept in ascending order, which is that of the record.

    Attributes
    ----------
    parametrization
        A row of the table; its name may be passed.
    target
        `w*`, shape (D,), or `IsotropicTarget` where only its norm matters; D may then be of any size.
    widths
        Hidden widths, finite or `math.inf`.
    learning_rates
        Base learning rates `eta0`, above zero.
    seeds
        One network per width and seed; all learning rates start from the same one. Passing one number n means
        the seeds 0 to n - 1, as `--seeds` does.

    Raises
    ------
    InputError
        If any value is out of range, naming it, or two of an axis differ by no more than rounding.

    Examples
    --------
    >>> import superconsistency as sc
    >>> runs = sc.Ensemble("mup", [0.6, 0.8], widths=[256, 64], learning_rates=0.5, seeds=3)
    >>> runs.widths, runs.learning_rates, runs.seeds
    ((64, 256), (0.5,), (0, 1, 2))
    """

    parametrization: Parametrization
    target: Array | IsotropicTarget
    widths: tuple[float, ...]
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]

    if TYPE_CHECKING:  # what may be passed, which is more than what is kept

        def __init__(
            self,
            parametrization: Parametrization | str,
            target: Vector | IsotropicTarget,
            widths: Numbers,
            learning_rates: Numbers,
            seeds: Numbers,
        ) -> None: ...

    def __post_init__(self) -> None:
        target = self.target if isinstance(self.target, IsotropicTarget) else as_target(self.target)
        kept = {
            "parametrization": row_of(self.parametrization),
            "target": target,
            "widths": as_sizes("widths", self.widths, example=64),
            "learning_rates": as_rates("learning rates", self.learning_rates, example=0.5),
            "seeds": as_seeds(self.seeds),
        }
        for name, value in kept.items():
            object.__setattr__(self, name, value)
        for width in self.widths:
            self.compact_problem(width)

    @property
    def runs(self) -> int:
        """Trajectories in all."""
        return len(self.widths) * len(self.learning_rates) * len(self.seeds)

    def problem(self, width: float) -> Problem:
        """The problem at one width, in all its coordinates."""
        target = self.target.vector if isinstance(self.target, IsotropicTarget) else self.target
        return Problem(self.parametrization, width, target)

    def compact_problem(self, width: float) -> Problem:
        """The problem at one width, along the target only."""
        if isinstance(self.target, IsotropicTarget):
            return Problem(self.parametrization, width, np.array([self.target.norm]), self.target.dimension)
        return target_coordinates(self.problem(width), 1)

    def generator(self, width: float, seed: int) -> np.random.Generator:
        """The randomness of one network; independent between widths as between seeds."""
        require_whole("width", width, least=1, example=64, most=math.inf)
        require_whole("seed", seed, least=0, example=0)
        return np.random.default_rng([int(seed), 0 if math.isinf(width) else int(width)])
