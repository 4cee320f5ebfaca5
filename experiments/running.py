"""Carries out an experiment's runs, or plans them: the datasets that it is judged and drawn from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import invalid, require_known
from ..records.results import planned_results
from ..runner import (
    HERE,
    AnalysisModel,
    DataChoice,
    LatentModel,
    latent_model_from,
    make_plan,
    make_sweep,
    results_of,
)
from ..runner.analysis_model import analysis
from ..runner.axes import as_text
from .base import LATENT, NETWORK, Arm, Over, StableShare, over

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import xarray as xr

    from ..runner import Executor, Model, Status, Sweep
    from .base import Experiment

    Runs = Mapping[str, xr.Dataset]
    """By arm."""

_EIGENVALUE = re.compile(r"(ntk_)?eigenvalue_(\d+)")
_ALWAYS = frozenset({"loss", "accuracy"})
"""Quantities of networks that are recorded whatever else is measured."""


@dataclass(frozen=True)
class Circumstances:
    """What a person may choose about carrying out an experiment.

    Attributes
    ----------
    data
        Which examples networks are trained on.
    threads
        Threads of each run.
    device
        Device that networks train on.
    first_seed
        Added to every seed.
    given
        Settings that go before those of the scale.
    """

    data: DataChoice = field(default_factory=DataChoice)
    threads: int = 1
    device: str = "auto"
    first_seed: int = 0
    given: Mapping[str, Any] | None = None


def sweep_of(experiment: Experiment, arm: Arm, circumstances: Circumstances) -> Sweep:
    """The runs of an arm.

    Raises
    ------
    InputError
        If a setting is not known, or a value is out of range.
    """
    quantities = experiment.quantities(arm.name)
    shifted = dict(arm.settings)
    seeds = shifted.get("seed", over(0))
    shifted["seed"] = over(*(one + circumstances.first_seed for one in seeds))
    arm = Arm(arm.name, shifted, arm.model)
    if arm.model == NETWORK:
        return _trained(arm, quantities, circumstances)
    return _latent(arm, quantities) if arm.model == LATENT else _analysed(arm, circumstances)


def _analysed(arm: Arm, circumstances: Circumstances) -> Sweep:
    about = analysis(arm.model)
    axes, plain = _split(arm, about.axes)
    # What varies inside of a dataset of an analysis is no axis of the sweep.
    inside = {name: tuple(axes.pop(name)) for name in list(axes) if name not in about.axes}
    beside = {"data": circumstances.data, "device": circumstances.device}
    plain |= {name: value for name, value in beside.items() if name in about.defaults}
    if "seed" not in about.defaults:
        inside.pop("seed", None)
    return make_sweep(AnalysisModel(arm.model, tuple(sorted({**plain, **inside}.items()))), [axes])


def _latent(arm: Arm, quantities: tuple[str, ...]) -> Sweep:
    axes, plain = _split(arm, LatentModel().axes)
    model = latent_model_from({**plain, "quantities": list(quantities)})
    return make_sweep(model, [_resolved(model, axes)])


def _resolved(model: LatentModel, axes: dict[str, Any]) -> dict[str, Any]:
    """Axes with learning rates in place of parts of the largest stable one."""
    rates = axes.get("learning_rate", ())
    several = rates if isinstance(rates, list) else [rates]
    if not any(isinstance(rate, StableShare) for rate in several):
        return axes
    from ..simulations.edge import edge_rate  # noqa: PLC0415 - loads Numba
    from ..simulations.optimum import largest_rate  # noqa: PLC0415
    from ..theory import IsotropicTarget, parametrization  # noqa: PLC0415

    widths = axes["width"]
    seeds = axes["seed"] if isinstance(axes["seed"], list) else [axes["seed"]]
    narrowest = min(widths) if isinstance(widths, list) else widths
    target = IsotropicTarget(model.dimension, model.target_norm)
    table = parametrization(axes["parametrization"])
    known = {
        "start": lambda: largest_rate(table, target, narrowest, seeds),
        "edge": lambda: edge_rate(table, target, narrowest),
    }
    asked = {rate.at for rate in several if isinstance(rate, StableShare)}
    for one in asked:
        require_known("largest stable learning rate", one, tuple(known))
    largest = {one: known[one]() for one in asked}
    chosen = [rate.part * largest[rate.at] if isinstance(rate, StableShare) else rate for rate in several]
    return axes | {"learning_rate": chosen}


def _trained(arm: Arm, quantities: tuple[str, ...], circumstances: Circumstances) -> Sweep:
    from ..runner import NetworkModel  # noqa: PLC0415 - loads PyTorch

    plain_model = NetworkModel(device=circumstances.device)
    axes, plain = _split(arm, plain_model.axes)
    measured, count = [], 1
    for name in quantities:
        found = _EIGENVALUE.fullmatch(name)
        if found:
            measured.append("ntk_sharpness" if found[1] else "sharpness")
            count = max(count, int(found[2]))
        elif name not in _ALWAYS:
            measured.append(name)
    if count > 1:
        plain["count"] = count
    plain["quantities"] = "+".join(sorted(set(measured)))
    pairs = tuple(f"{name}={as_text(value)}" for name, value in sorted(plain.items()))
    model = NetworkModel(pairs, circumstances.data, circumstances.threads, circumstances.device)
    return make_sweep(model, [axes])


def _split(arm: Arm, axes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Axes with their values, and settings that do not vary."""
    settings = {
        ("architecture" if name == "network" else name): value for name, value in arm.settings.items()
    }
    varied = {
        name: list(value) if isinstance(value, Over) else value
        for name, value in settings.items()
        if isinstance(value, Over) or name in axes
    }
    return varied, {name: value for name, value in settings.items() if name not in varied}


def run(
    experiment: Experiment,
    scale: str,
    folder: Path | None = None,
    circumstances: Circumstances | None = None,
    *,
    executor: Executor = HERE,
    on_progress: Callable[[float, float], None] | None = None,
) -> Runs:
    """Carry out an experiment's runs.

    Parameters
    ----------
    experiment, scale
        What to run.
    folder
        Keeps the runs, an arm in a folder of its own: a later call resumes, and repeats nothing that is
        complete. None keeps nothing.
    circumstances
        Data, threads and device.
    executor
        Where runs are done.
    on_progress
        Called with (work done, in all).

    Returns
    -------
    Mapping
        A dataset by arm, in memory, as `open_results` gives it.

    Raises
    ------
    InputError
        If a run is not possible, or failed.
    """
    chosen = circumstances or Circumstances()
    arms = _arms(experiment, scale, chosen)
    sweeps = {arm.name: sweep_of(experiment, arm, chosen) for arm in arms}
    costs = {name: _cost(sweep) for name, sweep in sweeps.items()}
    whole, done = sum(costs.values()), 0.0
    found = {}
    for name, sweep in sweeps.items():

        def report(status: Status, begun: float = done, cost: float = costs[name]) -> None:
            if on_progress is not None:
                on_progress(begun + cost * status.work, whole)

        found[name] = results_of(sweep, None if folder is None else folder / slug(name), executor, report)
        done += costs[name]
    return found


def empty(experiment: Experiment, scale: str, circumstances: Circumstances | None = None) -> Runs:
    """The datasets of an experiment of which nothing has run: all values NaN, no run completed.

    Raises
    ------
    InputError
        If a run is not possible.
    """
    chosen = circumstances or Circumstances()
    return {
        arm.name: planned_results(make_plan(sweep_of(experiment, arm, chosen)).manifest)
        for arm in _arms(experiment, scale, chosen)
    }


def _arms(experiment: Experiment, scale: str, circumstances: Circumstances) -> tuple[Arm, ...]:
    data = circumstances.data
    name = data.dataset
    if name == "auto" and data.folder is None and not data.download:
        name = "digits"
    return experiment.at(scale, name, **(circumstances.given or {}))


def _cost(sweep: Sweep) -> float:
    model: Model = sweep.model
    return sum(model.cost(named.group) for named in make_plan(sweep).named)


def slug(name: str) -> str:
    """A name fit for a folder."""
    letters = {"μ": "mu", "/": "-over-", " ": "-", ",": ""}
    text = "".join(letters.get(letter, letter) for letter in name.lower())
    if not re.fullmatch(r"[a-z0-9._-]+", text):
        raise invalid("arm", name, accepted="letters, digits, spaces, commas and μ", remedy="rename it")
    return text
