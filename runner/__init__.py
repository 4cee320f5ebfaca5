"""Carries out grids of runs: planned, grouped, on one machine or many, resumable after any kill."""

from .drive import Found, Status, carry_out, look, results_of, runs_not_in_plan
from .executors import HERE, Executor, local, scheduler, slurm, slurm_cluster
from .grid_file import MODELS, data_choice, read_sweep
from .grids import Sweep, make_sweep
from .groups import Group
from .latent_model import LatentModel, latent_model_from
from .models import Model
from .network_model import DataChoice, NetworkModel
from .plan import Plan, make_plan
from .tasks import Outcome, Task, execute

__all__ = [
    "HERE",
    "MODELS",
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
