"""A normal form for expressions in matrix symbols: sums of words with commuting coefficients.

SymPy expands products of matrix symbols but does not know that `w^T r` is a number, which commutes and equals
its transpose. Here a word is cut into such numbers, each in a canonical direction, and one remaining product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sympy as sp

if TYPE_CHECKING:
    from collections.abc import Mapping


class Word(NamedTuple):
    """A product of matrix symbols: its scalar factors, sorted, and what is left, in order."""

    scalars: tuple[tuple[str, ...], ...]
    rest: tuple[str, ...]


def normal_form(expression: Any) -> dict[Word, Any]:
    """Coefficients of an expression by word, without zeros.

    Square symbols are taken to be symmetric (`e`, `v`), columns and rows are each other's transposes.
    """
    terms: dict[Word, Any] = {}
    for term in sp.Add.make_args(expression.doit().expand().doit()):
        coefficient, factors = _split(term)
        word = _word(factors)
        terms[word] = terms.get(word, 0) + coefficient
    return {word: value for word, raw in terms.items() if (value := sp.expand(raw)) != 0}


def words_left(left: Mapping[Word, Any], right: Mapping[Word, Any]) -> dict[Word, Any]:
    """One normal form minus another; empty where they agree."""
    words = {word: sp.expand(left.get(word, 0) - right.get(word, 0)) for word in {*left, *right}}
    return {word: value for word, value in words.items() if value != 0}


def without_unit(words: Mapping[Word, Any], name: str) -> dict[Word, Any]:
    """Words with the square of a unit vector, `name^T name`, replaced by 1."""
    found: dict[Word, Any] = {}
    for word, value in words.items():
        kept = word._replace(scalars=tuple(number for number in word.scalars if number != (name + "'", name)))
        found[kept] = sp.expand(found.get(kept, 0) + value)
    return {word: value for word, value in found.items() if value != 0}


def _split(term: Any) -> tuple[Any, list[Any]]:
    """Commuting coefficient and the matrix factors of one term."""
    if isinstance(term, sp.MatMul):
        coefficient, matrices = term.as_coeff_matrices()
        return coefficient, list(matrices)
    if getattr(term, "is_ZeroMatrix", False):
        return sp.Integer(0), []
    return sp.Integer(1), [term]


def _word(factors: list[Any]) -> Word:
    scalars: list[tuple[str, ...]] = []
    rest: list[Any] = []
    for factor in factors:
        if isinstance(factor, sp.Identity):
            continue
        rest.append(factor)
        start = _scalar_start(rest)
        if start is not None:
            scalars.append(_canonical(tuple(map(_name, rest[start:]))))
            del rest[start:]
    return Word(tuple(sorted(scalars)), tuple(map(_name, rest)))


def _scalar_start(factors: list[Any]) -> int | None:
    """Where the number that ends in the last factor starts, if that factor ends one."""
    if factors[-1].shape[1] != 1:
        return None
    rows = (position for position, factor in enumerate(factors) if factor.shape[0] == 1)
    return max(rows, default=None)


def _name(factor: Any) -> str:
    if isinstance(factor, sp.Transpose):
        return _transposed(str(factor.arg))
    return str(factor)


_SYMMETRIC = frozenset({"e", "v"})


def _canonical(word: tuple[str, ...]) -> tuple[str, ...]:
    """A number's word or its transpose, whichever comes first in the alphabet."""
    return min(word, tuple(map(_transposed, reversed(word))))


def _transposed(name: str) -> str:
    if name in _SYMMETRIC:
        return name
    return name.removesuffix("'") if name.endswith("'") else name + "'"
