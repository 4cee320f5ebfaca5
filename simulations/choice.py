"""Which method runs a problem, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import invalid, require_known
from .methods import FactoredMethod, FullMethod
from .reduced import ReducedMethod

if TYPE_CHECKING:
    from ..theory import Problem

METHODS = (ReducedMethod.name, FullMethod.name, FactoredMethod.name)
"""Names of the methods."""

_SMALL = 32
"""Input dimension up to which a given state is advanced as it is."""

_SMALLEST_COUPLING = 1e-6
"""Below this `kappa` a factor, which holds `kappa w`, has lost digits of `w`."""


class Choice(NamedTuple):
    """A method by name."""

    method: str
    reason: str
    """Why this one, in words."""


def choose_method(name: str, problem: Problem, *, start_given: bool, states_wanted: bool = False) -> Choice:
    """A method by name, `auto` for the one that costs least without losing digits.

    Parameters
    ----------
    name
        `auto`, `reduced`, `full` or `factored`.
    problem
        Its sizes count.
    start_given
        Whether starts are states of all coordinates, rather than drawn in law.
    states_wanted
        Whether states in the original coordinates are asked for, which the reduced method does not have.

    Raises
    ------
    InputError
        If the name is unknown, or the method does not do what is asked.
    """
    require_known("method", name, ("auto", *METHODS))
    width, dimension = problem.sizes.values()
    if name == FactoredMethod.name and problem.kappa < _SMALLEST_COUPLING:
        accepted = f"full, reduced or auto where the coupling is below {_SMALLEST_COUPLING:g}"
        raise invalid("method", name, accepted=accepted, remedy="pass --method auto")
    if name == ReducedMethod.name and states_wanted:
        raise invalid("method", name, accepted="auto, full, factored", remedy="use simulate for observables")
    if name != "auto":
        return Choice(name, "asked for")
    if not start_given and not states_wanted:
        return Choice(
            ReducedMethod.name, "starts are drawn in law; a step costs the same at every width and dimension"
        )
    if dimension > _SMALL and not states_wanted:
        return Choice(ReducedMethod.name, f"D = {dimension:g} > {_SMALL}: a Krylov space holds the dynamics")
    if width <= dimension:
        return Choice(FactoredMethod.name, "N <= D: a factor keeps the rank of the Gram matrix")
    return Choice(FullMethod.name, "N > D, states of all coordinates")
