"""Why sharpness and the best learning rate do not depend on width under muP.

An analytical and numerical toolkit for *Super Consistency of Neural Network Landscapes and Learning Rate
Transfer* (Noci et al., NeurIPS 2024). The rooms: `theory` derives, `simulations` iterates the latent system,
`neural` trains real networks, `runner` carries out grids of runs, `records` keeps results, `stats` judges
them, `claims` is the ledger, `figures` draws.

Names are loaded when first used, so importing the package loads neither torch nor sympy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import lazily

if TYPE_CHECKING:  # what checkers and editors see; `_HOMES` is what happens at run time
    from .claims import CLAIMS as CLAIMS
    from .claims import Settings as Settings
    from .claims import verify as verify
    from .errors import InputError as InputError
    from .experiments.gallery import FigureSettings as FigureSettings
    from .experiments.gallery import draw_figure as draw_figure
    from .neural import Grid as Grid
    from .neural import Optimizer as Optimizer
    from .neural import TrainingConfig as TrainingConfig
    from .neural import load_dataset as load_dataset
    from .neural import load_images as load_images
    from .neural import network as network
    from .neural import train_grid as train_grid
    from .neural.coordinates import CoordinateCheck as CoordinateCheck
    from .neural.coordinates import coordinate_check as coordinate_check
    from .neural.parametrize import parametrize as parametrize
    from .records import load_record as load_record
    from .records import save_record as save_record
    from .records.results import export_results as export_results
    from .records.results import open_results as open_results
    from .simulations import Ensemble as Ensemble
    from .simulations import schedule as schedule
    from .simulations import simulate as simulate
    from .simulations.observing import add_observable as add_observable
    from .stats import consistency as consistency
    from .stats import settled as settled
    from .stats import size_dependence as size_dependence
    from .stats import transfer_verdict as transfer_verdict
    from .theory import PARAMETRIZATIONS as PARAMETRIZATIONS
    from .theory import TABLE as TABLE
    from .theory import IsotropicTarget as IsotropicTarget
    from .theory import LatentState as LatentState
    from .theory import Observable as Observable
    from .theory import PlanarMap as PlanarMap
    from .theory import Problem as Problem
    from .theory import evolve as evolve
    from .theory import initial_state as initial_state
    from .theory import parametrization as parametrization
    from .theory import regime as regime
    from .theory import uniform_target as uniform_target

_HOMES = {
    "CLAIMS": "claims",
    "CoordinateCheck": "neural.coordinates",
    "Ensemble": "simulations",
    "FigureSettings": "experiments.gallery",
    "Grid": "neural",
    "InputError": "errors",
    "IsotropicTarget": "theory",
    "LatentState": "theory",
    "Observable": "theory",
    "Optimizer": "neural",
    "PARAMETRIZATIONS": "theory",
    "PlanarMap": "theory",
    "Problem": "theory",
    "Settings": "claims",
    "TABLE": "theory",
    "TrainingConfig": "neural",
    "add_observable": "simulations.observing",
    "consistency": "stats",
    "coordinate_check": "neural.coordinates",
    "draw_figure": "experiments.gallery",
    "evolve": "theory",
    "export_results": "records.results",
    "initial_state": "theory",
    "load_dataset": "neural",
    "load_images": "neural",
    "load_record": "records",
    "network": "neural",
    "open_results": "records.results",
    "parametrization": "theory",
    "parametrize": "neural.parametrize",
    "regime": "theory",
    "save_record": "records",
    "schedule": "simulations",
    "settled": "stats",
    "simulate": "simulations",
    "size_dependence": "stats",
    "train_grid": "neural",
    "transfer_verdict": "stats",
    "uniform_target": "theory",
    "verify": "claims",
}

__all__ = list(_HOMES)


if not TYPE_CHECKING:  # checkers would take every unknown name for one that it returns
    __getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
