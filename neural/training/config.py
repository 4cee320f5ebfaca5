"""What the runs of a grid share: network, optimizer, loss, schedule and measurements."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import (
    as_integer,
    as_names,
    as_number,
    invalid,
    require_distinct,
    require_instance,
    require_known,
)
from ...records import require_schedule, schedule
from ...theory import SGD
from ...theory import parametrization as row_of
from ..curvature import CRITERIA
from ..curvature.quantities import CURVATURE_QUANTITIES
from ..data import Augmentation
from ..networks import Architecture, SimpleConvNetSettings, network
from .optimizers import Optimizer
from .published import (
    MOMENTUM_OVER_WIDTH,
    PUBLISHED,
    SHARED_INITIALISATION,
    published_architecture,
    published_table,
)

if TYPE_CHECKING:
    from ...errors import Names, Numbers
    from ...theory import Parametrization

VARYING = BOTH, INITIALISATION, DATA = "both", "initialisation", "data"
"""What differs between the seeds of a grid."""

MEASURED_POINTS = ITERATE, MIDPOINT = "iterate", "midpoint"
"""Where curvature is measured."""

FREE_OF_METRIC = frozenset({"loss", "output_residual"})
"""Quantities that do not depend on the optimizer."""


@dataclass(frozen=True)
class TrainingConfig:
    """Settings that all runs of a grid share.

    Attributes
    ----------
    parametrization
        A row of the table; its name may be passed.
    architecture
        The network's settings, such as `networks.network("resnet", depth=12)`; a network's name stands for
        the settings it has unless told otherwise.
    optimizer
        Its settings, by default those of SGD; a name stands for the settings it has unless told otherwise.
    loss
        A name of `curvature.CRITERIA`; `mse` and `squared` take labels as one-hot rows.
    steps
        Optimizer steps, at least 0.
    batch_size
        Examples a step; None is all of them at every step (gradient descent).
    warmup
        Steps over which the learning rate grows linearly to its value.
    augmentation
        Augmentation of the training images; None augments nothing.
    frozen
        Parts of parameter names that are not trained, such as `first`; `random features` is everything but
        `readout`.
    measure_every, measure_at
        Steps between measurements, the first and the last state always being measured; or the steps
        themselves, such as `records.logarithmic_schedule` gives.
    measure_points
        Whether curvature is measured at the `iterate` or at the `midpoint` of the last three
        (`curvature.midpoints`), which at the edge of stability needs fewer products. Loss and accuracy are
        the iterate's.
    quantities
        Names of `curvature.CURVATURE_QUANTITIES` to measure beside the loss on the evaluation examples.
    count
        Eigenvalues of the Hessian, and of the kernel if it is measured, from the largest on.
    hessian_examples, evaluation_examples
        Size of the fixed sets on which curvature and loss are measured; the smaller is part of the larger.
    probe_seed
        Chooses the fixed examples.
    tolerance
        Relative accuracy asked of the eigensolver.
    vary
        What the seeds change: `both`, `initialisation` or order of the `data`; the other has seed 0.
    give_up
        Multiple of the first measured loss beyond which a run is hopeless and ends; None is never.
    as_published
        Names of `PUBLISHED` to follow.

    Raises
    ------
    InputError
        If a value is out of range.
    """

    parametrization: Parametrization
    architecture: Architecture = field(default_factory=SimpleConvNetSettings)
    optimizer: Optimizer = field(default_factory=Optimizer)
    loss: str = "cross-entropy"
    steps: int = 512
    batch_size: int | None = 128
    warmup: int = 0
    augmentation: Augmentation | None = None
    frozen: tuple[str, ...] = ()
    measure_every: int = 32
    measure_at: tuple[int, ...] | None = None
    measure_points: str = ITERATE
    quantities: tuple[str, ...] = ("sharpness",)
    count: int = 1
    hessian_examples: int = 128
    evaluation_examples: int = 1024
    probe_seed: int = 0
    tolerance: float = 1e-3
    vary: str = BOTH
    give_up: float | None = None
    as_published: tuple[str, ...] = ()

    if TYPE_CHECKING:  # what may be passed, which is more than what is kept

        def __init__(  # noqa: PLR0917 - as many as there are fields
            self,
            parametrization: Parametrization | str,
            architecture: Architecture | str = ...,
            optimizer: Optimizer | str = ...,
            loss: str = ...,
            steps: int = ...,
            batch_size: int | None = ...,
            warmup: int = ...,
            augmentation: Augmentation | None = ...,
            frozen: Names = ...,
            measure_every: int = ...,
            measure_at: Numbers | None = ...,
            measure_points: str = ...,
            quantities: Names = ...,
            count: int = ...,
            hessian_examples: int = ...,
            evaluation_examples: int = ...,
            probe_seed: int = ...,
            tolerance: float = ...,
            vary: str = ...,
            give_up: float | None = ...,
            as_published: Names = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        for name, value in self._kept().items():
            object.__setattr__(self, name, value)
        if self.give_up is not None and not self.give_up > 1:
            raise invalid("give_up", self.give_up, accepted="above 1, or none", remedy="pass 3, for example")
        if not 0 < self.tolerance < 1:
            raise invalid(
                "tolerance", self.tolerance, accepted="between 0 and 1", remedy="pass 1e-3, for example"
            )
        require_known("loss", self.loss, CRITERIA)
        require_known("vary", self.vary, VARYING)
        require_known("measure points", self.measure_points, MEASURED_POINTS)
        for name in self.quantities:
            require_known("quantity", name, CURVATURE_QUANTITIES)
        if self.quantities:
            require_distinct("quantities", self.quantities)
        for name in self.oddities:
            require_known("published oddity", name, PUBLISHED)
        if self.vary == INITIALISATION and SHARED_INITIALISATION in self.oddities:
            raise invalid(
                "vary",
                self.vary,
                accepted=f"both or data with {SHARED_INITIALISATION}, or all seeds would be one run",
                remedy=f"leave vary out, or {SHARED_INITIALISATION}",
            )
        _ = self.measured_steps

    def _kept(self) -> dict[str, object]:
        """What was passed, in the form in which it is kept."""
        kept = {
            name: as_integer(name.replace("_", " "), getattr(self, name), least=least, example=128)
            for name, least in _LEAST.items()
            if (name, getattr(self, name)) != ("batch_size", None)
        }
        names = {
            name: as_names(name.replace("_", " "), getattr(self, name))
            for name in ("frozen", "quantities", "as_published")
        }
        numbers = {"tolerance": as_number("tolerance", self.tolerance, example=0.001)}
        if self.give_up is not None:
            numbers["give_up"] = as_number("give_up", self.give_up, example=3)
        steps = {} if self.measure_at is None else {"measure_at": require_schedule(self.measure_at)}
        return {**kept, **names, **numbers, **steps, **self._parts()}

    def _parts(self) -> dict[str, object]:
        """Parametrization, architecture and optimizer, those given by name looked up."""
        architecture: object = self.architecture
        optimizer: object = self.optimizer
        if isinstance(architecture, str):
            architecture = network(architecture)
        if isinstance(optimizer, str):
            optimizer = Optimizer(optimizer)
        parts: list[tuple[str, object, type[object]]] = [
            ("architecture", architecture, Architecture),
            ("optimizer", optimizer, Optimizer),
        ]
        if self.augmentation is not None:
            parts.append(("augmentation", self.augmentation, Augmentation))
        for name, value, kind in parts:
            require_instance(name, value, kind, accepted=_ACCEPTED[name], remedy="pass one of these")
        return {
            "parametrization": row_of(self.parametrization),
            "architecture": architecture,
            "optimizer": optimizer,
        }

    @property
    def oddities(self) -> frozenset[str]:
        """The published oddities to follow."""
        return frozenset(self.as_published)

    @property
    def table(self) -> Parametrization:
        """The row of the table that networks are built with."""
        return published_table(self.parametrization, self.oddities)

    @property
    def network(self) -> Architecture:
        """The settings that networks are built with."""
        return published_architecture(self.architecture, self.oddities)

    @property
    def measured_steps(self) -> tuple[int, ...]:
        """Steps at which the run is measured."""
        if self.measure_at is None:
            return schedule(self.steps, self.measure_every)
        steps = require_schedule(self.measure_at)
        if steps[-1] > self.steps:
            raise invalid(
                "measured steps", steps[-1], accepted=f"at most {self.steps}", remedy="take more steps"
            )
        return steps

    @property
    def observed_steps(self) -> frozenset[int]:
        """Steps whose iterates make the midpoints that are measured; none if the iterates are."""
        if self.measure_points == ITERATE or not self.quantities:
            return frozenset()
        return frozenset(near for step in self.measured_steps for near in range(max(0, step - 2), step + 1))

    @property
    def threshold(self) -> float | None:
        """Threshold of the optimizer; None where the published momentum depends on the width."""
        wide = (
            MOMENTUM_OVER_WIDTH in self.oddities
            and self.optimizer.name == SGD
            and self.optimizer.momentum > 0
        )
        return None if wide else self.optimizer.threshold

    def factor(self, step: int) -> float:
        """The schedule's factor on the learning rate of the step after this many."""
        return min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0

    def document(self) -> dict[str, Any]:
        """The settings as plain values, for a record."""
        values = asdict(self) | {
            "parametrization": self.parametrization.name,
            "scales": self.table.document(),
            "network": type(self.network).__name__.removesuffix("Settings"),
            "architecture": asdict(self.network),  # type: ignore[call-overload] # all are dataclasses
            "as_published": sorted(self.oddities),
            "quantities": list(self.quantities),
        }
        plain: dict[str, Any] = json.loads(json.dumps(values))
        return plain


_LEAST = {
    "steps": 0,
    "batch_size": 1,
    "warmup": 0,
    "measure_every": 1,
    "count": 1,
    "hessian_examples": 1,
    "evaluation_examples": 1,
    "probe_seed": 0,
}
"""Settings that are whole numbers, and the least that each may be."""

_ACCEPTED = {
    "architecture": 'settings of a network, such as network("resnet"), or its name',
    "optimizer": 'an Optimizer, or "sgd", "adam", "adamw"',
    "augmentation": "an Augmentation, or None",
}


def require_config(config: object) -> None:
    """Raise `InputError` unless settings are a `TrainingConfig`."""
    remedy = 'pass TrainingConfig("mup"), for example'
    require_instance("config", config, TrainingConfig, accepted="a TrainingConfig", remedy=remedy)
