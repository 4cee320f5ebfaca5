"""Why sharpness and the best learning rate do not depend on width under muP.

An analytical and numerical toolkit for *Super Consistency of Neural Network Landscapes and Learning Rate
Transfer* (Noci et al., NeurIPS 2024). The rooms: `theory` derives, `simulations` iterates the latent system,
`neural` trains real networks, `runner` carries out grids of runs, `records` keeps results, `stats` judges
them, `claims` is the ledger, `figures` draws.

Names are loaded when first used, so importing the package loads neither torch nor sympy.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "CLAIMS": "claims",
    "CoordinateCheck": "neural.coordinates",
    "Ensemble": "simulations",
    "Grid": "neural",
    "InputError": "errors",
    "IsotropicTarget": "theory",
    "LatentState": "theory",
    "Optimizer": "neural",
    "PARAMETRIZATIONS": "theory",
    "PlanarMap": "theory",
    "Problem": "theory",
    "Settings": "claims",
    "TABLE": "theory",
    "TrainingConfig": "neural",
    "consistency": "stats",
    "coordinate_check": "neural.coordinates",
    "draw_figure": "figures",
    "evolve": "theory",
    "export_results": "records.results",
    "initial_state": "theory",
    "learning_rate_transfer": "stats",
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
    "train_grid": "neural",
    "transfer_verdict": "stats",
    "uniform_target": "theory",
    "verify": "claims",
    "width_dependence": "stats",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Load a public name from its room."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
