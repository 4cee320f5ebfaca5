"""The one exception that bad input raises, wherever it is met, and the checks that every room makes.

`require_*` checks a value; `as_*` returns it in the one form that the rest of the program knows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, SupportsFloat

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    from numpy.typing import NDArray


class ArrayLike(Protocol):
    """An array of NumPy, PyTorch, xarray or pandas."""

    def __array__(self) -> NDArray[np.generic]: ...


if TYPE_CHECKING:  # what may be passed where several forms are accepted
    Vector = Sequence[SupportsFloat] | ArrayLike
    Numbers = SupportsFloat | Iterator[SupportsFloat] | Vector
    Names = str | Sequence[str]
    PathText = str | PathLike[str]


class InputError(ValueError):
    """A value from outside that cannot be used; its message is one line fit to show to a person."""


class OutputError(InputError):
    """A place that cannot be written to."""


def invalid(name: str, value: object, *, accepted: str, remedy: str) -> InputError:
    """Describe a rejected value.

    Parameters
    ----------
    name
        What was given, in the user's words ("learning rate").
    value
        The value itself; shown shortened.
    accepted
        The accepted range or set.
    remedy
        What to do instead.

    Returns
    -------
    InputError
        With a message of exactly one line: name, value, accepted range, remedy.
    """
    message = f"{name} is {_shown(value)}; accepted: {accepted}; remedy: {remedy}"
    return InputError(" ".join(message.split()))


def require_positive(name: str, value: float, *, example: object) -> None:
    """Raise `InputError` unless a value is a finite number above zero."""
    if not (_is_number(value) and math.isfinite(value) and value > 0):
        accepted = "a finite number above 0"
        raise invalid(name, value, accepted=accepted, remedy=f"pass {example}, for example")


LARGEST_WHOLE = 2**53
"""Whole numbers up to this are exact in floating point."""


def require_whole(
    name: str, value: float, *, least: int, example: object, most: float = LARGEST_WHOLE
) -> None:
    """Raise `InputError` unless a value is a whole number from `least` to `most`, which may be infinite."""
    number = _is_number(value)
    if number and least <= value <= most and (value == math.inf or value == int(value)):
        return
    if most == math.inf:
        accepted = f"a whole number of at least {least}, or inf"
    elif number and value > most:
        accepted = f"a whole number from {least} to {most:.0f}"
    else:
        accepted = f"a whole number of at least {least}"
    raise invalid(name, value, accepted=accepted, remedy=f"pass {example}, for example")


def require_integer(
    name: str, value: object, *, least: int, example: object, most: float = LARGEST_WHOLE
) -> None:
    """Raise `InputError` unless a value is an `int` from `least` to `most`; 2.0 is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(name, value, accepted="a whole number", remedy=f"pass {example}, for example")
    require_whole(name, value, least=least, example=example, most=most)


def require_distinct(name: str, values: Collection[object]) -> None:
    """Raise `InputError` unless there is at least one value and none occurs twice."""
    if not values or len(set(values)) < len(values):
        raise invalid(
            name, tuple(values), accepted="different values, at least one", remedy="list each of them once"
        )


def require_known(name: str, value: str, known: Collection[str]) -> None:
    """Raise `InputError` unless a name is among the known ones."""
    if not isinstance(value, str) or value not in known:
        raise invalid(name, value, accepted=", ".join(known), remedy="choose one of these")


def require_apart(name: str, values: Sequence[float]) -> None:
    """Raise `InputError` unless values, in ascending order, differ by more than rounding."""
    for one, other in pairwise(values):
        if math.isclose(one, other, rel_tol=TWINS):
            accepted = f"values that differ by more than {TWINS:g} of themselves"
            raise invalid(name, (one, other), accepted=accepted, remedy="leave one of them out")


TWINS = 1e-9
"""Numbers within this part of each other are one value of an axis."""


def require_instance(name: str, value: object, kind: type[object], *, accepted: str, remedy: str) -> None:
    """Raise `InputError` unless a value is of a kind."""
    if not isinstance(value, kind):
        raise invalid(name, value, accepted=accepted, remedy=remedy)


def require_flag(name: str, value: object) -> None:
    """Raise `InputError` unless a value is True or False."""
    if not isinstance(value, bool):
        raise invalid(name, value, accepted="True or False", remedy="pass one of these")


def require_function(name: str, value: object) -> None:
    """Raise `InputError` unless a value can be called or is None."""
    if value is not None and not callable(value):
        raise invalid(name, value, accepted="a function, or None", remedy="pass the function, not its name")


def as_number(name: str, value: object, *, example: object) -> float:
    """A number of any library as Python's own, an `int` if it is whole.

    Raises
    ------
    InputError
        If it is no real number, or too large for floating point; a truth value is none.
    """
    plain = _from_array(value)
    if not isinstance(plain, Real) or not _is_number(plain):
        raise invalid(name, value, accepted="a number", remedy=f"pass {example}, for example")
    return int(plain) if isinstance(plain, Integral) else float(plain)


def as_integer(name: str, value: object, *, least: int, example: object, most: float = LARGEST_WHOLE) -> int:
    """A whole number of any library as an `int`; 2.0 is none.

    Raises
    ------
    InputError
        If it is none, or not from `least` to `most`.
    """
    if not isinstance(value, bool) and isinstance(value, Integral):
        value = int(value)
    require_integer(name, value, least=least, example=example, most=most)
    return int(value)  # type: ignore[call-overload, no-any-return] # it has just been required to be one


def as_numbers(name: str, values: object, *, example: object) -> tuple[float, ...]:
    """One number or several, of any library, as a tuple of Python's own; those that are whole are `int`.

    Parameters
    ----------
    name
        What was given, in the user's words ("learning rates").
    values
        A number, a list, tuple, range or iterator of numbers, or an array of at most one dimension.
    example
        A number for the error's remedy.

    Raises
    ------
    InputError
        If it is anything else.
    """
    found = _listed(values)
    if found is None or not all(_is_number(value) for value in found):
        accepted = "a number, or a list, tuple, range or array of numbers"
        raise invalid(name, values, accepted=accepted, remedy=f"pass {example}, or ({example},)")
    return tuple(as_number(name, value, example=example) for value in found)


def as_sizes(name: str, values: object, *, example: object) -> tuple[float, ...]:
    """Sizes, given as of `as_numbers`, ascending; whole ones are `int`.

    Raises
    ------
    InputError
        If there are none, or two that differ by no more than rounding.
    """
    found = as_numbers(name, values, example=example)
    return _ascending(name, [int(value) if value == value // 1 else value for value in found])


def as_rates(name: str, values: object, *, example: object) -> tuple[float, ...]:
    """Learning rates, given as of `as_numbers`, ascending, each a `float`.

    Raises
    ------
    InputError
        If there are none, one is not above zero, or two differ by no more than rounding.
    """
    found = [float(value) for value in as_numbers(name, values, example=example)]
    for value in found:
        require_positive(name.removesuffix("s"), value, example=example)
    return _ascending(name, found)


def _ascending(name: str, values: list[float]) -> tuple[float, ...]:
    require_distinct(name, values)
    ascending = tuple(sorted(values))
    require_apart(name, ascending)
    return ascending


def as_seeds(values: object) -> tuple[int, ...]:
    """Seeds, ascending; one whole number n means the n seeds 0 to n - 1, as on the command line.

    Raises
    ------
    InputError
        If one is not a whole number of at least 0, occurs twice, or there is none.
    """
    found = as_numbers("seeds", values, example=3)
    if not _is_several(values):
        require_whole("number of seeds", found[0], least=1, most=LARGEST_WHOLE, example=3)
        return tuple(range(int(found[0])))
    for seed in found:
        require_whole("seed", seed, least=0, example=0)
    require_distinct("seeds", found)
    return tuple(sorted(int(seed) for seed in found))


def as_names(name: str, values: object) -> tuple[str, ...]:
    """One name or several as a tuple.

    Raises
    ------
    InputError
        If it is neither text nor a list or tuple of texts.
    """
    found = (values,) if isinstance(values, str) else values
    if not isinstance(found, list | tuple) or not all(isinstance(one, str) for one in found):
        raise invalid(name, values, accepted="a name, or a list of names", remedy="pass text in quotes")
    return tuple(found)


def as_path(name: str, value: object) -> Path:
    """A path, given as one or as text.

    Raises
    ------
    InputError
        If it is neither, or is empty.
    """
    text = value.__fspath__() if isinstance(value, PathLike) else value
    if not isinstance(text, str) or not text or "\0" in text:
        accepted = "a path, or text that is one"
        raise invalid(name, value, accepted=accepted, remedy='pass a path such as "run.nc"')
    return Path(text)


_MOST_VALUES = 10**7
"""Values that one list may have."""


def _listed(values: object) -> list[object] | None:
    """The values that one argument holds; None if it is no list of them."""
    values = _from_array(values)
    if not _is_several(values):
        return [values]
    if isinstance(values, str | bytes) or not isinstance(values, Sequence | Iterator):
        return None
    found = list(islice(values, _MOST_VALUES + 1))
    return [_from_array(value) for value in found] if len(found) <= _MOST_VALUES else None


def _from_array(values: object) -> object:
    """An array as a number or nested lists of them; anything else as it is."""
    if isinstance(values, int | float | type) or not hasattr(values, "__array__"):
        return values
    import numpy as np  # noqa: PLC0415 - the only place that needs it

    try:
        plain: object = np.asarray(values).tolist()
    except Exception:  # arrays of other libraries refuse in their own ways
        return None
    return plain


def _is_several(values: object) -> bool:
    """Whether an argument is anything but one number."""
    return not isinstance(values, Real) and getattr(values, "ndim", None) != 0


def _is_number(value: object) -> bool:
    """Whether a value is a real number that floating point can hold; a truth value is none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _shown(value: object, longest: int = 120) -> str:
    try:
        text = value if isinstance(value, str) else repr(value)
    except Exception:  # an object of anyone's making
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= longest else text[: longest - 1] + "…"


def in_words(error: BaseException, longest: int = 160) -> str:
    """An exception's reason on one line, shortened."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(words).split())[:longest]
