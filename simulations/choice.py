"""Which method runs a problem, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import invalid, require_known
from ..theory import OBSERVABLES
from .methods import FactoredMethod, FullMethod
from .reduced import ReducedMethod, undeclared_tail

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def choose_method(
    name: str,
    problem: Problem,
    *,
    start_given: bool,
    states_wanted: bool = False,
    quantities: Sequence[str] = (),
) -> Choice:
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
    quantities
        Names from `theory.OBSERVABLES` to be recorded. The reduced method has those that declare a tail.

    Raises
    ------
    InputError
        If the name is unknown, or the method does not do what is asked.
    """
    require_known("method", name, ("auto", *METHODS))
    if name == FactoredMethod.name and problem.kappa < _SMALLEST_COUPLING:
        accepted = f"full, reduced or auto where the coupling is below {_SMALLEST_COUPLING:g}"
        raise invalid("method", name, accepted=accepted, remedy="pass --method auto")
    if name == ReducedMethod.name and states_wanted:
        raise invalid("method", name, accepted="auto, full, factored", remedy="use simulate for observables")
    without_tail = without_tails(quantities)
    if name == ReducedMethod.name and without_tail:
        raise undeclared_tail(without_tail[0])
    if name != "auto":
        return Choice(name, "asked for")
    if states_wanted or without_tail:
        return _of_all_coordinates(problem, without_tail)
    return _cheapest(problem, start_given=start_given)


def without_tails(quantities: Sequence[str]) -> list[str]:
    """The quantities that only methods of all coordinates can observe."""
    return [name for name in quantities if OBSERVABLES[name].tail is None]


def _cheapest(problem: Problem, *, start_given: bool) -> Choice:
    dimension = problem.sizes["dimension"]
    if not start_given:
        return Choice(
            ReducedMethod.name, "starts are drawn in law; a step costs the same at every width and dimension"
        )
    if dimension > _SMALL:
        return Choice(ReducedMethod.name, f"D = {dimension:g} > {_SMALL}: a Krylov space holds the dynamics")
    return _of_all_coordinates(problem, [])


def _of_all_coordinates(problem: Problem, without_tail: list[str]) -> Choice:
    """The cheaper of the methods that hold all coordinates."""
    width, dimension = problem.sizes.values()
    why = f"{without_tail[0]} declares no tail; " if without_tail else ""
    if width <= dimension and problem.kappa >= _SMALLEST_COUPLING:
        return Choice(FactoredMethod.name, f"{why}N <= D: a factor keeps the rank of the Gram matrix")
    if width <= dimension:
        return Choice(FullMethod.name, f"{why}the coupling is below {_SMALLEST_COUPLING:g}")
    return Choice(FullMethod.name, f"{why}N > D, states of all coordinates")
