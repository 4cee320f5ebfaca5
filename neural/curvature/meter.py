"""A chosen set of curvature measurements, on one cached graph and one hashed batch."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from ...errors import InputError, invalid, require_distinct, require_known, require_whole
from .batch import Batch
from .diagnosis import explain_failure
from .estimates import NOT_FINITE, UNDEFINED, CurvatureEstimate, further, undefined
from .evaluation import own_context
from .measurement_state import Given, MeasurementSettings, MeasurementState
from .objective import Objective
from .operators import DIFFERENTIATION
from .outputs import ImpossibleQuantityError
from .quantities import CURVATURE_QUANTITIES
from .speed import fastest_differentiation
from .stochastic import LEAST_TRACE_PRODUCTS
from .tracker import SpectrumTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .metric import Metric


@dataclass(frozen=True)
class Measurements:
    """What was measured, on what, at what cost."""

    estimates: dict[str, CurvatureEstimate]
    """By name, in the order asked for."""
    parameters: int
    examples: int
    batch_hash: str
    """SHA-256 of the examples."""
    products: int
    seconds: float

    def __getitem__(self, name: str) -> CurvatureEstimate:
        """The estimate of a quantity."""
        return self.estimates[name]


class Meter:
    """Measures a chosen set of quantities, again and again along a run, each from what it found last.

    All are in the learning-rate metric: of `P^1/2 H P^1/2`, and of the gradient `P^1/2 g`.

    Parameters
    ----------
    quantities
        Names of `CURVATURE_QUANTITIES`; None is all, without the tangent kernel's if the batch is taken in
        parts.
    count
        Eigenvectors k that `gradient_alignment` and `ggn_overlap` are about. Beside the sharpness come
        `eigenvalue_2` to `eigenvalue_k`.
    kernel_count
        Eigenvalues k of the tangent kernel: beside `ntk_sharpness` come `ntk_eigenvalue_2` to
        `ntk_eigenvalue_k`.
    tolerance
        Relative, of every eigenvalue.
    trace_products
        Products for the trace.
    seed
        Seed of all random vectors.
    examples_at_once
        Examples whose graph is held at a time; None is all.
    mini_batch
        Examples in each of the mini-batches, parts of the batch, that `batch_sharpness` is a mean over; None
        is an eighth of it.
    differentiation
        See `CurvatureOperator`; `auto` takes what `fastest_differentiation` finds at the first call.

    Raises
    ------
    InputError
        If a setting is out of range.
    """

    def __init__(
        self,
        quantities: Sequence[str] | None = None,
        *,
        count: int = 1,
        kernel_count: int = 1,
        tolerance: float = 1e-3,
        trace_products: int = 32,
        seed: int = 0,
        examples_at_once: int | None = None,
        mini_batch: int | None = None,
        differentiation: str = "reverse",
    ) -> None:
        if quantities is None:
            split = examples_at_once is not None
            quantities = [name for name in CURVATURE_QUANTITIES if not (split and name == "ntk_sharpness")]
        for name in quantities:
            require_known("quantity", name, CURVATURE_QUANTITIES)
        require_distinct("quantities", quantities)
        require_whole("count", count, least=1, example=1)
        require_whole("kernel count", kernel_count, least=1, example=1)
        require_whole("trace products", trace_products, least=LEAST_TRACE_PRODUCTS, example=32)
        require_known("differentiation", differentiation, ("auto", *DIFFERENTIATION))
        if examples_at_once is not None:
            require_whole("examples at once", examples_at_once, least=1, example=128)
        if mini_batch is not None:
            require_whole("mini-batch", mini_batch, least=1, example=32)
        self.quantities = tuple(quantities)
        self.settings = MeasurementSettings(
            count, trace_products, seed, examples_at_once, differentiation, tolerance, mini_batch
        )
        self._rate: float | None = None
        self.trackers = {
            name: SpectrumTracker(tolerance=tolerance, count=pairs, end=end, seed=seed)
            for name, pairs, end in (
                ("top", count, "largest"),
                ("bottom", 1, "smallest"),
                ("ggn", count, "largest"),
                ("residual_top", 1, "largest"),
                ("residual_bottom", 1, "smallest"),
                ("kernel", kernel_count, "largest"),
            )
        }

    @own_context()
    def __call__(
        self,
        objective: Objective,
        batch: Batch,
        metric: Metric | None = None,
        *,
        update: Mapping[str, torch.Tensor] | None = None,
        mini_batches: Sequence[Batch] | None = None,
        on_estimate: Callable[[Mapping[str, CurvatureEstimate]], None] = lambda _known: None,
    ) -> Measurements:
        """Measure now.

        Parameters
        ----------
        objective, batch, metric
            What is measured, on which examples, in which metric (None: the plain Hessian's).
        update
            What a step of learning rate one subtracts, by parameter, as `optimizer_update` gives; of
            `critical_sharpness`. None is the gradient in the metric.
        mini_batches
            Those that `batch_sharpness` is a mean over; None are parts of the batch.
        on_estimate
            Called after each quantity with all that are known.

        Raises
        ------
        InputError
            As in `CurvatureOperator`. A quantity that has no meaning for this loss is undefined, with a note.
        """
        _require_measurable(objective, batch)
        begun = time.perf_counter()
        if self.settings.differentiation == "auto":
            fastest = fastest_differentiation(objective, batch)
            self.settings = replace(self.settings, differentiation=fastest)
        given = Given(metric, update, mini_batches, self._rate)
        state = MeasurementState(self.settings, self.trackers, objective, batch, given)
        try:
            estimates = self._estimates(state, on_estimate)
        except torch.OutOfMemoryError:
            raise
        except (InputError, MemoryError):
            raise
        except Exception as error:  # a backward pass of the user's own can fail in any way
            raise explain_failure(objective, batch, error) from error
        rate = state.critical_rate
        self._rate = rate if rate is not None and math.isfinite(rate) else None
        seconds = time.perf_counter() - begun
        return Measurements(estimates, objective.size, batch.examples, batch.hash, state.products, seconds)

    def state(self) -> dict[str, Any]:
        """What the next call's searches start from, as tensors and plain values."""
        return {name: tracker.state() for name, tracker in self.trackers.items()} | {"rate": self._rate}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from the state of a meter with the same settings."""
        for name, tracker in self.trackers.items():
            tracker.load(state[name])
        self._rate = state["rate"]

    def _estimates(
        self, state: MeasurementState, on_estimate: Callable[[Mapping[str, CurvatureEstimate]], None]
    ) -> dict[str, CurvatureEstimate]:
        estimates: dict[str, CurvatureEstimate] = {}
        for name in self.quantities:
            before = state.products
            found = self._estimate(name, state)
            estimates[name] = found._replace(products=state.products - before)
            if name == "sharpness" and found.kind != UNDEFINED:
                estimates |= further("eigenvalue", state.top)
            elif name == "ntk_sharpness" and found.kind != UNDEFINED:
                estimates |= further("ntk_eigenvalue", state.kernel)
            on_estimate(dict(estimates))
        return estimates

    @staticmethod
    def _estimate(name: str, state: MeasurementState) -> CurvatureEstimate:
        """One quantity; undefined if it has no meaning for this loss, with the reason if it is not finite."""
        try:
            found = CURVATURE_QUANTITIES[name].measure(state)
        except ImpossibleQuantityError as error:
            return undefined(str(error))
        return found._replace(note=state.why_not_finite) if found.note == NOT_FINITE else found


def _require_measurable(objective: object, batch: object) -> None:
    """Raise unless these are an objective and a batch."""
    if not isinstance(objective, Objective):
        kind = f"of type {type(objective).__name__}"
        raise invalid("objective", kind, accepted="an Objective", remedy="pass Objective(model, loss)")
    if not isinstance(batch, Batch):
        kind = f"of type {type(batch).__name__}"
        raise invalid("batch", kind, accepted="a Batch", remedy="pass Batch(inputs, targets)")


def measure(
    objective: Objective,
    batch: Batch,
    quantities: Sequence[str] | None = None,
    *,
    metric: Metric | None = None,
    count: int = 1,
    tolerance: float = 1e-3,
    trace_products: int = 32,
    seed: int = 0,
    examples_at_once: int | None = None,
) -> Measurements:
    """Measure a chosen set of quantities once. Parameters, errors: `Meter`."""
    meter = Meter(
        quantities,
        count=count,
        tolerance=tolerance,
        trace_products=trace_products,
        seed=seed,
        examples_at_once=examples_at_once,
    )
    return meter(objective, batch, metric)
