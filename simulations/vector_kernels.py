"""Vectors of eight numbers for compiled code, so that SIMD, order of sums and fused products are explicit.

Numba offers scalars only and leaves vectors to the compiler, which needs loops long enough and arrays known
not to overlap. Here a vector is a value: the same operations in the same order on every machine, one AVX-512
register or two of AVX2. Index arguments count numbers, not vectors. Bounds are not checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    # Neither library carries types that hold for compiled code.
    cgutils: Any
    intrinsic: Callable[[Callable[..., Any]], Any]
    ir: Any
    models: Any
    register_model: Any
    types: Any
else:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic, models, register_model

LANES = 8
"""Numbers in a vector."""

_VECTOR = ir.VectorType(ir.DoubleType(), LANES)
_INDEX = ir.IntType(32)


class Vector(types.Type):  # type: ignore[misc] # Numba carries no types
    """Numba's type of a vector."""

    def __init__(self) -> None:
        super().__init__(name=f"Vector({LANES})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc] # as above
    """A vector is held as LLVM's vector."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


VECTOR = Vector()
TILE = types.UniTuple(VECTOR, LANES)
"""Eight vectors: the rows of an 8 by 8 tile."""


def _inline(result: Any, parameters: Sequence[Any], build: Callable[..., Any]) -> tuple[Any, Any]:
    """Signature and code of an operation; arrays reach `build` as pointers, tiles as lists of vectors."""

    def operand(context: Any, builder: Any, kind: Any, value: Any) -> Any:
        if isinstance(kind, types.Array):
            return context.make_array(kind)(context, builder, value).data
        return cgutils.unpack_tuple(builder, value, LANES) if kind == TILE else value

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pairs = zip(signature.args, values, strict=True)
        value = build(builder, *(operand(context, builder, *pair) for pair in pairs))
        if result == TILE:
            return cgutils.pack_array(builder, value)
        return context.get_dummy_value() if value is None else value

    return result(*parameters), generate


def _address(builder: Any, data: Any, index: Any, offset: int = 0) -> Any:
    return builder.gep(data, [builder.add(index, ir.Constant(index.type, offset))])


def _load(builder: Any, data: Any, index: Any, offset: int = 0) -> Any:
    pointer = builder.bitcast(_address(builder, data, index, offset), _VECTOR.as_pointer())
    return builder.load(pointer, align=8)


def _store(builder: Any, data: Any, index: Any, vector: Any, offset: int = 0) -> None:
    pointer = builder.bitcast(_address(builder, data, index, offset), _VECTOR.as_pointer())
    builder.store(vector, pointer, align=8)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f64")
    return builder.call(function, [a, b, c])


def _shuffle(builder: Any, a: Any, b: Any, order: Sequence[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INDEX, LANES), list(order)))


def _splat(builder: Any, number: Any) -> Any:
    first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, ir.Constant(_INDEX, 0))
    return _shuffle(builder, first, first, [0] * LANES)


def _splat_from(builder: Any, data: Any, index: Any, offset: int) -> Any:
    return _splat(builder, builder.load(_address(builder, data, index, offset)))


def _fold(builder: Any, a: Any, b: Any, width: int) -> Any:
    """Add neighbouring blocks of `width` lanes within `a` and within `b`, interleaving the two results."""
    low = [i if i % (2 * width) < width else i - width + LANES for i in range(LANES)]
    high = [i + width if i % (2 * width) < width else i + LANES for i in range(LANES)]
    return builder.fadd(_shuffle(builder, a, b, low), _shuffle(builder, a, b, high))


def _row_sums(builder: Any, rows: Any) -> Any:
    for width in (1, 2, 4):
        rows = [_fold(builder, a, b, width) for a, b in zip(rows[::2], rows[1::2], strict=True)]
    return rows[0]


def _total(builder: Any, vector: Any) -> Any:
    for width in (4, 2, 1):
        turned = _shuffle(builder, vector, vector, [(i + width) % LANES for i in range(LANES)])
        vector = builder.fadd(vector, turned)
    return builder.extract_element(vector, ir.Constant(_INDEX, 0))


def _combine(builder: Any, rows: Any, scales: Any, start: Any) -> Any:
    """Two chains, since one would wait for each product."""
    chains = [_fma(builder, rows[0], scales[0], start), builder.fmul(rows[1], scales[1])]
    for i in range(2, LANES):
        chains[i % 2] = _fma(builder, rows[i], scales[i], chains[i % 2])
    return builder.fadd(*chains)


def _within(builder: Any, a: Any, b: Any) -> Any:
    bits = builder.bitcast(builder.fcmp_ordered("<=", a, b), ir.IntType(LANES))
    return builder.zext(bits, ir.IntType(64))


@intrinsic
def load_vector(_typing: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    """Eight consecutive numbers of an array."""
    return _inline(VECTOR, (array, types.intp), _load)


@intrinsic
def store_vector(_typing: Any, array: Any, index: Any, vector: Any) -> Any:  # noqa: ARG001
    """Write eight consecutive numbers of an array."""
    return _inline(types.void, (array, types.intp, VECTOR), _store)


@intrinsic
def splat(_typing: Any, number: Any) -> Any:  # noqa: ARG001
    """One number in every lane."""
    return _inline(VECTOR, (types.float64,), _splat)


@intrinsic
def fma(_typing: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001
    """`a b + c`, fused where the machine can."""
    return _inline(VECTOR, (VECTOR, VECTOR, VECTOR), _fma)


@intrinsic
def mul(_typing: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    """`a b`."""
    return _inline(VECTOR, (VECTOR, VECTOR), lambda builder, *pair: builder.fmul(*pair))


@intrinsic
def add(_typing: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    """`a + b`."""
    return _inline(VECTOR, (VECTOR, VECTOR), lambda builder, *pair: builder.fadd(*pair))


@intrinsic
def total(_typing: Any, vector: Any) -> Any:  # noqa: ARG001
    """Sum over lanes, in a fixed order."""
    return _inline(types.float64, (VECTOR,), _total)


@intrinsic
def lanes_within(_typing: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    """Bits of the lanes where `a <= b`; not those with NaN."""
    return _inline(types.int64, (VECTOR, VECTOR), _within)


@intrinsic
def load_tile(_typing: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    """Rows of a tile stored row after row."""

    def build(builder: Any, data: Any, at: Any) -> Any:
        return [_load(builder, data, at, LANES * i) for i in range(LANES)]

    return _inline(TILE, (array, types.intp), build)


@intrinsic
def store_tile(_typing: Any, array: Any, index: Any, tile: Any) -> Any:  # noqa: ARG001
    """Write the rows of a tile one after the other."""

    def build(builder: Any, data: Any, at: Any, rows: Any) -> None:
        for i, row in enumerate(rows):
            _store(builder, data, at, row, LANES * i)

    return _inline(types.void, (array, types.intp, TILE), build)


@intrinsic
def splat_tile(_typing: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    """Rows of eight consecutive numbers, each in every lane of its row."""

    def build(builder: Any, data: Any, at: Any) -> Any:
        return [_splat_from(builder, data, at, i) for i in range(LANES)]

    return _inline(TILE, (array, types.intp), build)


@intrinsic
def add_outer(_typing: Any, tile: Any, array: Any, index: Any, vector: Any) -> Any:  # noqa: ARG001
    """Add the outer product of eight consecutive numbers of an array with a vector."""

    def build(builder: Any, rows: Any, data: Any, at: Any, along: Any) -> Any:
        return [_fma(builder, _splat_from(builder, data, at, i), along, row) for i, row in enumerate(rows)]

    return _inline(TILE, (TILE, array, types.intp, VECTOR), build)


@intrinsic
def add_products(_typing: Any, tile: Any, vector: Any, sums: Any) -> Any:  # noqa: ARG001
    """Add to each row of `sums` the tile's row times a vector, lane by lane."""

    def build(builder: Any, rows: Any, along: Any, sums: Any) -> Any:
        return [_fma(builder, row, along, partial) for row, partial in zip(rows, sums, strict=True)]

    return _inline(TILE, (TILE, VECTOR, TILE), build)


@intrinsic
def combine(_typing: Any, tile: Any, scales: Any, start: Any) -> Any:  # noqa: ARG001
    """`start` plus the sum of the tile's rows, each times its scale."""
    return _inline(VECTOR, (TILE, TILE, VECTOR), _combine)


@intrinsic
def row_sums(_typing: Any, tile: Any) -> Any:  # noqa: ARG001
    """Sums of the tile's rows, one a lane, in a fixed order."""
    return _inline(VECTOR, (TILE,), _row_sums)
