"""What a coordinate check measures, and on which networks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...errors import (
    as_numbers,
    as_seeds,
    as_sizes,
    invalid,
    require_distinct,
    require_integer,
    require_known,
    require_whole,
)
from ...theory import SGD, regime
from ...theory import parametrization as row_of
from ..training import Run, TrainingConfig, check_run
from ..training.config import require_config

if TYPE_CHECKING:
    from ...errors import Numbers
    from ...theory import Parametrization

WIDTH, DEPTH = "width", "depth"
COORDINATE_QUANTITIES = ACTIVATION, CHANGE, OWN_CHANGE, WEIGHT_CHANGE = (
    "activation",
    "change",
    "own_change",
    "weight_change",
)
"""What is judged of a layer: mean |h| at initialisation, mean |change of h| since, the part of it by way of
the layer's own weights (on its initial inputs), and mean |change of W|. Changes of outputs are weighted by
the size of the loss's gradient in them at initialisation: where the loss does not look, as at a vision
transformer's patches after the last block, or at the logits of words that do not occur, they are
incoherent."""

LOGITS = "logits"
"""Kind of what attention takes the softmax of."""

LATER = "later_activation"
"""Mean |h| after the steps, measured beside them and not judged."""

USED = frozenset({"parametrization", "architecture", "optimizer", "loss", "as_published"})
"""Fields of `TrainingConfig` that a check uses."""

STARTS = 4
"""Networks at initialisation for each that is trained: a readout has few outputs, whose mean is noisy."""


@dataclass(frozen=True)
class CoordinateCheck:
    """What is checked.

    Attributes
    ----------
    config
        Network, parametrization, optimizer and loss; the rest of its settings is not used.
    learning_rate
        eta0; small, so that the first order in it is what is seen.
    size
        `width` or `depth`.
    sizes
        At least two, different; kept in ascending order.
    width
        Where the depth varies.
    steps
        At which changes are measured, ascending; the last of them is judged.
    seeds
        Seeds of initialisation and data order; passing one number n means 0 to n - 1.
    expected
        The row whose exponents are expected; its name may be passed. None is the one that the networks are
        built with. As published
        (`TrainingConfig.as_published`), networks can differ from it.

    Raises
    ------
    InputError
        If a value is out of range.
    """

    config: TrainingConfig
    learning_rate: float
    size: str = WIDTH
    sizes: tuple[int, ...] = (64, 128, 256, 512)
    width: int = 64
    steps: tuple[int, ...] = (1, 2, 3)
    seeds: tuple[int, ...] = tuple(range(8))
    expected: Parametrization | None = None

    if TYPE_CHECKING:  # what may be passed, which is more than what is kept

        def __init__(  # noqa: PLR0917 - as many as there are fields
            self,
            config: TrainingConfig,
            learning_rate: float,
            size: str = ...,
            sizes: Numbers = ...,
            width: int = ...,
            steps: Numbers = ...,
            seeds: Numbers = ...,
            expected: Parametrization | str | None = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        require_config(self.config)
        require_known("size", self.size, (WIDTH, DEPTH))
        kept = {
            "sizes": as_sizes(f"{self.size}s", self.sizes, example=64),
            "steps": as_numbers("steps", self.steps, example=3),
            "seeds": as_seeds(self.seeds),
            "expected": None if self.expected is None else row_of(self.expected),
        }
        for name, value in kept.items():
            object.__setattr__(self, name, value)
        require_whole(f"number of {self.size}s", len(self.sizes), least=2, example=4)
        for step in self.steps:
            require_integer("step", step, least=1, example=1)
        require_distinct("steps", self.steps)
        if list(self.steps) != sorted(self.steps):
            raise invalid("steps", self.steps, accepted="ascending", remedy="pass (1, 2, 3), for example")
        require_integer("width", self.width, least=1, example=64)
        for width in self.sizes if self.size == WIDTH else (self.width,):
            for seed in self.seeds:
                check_run(width, self.learning_rate, seed)
        if self.config.frozen:
            accepted = "nothing in a coordinate check"
            raise invalid("frozen", self.config.frozen, accepted=accepted, remedy="train all layers")
        architecture = self.config.architecture
        residual = hasattr(architecture, "depth") and bool(getattr(architecture, "skip", True))
        if self.size == DEPTH and not residual:
            name, accepted = type(architecture).__name__, "one with residual branches, for depths"
            raise invalid("network", name, accepted=accepted, remedy="choose resnet, for example")

    @property
    def every_seed(self) -> tuple[int, ...]:
        """The seeds, then those of networks that are only seen at initialisation."""
        further = range(max(self.seeds) + 1, max(self.seeds) + 1 + (STARTS - 1) * len(self.seeds))
        return (*self.seeds, *further)

    @property
    def used(self) -> TrainingConfig:
        """The settings, those that are not used at what they are here."""
        return replace(
            self.config,
            steps=max(self.steps),
            batch_size=None,
            warmup=0,
            quantities=(),
            augmentation=None,
            measure_at=None,
            measure_every=max(self.steps),
            give_up=None,
        )

    def at(self, size: int, seed: int) -> tuple[TrainingConfig, Run]:
        """Settings and run of one network."""
        config = self.used
        width = size if self.size == WIDTH else self.width
        if self.size == DEPTH:
            deeper: Any = replace(config.architecture, depth=size)  # type: ignore[type-var]
            config = replace(config, architecture=deeper)
        return config, Run(width, self.learning_rate, seed)


def default_steps(table: Parametrization | str, optimizer: str) -> tuple[int, ...]:
    """Steps to check at: one where a second would no longer be of first order, as what changes grows."""
    return (1, 2, 3) if regime(table, optimizer).stable else (1,)


def default_rate(table: Parametrization | str, optimizer: str) -> float:
    """A learning rate whose steps are of first order, and not lost in single precision."""
    found = regime(table, optimizer)
    if optimizer != SGD:
        return 1e-4 if found.stable else 1e-5
    return 1e-3 if not found.stable else 1e-2 if found.learns_features else 0.1
