"""Training of the paper's networks, with loss, accuracy and curvature measured along the way."""

from .checkpoint import Checkpoint
from .config import TrainingConfig
from .grid import Grid, check_run, forward_cost, train_grid
from .optimizers import Optimizer
from .probe import Probe
from .published import PUBLISHED
from .run_group import Diverged, Measurement, Run, RunGroup
from .stream import Stream, torch_generator

__all__ = [
    "PUBLISHED",
    "Checkpoint",
    "Diverged",
    "Grid",
    "Measurement",
    "Optimizer",
    "Probe",
    "Run",
    "RunGroup",
    "Stream",
    "TrainingConfig",
    "check_run",
    "forward_cost",
    "torch_generator",
    "train_grid",
]
