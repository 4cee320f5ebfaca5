"""Claims about the best rate of one step in deep linear networks: muP, SP and what NTP may mean."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy.linalg import sqrtm

from ..records.tables import Table
from ..theory import Array
from ..theory.deep_linear import (
    READINGS,
    DenseLayer,
    LinearData,
    best_learning_rate,
    draw_overlaps,
    effective_scales,
    limit_learning_rate,
    one_step_loss,
    overlaps_of,
)
from .checks import compared, corrected, derived
from .ledger import CheckResult, Claim, Correction, Evidence, Kind, Settings, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..theory import Parametrization

DEEP_DEPTHS = (1, 3, 5)
DEEP_WIDTHS = tuple(2**power for power in range(5, 13))
DEEP_DRAWS = 200
ASYMPTOTIC = 128
"""Smallest width in fits of the optimum itself, which has a correction of order 1/n."""
BOUND = 4.0
"""Rates under muP are searched up to this multiple of the limit."""
ORDER_TOLERANCE = 0.1
"""On exponents, which are told with their 95% intervals: -1/2 is apart from -1/3 and -1, 0 from -1/4."""
ARRIVED = 0.1
"""Relative distance of medians at the widest from their limits; measured up to 0.03."""
EIGENVALUES = (0.25, 1.0, 4.0)
INPUTS = 5
SECOND_WIDTHS, SECOND_DRAWS, LAW_DRAWS = (256, 1024, 4096), 800, 200_000


class RateDraws(NamedTuple):
    """Best rates in units of `OneStepLoss.unit` for one depth, shapes (widths, draws); all share draws."""

    mup: Array
    ntp: Array
    """Rates under all parametrizations whose readout has variance 1/n, which differ in the unit alone."""
    ntp_limit: Array
    """Limit at each draw's own outputs."""


class MedianSlope(NamedTuple):
    """Log-log slope of a median over draws against width, with its 95% bootstrap interval."""

    slope: float
    low: float
    high: float

    def distance(self, expected: float) -> float:
        """Distance of the slope from an expected one."""
        return abs(self.slope - expected)


def one_step_data(seed: int) -> LinearData:
    """Three examples; kernel eigenvalues 1/4, 1, 4, in random directions with equal targets."""
    generator = np.random.default_rng([seed, 49])
    samples = len(EIGENVALUES)
    left, _ = np.linalg.qr(generator.standard_normal((INPUTS, samples)))
    right, _ = np.linalg.qr(generator.standard_normal((samples, samples)))
    inputs = np.sqrt(INPUTS) * (left * np.sqrt(EIGENVALUES)) @ right.T
    return LinearData(inputs, right @ np.ones(samples))


def _draw(data: LinearData, seed: int, depth: int, width: int, draw: int) -> tuple[float, float, float]:
    overlaps = draw_overlaps(data, depth, width, np.random.default_rng([seed, depth, width, draw]))
    mup, ntp = (one_step_loss(data, overlaps, READINGS[name]) for name in ("mup", "ntp"))
    bound = BOUND * limit_learning_rate(data, depth) * mup.unit
    limit = limit_learning_rate(data, depth, ntp.residuals[0] + data.targets)
    return best_learning_rate(mup, bound) / mup.unit, best_learning_rate(ntp) / ntp.unit, limit


@cache
def _draws(seed: int, depth: int) -> RateDraws:
    data = one_step_data(seed)
    found = [[_draw(data, seed, depth, width, draw) for draw in range(DEEP_DRAWS)] for width in DEEP_WIDTHS]
    return RateDraws(*np.moveaxis(np.array(found), -1, 0))


def _all_draws(settings: Settings, report: Callable[[float], None]) -> dict[int, RateDraws]:
    found = {}
    for done, depth in enumerate(DEEP_DEPTHS, start=1):
        found[depth] = _draws(settings.seed, depth)
        report(done / (len(DEEP_DEPTHS) + 1))
    return found


def fit_median_slope(values: Array, seed: int, least: int = 0, resamples: int = 500) -> MedianSlope:
    """Fit the slope of the median of (widths, draws) against the widths from `least` on."""
    generator = np.random.default_rng([seed, 7])
    used = np.array(DEEP_WIDTHS) >= least
    x = np.log(np.array(DEEP_WIDTHS)[used])
    weights = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
    kept = values[used]
    picks = generator.integers(kept.shape[1], size=(resamples, kept.shape[1]))
    slopes = np.log(np.median(kept[:, picks], axis=2)).T @ weights
    low, high = np.percentile(slopes, (2.5, 97.5))
    return MedianSlope(float(np.log(np.median(kept, axis=1)) @ weights), float(low), float(high))


def _unit(name: str) -> Array:
    """`eta0` of one unit at every width."""
    variance, rate = effective_scales(READINGS[name])
    return np.array([1 / float((variance * rate).at(width=float(n)) * n**2) for n in DEEP_WIDTHS])[:, None]


def _optimum_table(title: str, optima: dict[int, Array], limits: dict[int, Array]) -> Table:
    """Quartiles of the optimum and the median of its limit, by depth and width."""
    rows = []
    for depth, values in optima.items():
        quartiles, expected = np.percentile(values, (25, 50, 75), axis=1), np.median(limits[depth], axis=1)
        for width, *row in zip(DEEP_WIDTHS, *quartiles, expected, strict=True):
            rows.append((depth, width, *map(float, row)))
    columns = ("L", "width", "lower quartile", "median", "upper quartile", "predicted median")
    return Table(title, columns, tuple(rows))


def _fit_table(title: str, fits: dict[tuple[int, str], MedianSlope]) -> Table:
    rows = tuple((depth, name, *fit) for (depth, name), fit in fits.items())
    return Table(title, ("L", "of", "log-log slope", "95% low", "95% high"), rows)


def _told(fits: dict[tuple[int, str], MedianSlope]) -> str:
    shown = (f"{fit.slope:.3f} ({fit.low:.3f} to {fit.high:.3f}), L = {key[0]}" for key, fit in fits.items())
    return "; ".join(shown)


def _distance(fits: dict[tuple[int, str], MedianSlope], expected: float) -> float:
    """Distance of the farthest slope; NaN if one is NaN."""
    return float(np.max([fit.distance(expected) for fit in fits.values()]))


def _missed(optima: dict[int, Array], limits: dict[int, Array]) -> float:
    """Largest relative distance of a median at the widest from that of its limit."""
    ratios = [np.median(optima[depth][-1]) / np.median(limits[depth][-1]) for depth in DEEP_DEPTHS]
    return float(np.max(np.abs(np.array(ratios) - 1)))


def _mup(settings: Settings, report: Callable[[float], None]) -> CheckResult:
    data, draws = one_step_data(settings.seed), _all_draws(settings, report)
    optima = {depth: draws[depth].mup for depth in DEEP_DEPTHS}
    limits = {
        depth: np.full((len(DEEP_WIDTHS), 1), limit_learning_rate(data, depth)) for depth in DEEP_DEPTHS
    }
    errors = {depth: np.abs(optima[depth] - limits[depth]) for depth in DEEP_DEPTHS}
    fits = {(depth, "median error"): fit_median_slope(errors[depth], settings.seed) for depth in DEEP_DEPTHS}
    error, missed = _distance(fits, -0.5), _missed(optima, limits)
    tables = (
        _optimum_table("Best rate of one step under muP", optima, limits),
        _fit_table("Error of the best rate under muP", fits),
    )
    summary = f"exponent of the error {_told(fits)}; medians within {missed:.1%} at width {DEEP_WIDTHS[-1]}"
    error = error if missed <= ARRIVED else np.inf
    seeds = (settings.seed,)
    return compared(Evidence(summary, {"missed": missed}, error, ORDER_TOLERANCE, seeds, tables=tables))


def _sp(settings: Settings, report: Callable[[float], None]) -> CheckResult:
    draws, unit = _all_draws(settings, report), _unit("sp")
    optima = {depth: draws[depth].ntp * unit for depth in DEEP_DEPTHS}
    limits = {depth: draws[depth].ntp_limit * unit for depth in DEEP_DEPTHS}
    fits = {
        (depth, "median optimum"): fit_median_slope(optima[depth], settings.seed, ASYMPTOTIC)
        for depth in DEEP_DEPTHS
    }
    gaps = {depth: np.abs(draws[depth].ntp - draws[depth].ntp_limit) for depth in DEEP_DEPTHS}
    rates = {
        (depth, "median error of n times it"): fit_median_slope(gaps[depth], settings.seed)
        for depth in DEEP_DEPTHS
    }
    rate_error = _distance(rates, -0.5)
    error = _distance(fits, -1) if rate_error <= ORDER_TOLERANCE else np.inf
    tables = (
        _optimum_table("Best rate of one step under SP", optima, limits),
        _fit_table("Best rate under SP, and n times it against the limit at each draw", fits | rates),
    )
    summary = f"exponent of the optimum {_told(fits)}; of the error of n times it {_told(rates)}"
    figures, seeds = {"farthest exponent of the error from -1/2": rate_error}, (settings.seed,)
    return compared(Evidence(summary, figures, error, ORDER_TOLERANCE, seeds, tables=tables))


def autograd_gap(data: LinearData, table: Parametrization, depth: int, width: int, seed: int) -> float:
    """Relative error of the polynomial against a step on the raw weights, multipliers on, by autograd."""
    generator = np.random.default_rng(seed)
    first = generator.standard_normal((width, len(data.inputs))) / np.sqrt(len(data.inputs))
    readout = generator.standard_normal(width)
    layers = [DenseLayer.draw(width, 1 / width, generator) for _ in range(depth)]
    loss = one_step_loss(data, overlaps_of(data, first, layers, readout), table)
    rate = best_learning_rate(loss)
    sizes = {"fan_in": float(width), "width": float(width)}
    hidden, last = (float(rule.multiplier.at(**sizes)) for rule in (table.hidden, table.readout))
    deviation = float(table.readout.variance.at(**sizes)) ** 0.5
    raw = [torch.tensor(layer.matrix / hidden, requires_grad=True) for layer in layers]
    vector, targets = torch.tensor(last * deviation * readout), torch.tensor(np.array(data.targets))

    def value(weights: list[torch.Tensor]) -> torch.Tensor:
        features = torch.tensor(first @ data.inputs)
        for weight in weights:
            features = hidden * (weight @ features)
        return ((vector @ features - targets) ** 2).mean() / 2

    gradients = torch.autograd.grad(value(raw), raw)
    step = rate * float(table.hidden.learning_rate.at(**sizes))
    moved = [weight - step * slope for weight, slope in zip(raw, gradients, strict=True)]
    return abs(value(moved).item() - loss.at(rate)) / loss.at(0.0)


_READINGS = {"ntp": 0, "ntp-rescaled": 0, "ntp-start": -1, "ntp-mup-rate": -1}
"""Expected power of n of the optimum."""


def _ntp(settings: Settings, report: Callable[[float], None]) -> CheckResult:
    data, draws = one_step_data(settings.seed), _all_draws(settings, report)
    fits, rows = {}, []
    for name, order in _READINGS.items():
        for depth in DEEP_DEPTHS:
            optima, limits = (each * _unit(name) for each in (draws[depth].ntp, draws[depth].ntp_limit))
            fit = fits[depth, name] = fit_median_slope(optima, settings.seed, ASYMPTOTIC)
            widest = (float(np.median(optima[-1])), float(np.median(limits[-1])))
            rows.append((READINGS[name].title, depth, *fit, *widest, "yes" if order else "no"))
    gaps = [autograd_gap(data, READINGS[name], depth, 32, settings.seed) for depth, name in fits]
    gap = float(np.max(gaps))
    largest = float(np.max([fit.distance(_READINGS[key[1]]) for key, fit in fits.items()]))
    stays = [fit.low > -2 * ORDER_TOLERANCE for (_, name), fit in fits.items() if _READINGS[name] == 0]
    multiplied = {depth: draws[depth].ntp * _unit("ntp") for depth in DEEP_DEPTHS}
    predicted = {depth: draws[depth].ntp_limit * _unit("ntp") for depth in DEEP_DEPTHS}
    missed = _missed(multiplied, predicted)
    columns = (
        "reading",
        "L",
        "log-log slope",
        "95% low",
        "95% high",
        f"median at {DEEP_WIDTHS[-1]}",
        "predicted",
    )
    evidence = Evidence(
        "readings share draws and differ by powers of n, each checked by autograd on its raw weights: "
        "exponent of the optimum 0 with NTP's multipliers and rate, -1 in two others, to "
        f"{largest:.2f}; medians within {missed:.1%} of the limit at width {DEEP_WIDTHS[-1]}",
        {"raw weights by autograd against the polynomial, relative": gap, "missed": missed},
        largest,
        ORDER_TOLERANCE,
        (settings.seed,),
        _NTP_CORRECTION,
        (
            Table("Best eta0 of one step, by reading of NTP", (*columns, "vanishes"), tuple(rows)),
            _optimum_table("Best rate of one step under NTP with multipliers", multiplied, predicted),
        ),
    )
    holds = largest <= ORDER_TOLERANCE and missed <= ARRIVED and gap <= 1e-10
    return corrected(published_fails=all(stays), instead_holds=holds, evidence=evidence)


_NTP_CORRECTION = Correction(
    published="the optimal learning rate vanishes under NTP, as under SP",
    instead=(
        "it depends on what NTP means. Multipliers 1/sqrt(fan_in), unit variances and rate eta0, or the "
        "same with the multipliers moved into the weights: it tends to m chi^T K chi / (L |K chi|^2), chi "
        "= f_0 - y, f_0 ~ N(0, K): no constant, since it differs from draw to draw, but above zero at "
        "every width. NTP as a start only (variance 1/fan_in, rate not rescaled), or multipliers with the "
        "rate eta0 n: it vanishes like 1/n"
    ),
    counterexample="L = 1, 3, 5, widths 128 to 4096, NTP of Noci et al.: log-log slope 0, not -1",
)


def _second_valley(data: LinearData, width: int, seed: int) -> list[float]:
    """Optima beyond the bound, with two trained layers, over `2 sqrt(n) / phi = 2 m / (chi.f_0)`."""
    generator = np.random.default_rng([seed, 2, width])
    bound, ratios = BOUND * limit_learning_rate(data, 2), []
    for _ in range(SECOND_DRAWS):
        loss = one_step_loss(data, draw_overlaps(data, 2, width, generator), READINGS["mup"])
        best, residual = best_learning_rate(loss) / loss.unit, loss.residuals[0]
        if best > bound:
            ratios.append(best * float(residual @ (residual + data.targets)) / (2 * residual.size))
    return ratios


def second_valley_share(data: LinearData, generator: np.random.Generator, draws: int = LAW_DRAWS) -> float:
    """The probability, as n grows, that the second valley of two layers is the lower one.

    At `t = 2 sqrt(n) / phi` the residual is `chi + (2 / phi) Xi chi / m` up to multiples of `K chi`, where
    `phi = chi.f / m`, f ~ N(0, K), and `Xi = K^(1/2) Z K^(1/2)` is the limit of
    `(a_0^T a_0 - a_1^T a_1) / sqrt(n)`, Z symmetric Gaussian with variances 2 and 1. What is left of it
    orthogonally to `K chi` decides.
    """
    chi, root = -data.targets, np.real(sqrtm(data.kernel))
    samples = chi.size
    unit = data.kernel @ chi / np.linalg.norm(data.kernel @ chi)
    phi = generator.standard_normal((draws, samples)) @ (root @ chi) / samples
    square = generator.standard_normal((draws, samples, samples))
    symmetric = (square + np.swapaxes(square, 1, 2)) / np.sqrt(2)
    moved = chi + (2 / phi)[:, None] * ((symmetric @ (root @ chi)) @ root) / samples
    left = [np.sum(vector**2, axis=-1) - (vector @ unit) ** 2 for vector in (moved, chi)]
    return float(np.mean((phi > 0) & (left[0] < left[1])))


def _all_rates(settings: Settings, report: Callable[[float], None]) -> CheckResult:
    data, shares, ratios = one_step_data(settings.seed), [], []
    predicted = second_valley_share(data, np.random.default_rng([settings.seed, 3]))
    for done, width in enumerate(SECOND_WIDTHS, start=1):
        found = _second_valley(data, width, settings.seed)
        shares.append(len(found) / SECOND_DRAWS)
        ratios.append(float(np.median(found)) if found else np.nan)
        report(done / (len(SECOND_WIDTHS) + 1))
    # Four standard errors of a share; the place of the valley has corrections of order n^(-1/2).
    tolerance = 4 * float(np.sqrt(predicted * (1 - predicted) / SECOND_DRAWS))
    error = abs(shares[-1] - predicted)
    rows = tuple(zip(SECOND_WIDTHS, shares, [predicted] * len(shares), ratios, strict=True))
    columns = ("width", "share of draws", "predicted limit", "median optimum there over 2 sqrt(n)/phi")
    evidence = Evidence(
        f"two trained layers: the optimum over all rates is in the second valley in {shares[-1]:.1%} of "
        f"{SECOND_DRAWS} draws at width {SECOND_WIDTHS[-1]}; predicted in the limit {predicted:.1%}",
        {"predicted share": predicted},
        error,
        tolerance,
        (settings.seed,),
        tables=(Table("Optimum over all rates beyond four times the limit", columns, rows),),
    )
    holds = error <= tolerance < shares[-1] and abs(ratios[-1] - 1) <= ARRIVED
    return CheckResult(Verdict.VERIFIED if holds else Verdict.REFUTED, evidence)


_METHOD = (
    f"exact loss polynomial of one step; L = {', '.join(map(str, DEEP_DEPTHS))}, widths {DEEP_WIDTHS[0]} to "
    f"{DEEP_WIDTHS[-1]}, {DEEP_DRAWS} draws shared by all parametrizations; medians, bootstrap"
)
_SOURCE = "Hayou 2025, A Proof of Learning Rate Transfer under muP"

DEEP_CLAIMS = (
    Claim(
        id="one-step-limit",
        room="theory",
        statement="The loss after one step of a deep linear network is a polynomial, in the limit quadratic",
        source=_SOURCE,
        kind=Kind.SYMBOLIC,
        method="rank-one gradients entry by entry, Gaussian moments, exponents of every reading",
        check=partial(
            derived,
            "one-step",
            "",
            "gradient and polynomial entry by entry at three sizes; degrees beyond the first vanish on "
            "bounded intervals, and the quadratic that is left has its minimum at the stated rate",
        ),
    ),
    Claim(
        id="one-step-transfer-mup",
        room="theory",
        statement="On bounded intervals muP's best first rate tends to m y^T K y/(L |K y|^2) like n^-1/2",
        source=_SOURCE,
        kind=Kind.NUMERIC,
        method=f"{_METHOD}; rates up to {BOUND:g} times the limit",
        check=_mup,
    ),
    Claim(
        id="one-step-all-rates",
        room="theory",
        statement="Among all rates, in a positive share of draws, the best grows like sqrt(n): no limit",
        source="beyond Hayou 2025: why the rates are bounded above",
        kind=Kind.NUMERIC,
        method="muP, two layers: share of draws with the optimum in a second valley, against its limit law",
        check=_all_rates,
    ),
    Claim(
        id="one-step-sp",
        room="theory",
        statement="Under SP the best rate of the first step falls like 1/n",
        source=_SOURCE,
        kind=Kind.NUMERIC,
        method=_METHOD,
        check=_sp,
    ),
    Claim(
        id="one-step-ntp",
        room="theory",
        statement="Under NTP the best rate of the first step vanishes with width",
        source=_SOURCE,
        kind=Kind.NUMERIC,
        method=f"{_METHOD}; four readings of NTP, each against autograd on its raw weights",
        check=_ntp,
    ),
)
