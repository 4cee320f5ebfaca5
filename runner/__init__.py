"""Sweeps: grids of runs that survive kills, on one machine or many, each kept by the hash of what made it."""

from .drive import Account, Left, carry_out, left_aside, look
from .engines import Place, here, local, scheduler, slurm, slurm_cluster
from .models import MODELS, DataChoice, LatentModel, Model, NetworkModel
from .plan import Plan, Sweep, latent_model, make_plan, make_sweep, read_sweep
from .tasks import Outcome, Task, execute

__all__ = [
    "MODELS",
    "Account",
    "DataChoice",
    "LatentModel",
    "Left",
    "Model",
    "NetworkModel",
    "Outcome",
    "Place",
    "Plan",
    "Sweep",
    "Task",
    "carry_out",
    "execute",
    "here",
    "latent_model",
    "left_aside",
    "local",
    "look",
    "make_plan",
    "make_sweep",
    "read_sweep",
    "scheduler",
    "slurm",
    "slurm_cluster",
]
