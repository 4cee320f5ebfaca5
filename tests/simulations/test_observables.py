from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.records.schema import QUANTITIES, Quantity
from superconsistency.simulations import METHODS, Ensemble, choose_method, schedule, simulate
from superconsistency.simulations.observing import add_observable
from superconsistency.simulations.proportional import proportional_limit
from superconsistency.theory import (
    OBSERVABLES,
    PARAMETRIZATIONS,
    EigenvalueTail,
    IsotropicTarget,
    LatentState,
    NoTail,
    Observable,
    Problem,
    TraceTail,
    parametrization,
    uniform_target,
    wishart_state,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from superconsistency.theory import Array


def kernel_trace_of(trace: Array, state: LatentState, problem: Problem) -> Array:
    """`tr Theta = tr e + D v`."""
    return np.asarray(trace + problem.sizes["dimension"] * state.v)


def kernel_trace(state: LatentState, problem: Problem) -> Array:
    return kernel_trace_of(np.trace(state.e, axis1=-2, axis2=-1), state, problem)


DESCRIBED = {"long_name": "trace of the neural tangent kernel", "units": "1 / eta0"}


@pytest.fixture(autouse=True)
def tables() -> Iterator[None]:
    """Both tables as they were, whatever a test adds to them."""
    before = dict(OBSERVABLES), dict(QUANTITIES)
    yield
    for table, entries in zip((OBSERVABLES, QUANTITIES), before, strict=True):
        table.clear()  # type: ignore[attr-defined] # a dictionary each
        table.update(entries)  # type: ignore[attr-defined]


def ensemble(dimension: int = 100, width: int = 50) -> Ensemble:
    return Ensemble(parametrization("mup"), uniform_target(dimension, 1.0), (width,), (0.5,), (0, 1))


@given(
    dimension=st.integers(1, 60),
    width=st.integers(1, 80),
    name=st.sampled_from(sorted(PARAMETRIZATIONS)),
    seed=st.integers(0, 2**16),
    rate=st.floats(0.01, 1.0),
    norm=st.sampled_from([0.0, 1e-3, 1.0, 3.0]),
)
@example(dimension=1, width=1, name="mup", seed=0, rate=1.0, norm=1.0)
@example(dimension=1, width=40, name="sp", seed=1, rate=1.0, norm=1.0)
@example(dimension=40, width=1, name="ntp", seed=2, rate=1.0, norm=1.0)
@example(dimension=60, width=20, name="mup", seed=3, rate=1.0, norm=0.0)
@settings(max_examples=40, deadline=None)
def test_every_observable_is_the_same_under_every_method(
    *, dimension: int, width: int, name: str, seed: int, rate: float, norm: float
) -> None:
    table = parametrization(name)
    problem = Problem(table, width, uniform_target(dimension, norm))
    start = wishart_state(problem, np.random.default_rng(seed))
    stable = 0.6 * rate / (float(OBSERVABLES["ntk_sharpness"].compute(start, problem)) + problem.kappa)
    runs = Ensemble(table, problem.target, (width,), (stable,), (seed,))
    records = [
        simulate(runs, record_at=(0, 1, 5), quantities=tuple(OBSERVABLES), start=wishart_state, method=method)
        for method in METHODS
    ]
    for one, other in pairwise(records):
        for quantity in OBSERVABLES:
            scale = max(1.0, float(abs(one[quantity]).max()))
            np.testing.assert_allclose(
                one[quantity], other[quantity], rtol=1e-8, atol=1e-10 * scale, err_msg=quantity
            )


def test_a_quantity_without_a_declared_tail_is_right_because_auto_holds_all_coordinates() -> None:
    add_observable(Observable("ntk_trace", kernel_trace), **DESCRIBED)
    record = simulate(ensemble(), record_at=schedule(20, 10), quantities=("ntk_trace", "hessian_trace"))
    np.testing.assert_allclose(record["ntk_trace"], record["hessian_trace"], rtol=1e-12)  # R has trace zero
    assert record["ntk_trace"].attrs["long_name"] == DESCRIBED["long_name"]
    choice = choose_method("auto", ensemble().problem(50), start_given=False, quantities=("ntk_trace",))
    assert choice.method == "factored"
    assert "ntk_trace declares no tail" in choice.reason


def test_the_reduced_method_refuses_a_quantity_without_a_declared_tail() -> None:
    add_observable(Observable("ntk_trace", kernel_trace), **DESCRIBED)
    with pytest.raises(InputError, match=r"auto, full, factored for ntk_trace.*remedy: .*tail"):
        simulate(ensemble(), record_at=(0,), quantities=("loss", "ntk_trace"), method="reduced")


def test_a_quantity_without_a_declared_tail_is_refused_where_no_state_fits_into_memory() -> None:
    add_observable(Observable("ntk_trace", kernel_trace), **DESCRIBED)
    runs = Ensemble(parametrization("mup"), IsotropicTarget(10**9, 1.0), (64,), (0.5,), (0,))
    with pytest.raises(InputError, match=r"dimension is 1000000000.*ntk_trace.*declare its tail"):
        simulate(runs, record_at=(0,), quantities=("ntk_trace",))


def test_with_its_tail_declared_a_trace_is_had_from_the_head_at_any_dimension() -> None:
    add_observable(Observable("ntk_trace", kernel_trace, TraceTail(kernel_trace_of)), **DESCRIBED)
    names = ("ntk_trace", "hessian_trace")
    for runs in (
        ensemble(),
        Ensemble(parametrization("mup"), IsotropicTarget(10**9, 1.0), (64,), (0.5,), (0,)),
    ):
        record = simulate(runs, record_at=schedule(20, 10), quantities=names)
        np.testing.assert_array_equal(record["ntk_trace"], record["hessian_trace"])


@pytest.mark.parametrize(
    "tail", [NoTail(), EigenvalueTail(of_hessian=True), EigenvalueTail(of_hessian=False)]
)
def test_a_wrongly_declared_tail_is_refused_before_anything_runs(tail: NoTail | EigenvalueTail) -> None:
    with pytest.raises(InputError, match=r"tail of ntk_trace is .* on the head, .* on the whole state"):
        add_observable(Observable("ntk_trace", kernel_trace, tail), **DESCRIBED)
    assert "ntk_trace" not in OBSERVABLES
    assert "ntk_trace" not in QUANTITIES


@pytest.mark.parametrize("name", list(OBSERVABLES))
def test_the_tail_of_every_observable_of_the_table_would_be_accepted(name: str) -> None:
    add_observable(OBSERVABLES[name]._replace(name="copy"), long_name="a copy", units="1")


@pytest.mark.parametrize("name", ["loss", "width", "completed", "two words", "", "1st"])
def test_a_name_that_is_taken_or_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="name of the observable"):
        add_observable(Observable(name, kernel_trace), **DESCRIBED)


def test_an_observable_of_a_described_quantity_needs_the_same_description() -> None:
    known = QUANTITIES["smallest_eigenvalue"]
    add_observable(
        Observable("smallest_eigenvalue", kernel_trace), long_name=known.long_name, units=known.units
    )
    assert QUANTITIES["smallest_eigenvalue"] == known


@pytest.mark.parametrize(
    "compute",
    [
        lambda state, problem: state.w,  # noqa: ARG005
        lambda state, problem: state.v.sum(),  # noqa: ARG005
        lambda state, problem: state.v * np.nan,  # noqa: ARG005
        lambda state, problem: state.v > 0,  # noqa: ARG005
    ],
)
def test_an_observable_has_one_finite_number_for_each_network(compute: object) -> None:
    with pytest.raises(InputError, match="value of mine"):
        add_observable(Observable("mine", compute), **DESCRIBED)  # type: ignore[arg-type]


def test_a_quantity_that_no_schema_describes_is_refused_before_anything_runs() -> None:
    OBSERVABLES["ntk_trace"] = Observable("ntk_trace", kernel_trace, TraceTail(kernel_trace_of))
    with pytest.raises(InputError, match=r"one that records\.schema\.QUANTITIES describes"):
        simulate(ensemble(), record_at=(0,), quantities=("ntk_trace",))
    QUANTITIES["ntk_trace"] = Quantity(DESCRIBED["long_name"], DESCRIBED["units"])
    record = simulate(ensemble(), record_at=(0,), quantities=("ntk_trace",))
    assert record["ntk_trace"].attrs["units"] == "1 / eta0"


def test_every_observable_of_the_table_is_described() -> None:
    assert OBSERVABLES.keys() <= QUANTITIES.keys()
    assert [name for name, observable in OBSERVABLES.items() if observable.name != name] == []


def test_the_proportional_limit_has_no_quantity_that_grows_with_the_dimension() -> None:
    problem = Problem(parametrization("mup"), 50, uniform_target(100, 1.0))
    for name in ("hessian_trace", "first_layer_trace"):
        with pytest.raises(InputError, match="quantity"):
            proportional_limit(problem, 0.5, record_at=(0,), quantities=(name,))
