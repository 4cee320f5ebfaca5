"""Carries out grids of runs: planned, grouped, on one machine or many, resumable after any kill.

Names that need PyTorch or Dask are loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily
from .analysis_model import ANALYSES, AnalysisModel
from .data import DataChoice, data_choice
from .drive import Found, Status, carry_out, look, results_of, runs_not_in_plan
from .grids import Sweep, make_sweep
from .groups import Group
from .here import HERE, Executor
from .latent_model import LatentModel, latent_model_from
from .models import Model
from .plan import Plan, make_plan
from .tasks import Outcome, Task, execute

if TYPE_CHECKING:  # what checkers and editors see; `_HOMES` is what happens at run time
    from .executors import local, scheduler, slurm, slurm_cluster
    from .grid_file import MODELS, read_sweep
    from .network_model import NetworkModel

_HOMES = {
    "MODELS": "grid_file",
    "NetworkModel": "network_model",
    "local": "executors",
    "read_sweep": "grid_file",
    "scheduler": "executors",
    "slurm": "executors",
    "slurm_cluster": "executors",
}

__all__ = [
    "ANALYSES",
    "HERE",
    "MODELS",
    "AnalysisModel",
    "DataChoice",
    "Executor",
    "Found",
    "Group",
    "LatentModel",
    "Model",
    "NetworkModel",
    "Outcome",
    "Plan",
    "Status",
    "Sweep",
    "Task",
    "carry_out",
    "data_choice",
    "execute",
    "latent_model_from",
    "local",
    "look",
    "make_plan",
    "make_sweep",
    "read_sweep",
    "results_of",
    "runs_not_in_plan",
    "scheduler",
    "slurm",
    "slurm_cluster",
]

if not TYPE_CHECKING:  # checkers would take every unknown name for one that it returns
    __getattr__ = lazily(__name__, _HOMES)
