"""A sweep written in a TOML file."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from ..errors import invalid, require_known
from .axes import as_text
from .data import data_choice
from .grids import make_sweep
from .latent_model import LatentModel, latent_model_from
from .network_model import NetworkModel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .grids import Sweep
    from .models import Model

MODELS: dict[str, type[NetworkModel | LatentModel]] = {
    model.name: model for model in (NetworkModel, LatentModel)
}
"""By the name that a sweep's file has."""

_PARTS = ("model", "data", "settings", "grid", "threads", "device", "cluster")


def read_sweep(path: Path) -> tuple[Sweep, dict[str, Any]]:
    """The sweep of a TOML file, and its table `cluster`.

    The file has `model` (network or latent), a table `grid` or several `[[grid]]`, `settings`, and for
    networks `data`, `threads` and `device`; `docs/sweeps.md` has examples.

    Raises
    ------
    InputError
        If the file cannot be read or is not TOML, or anything in it is not known or out of range.
    """
    document = _parsed(path)
    for name in document:
        require_known(f"part of {path.name}", name, _PARTS)
    for name in ("data", "settings", "cluster"):
        if not isinstance(document.get(name, {}), dict):
            raise invalid(name, document[name], accepted="a table", remedy=f"write [{name}]")
    model = _model(document, path.parent)
    if "grid" not in document:
        raise invalid("grid", "missing", accepted="at least one table", remedy="write [grid] or [[grid]]")
    grids = document["grid"]
    several = grids if isinstance(grids, list) else [grids]
    if not all(isinstance(grid, dict) for grid in several):
        raise invalid("grid", grids, accepted="a table, or several", remedy="write [grid] or [[grid]]")
    return make_sweep(model, several), document.get("cluster", {})


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise invalid(
            "sweep", str(path), accepted=f"a TOML file ({reason})", remedy="see docs/sweeps.md for one"
        ) from error


def _model(document: Mapping[str, Any], folder: Path) -> Model:
    name = document.get("model", NetworkModel.name)
    require_known("model", str(name), tuple(MODELS))
    settings = document.get("settings", {})
    if name == LatentModel.name:
        return latent_model_from(settings)
    choice = data_choice(document.get("data", {}))
    if choice.folder is not None:
        choice = choice._replace(folder=str((folder / str(choice.folder)).resolve()))
    pairs = tuple(f"{key}={as_text(value)}" for key, value in settings.items())
    threads, device = document.get("threads", 1), document.get("device", "auto")
    return NetworkModel(pairs, choice, threads, str(device))
