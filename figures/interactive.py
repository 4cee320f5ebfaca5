"""The phase portrait as a page to play with: one HTML file without server, library or network."""

from __future__ import annotations

import html
import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import require_known, require_whole
from ..records import to_json, versions, write_atomically
from ..theory import PlanarMap
from .pages import content_policy
from .style import PALETTE

if TYPE_CHECKING:
    from collections.abc import Mapping

INTERACTIVE_PLANES = ("state", "universal", "curvature")
"""(a, p); the universal coordinates (x, y); the largest eigenvalues of the Hessian's parts G and R."""

LONGEST = 1000
"""Steps that the page draws at most, so that it follows a moving slider."""

_LARGEST_SEED = 2**32 - 1
"""The page's generator has 32 bits of state."""

_ASSETS = Path(__file__).with_name("assets")
_SCRIPTS = ("mathematics.js", "drawing.js", "portrait.js")


@dataclass(frozen=True)
class PortraitDefaults:
    """What the page shows when it is opened.

    Attributes
    ----------
    dimension
        Input dimension `D`.
    target_norm
        `|w*|`, at least zero.
    learning_rate
        `eta0`, above zero; `near_edge` gives one worth looking at.
    width
        Hidden width `N` of the finite network, or `math.inf` for none.
    steps
        Gradient-descent steps, from 1 to `LONGEST`.
    seed
        Seed of the finite network's weights, from 0 to 2^32 - 1.
    plane
        One of `INTERACTIVE_PLANES`.

    Raises
    ------
    InputError
        If a value is outside its range.
    """

    dimension: int = 3
    target_norm: float = 1.0
    learning_rate: float = 1.6
    width: float = 64
    steps: int = 60
    seed: int = 0
    plane: str = "state"

    def __post_init__(self) -> None:
        PlanarMap(self.dimension, self.target_norm, self.learning_rate)  # refuses what is none
        require_whole("width", self.width, least=1, example=64, most=math.inf)
        require_whole("number of steps", self.steps, least=1, example=60, most=LONGEST)
        require_whole("seed", self.seed, least=0, example=0, most=_LARGEST_SEED)
        require_known("plane", self.plane, INTERACTIVE_PLANES)


def near_edge(dimension: int, target_norm: float) -> float:
    """A learning rate just below the largest at which training is stable."""
    return float(f"{0.95 * PlanarMap(dimension, target_norm, 1.0).largest_safe:.6g}")


def interactive_portrait(defaults: PortraitDefaults | None = None) -> str:
    """The page as HTML text, everything in it.

    Parameters
    ----------
    defaults
        What it shows first; by default a network of width 64 just below the edge.

    Notes
    -----
    A content security policy admits this page's own script and style by their hashes and nothing else, so
    the page can fetch nothing. Its mathematics is `assets/mathematics.js`, tested against `theory`.
    """
    settings = {
        "defaults": asdict(defaults or PortraitDefaults()),
        "palette": PALETTE,
        "longest": LONGEST,
    }
    style, script = _asset("portrait.css"), "\n".join(map(_asset, _SCRIPTS))
    made_with = ", ".join(f"{name} {version}" for name, version in versions().items())
    return _filled(
        _asset("portrait.html"),
        {
            "policy": content_policy(style, script),
            "style": style,
            "script": script,
            "settings": _embedded(settings),
            "provenance": html.escape(f"Made by superconsistency; versions: {made_with}.").replace(
                "--", "- -"
            ),
        },
    )


def write_portrait(path: Path, defaults: PortraitDefaults | None = None) -> None:
    """Write the page to a file.

    Raises
    ------
    InputError
        If the place cannot be written to.
    """
    text = interactive_portrait(defaults)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _filled(template: str, parts: Mapping[str, str]) -> str:
    """A template with each `{{name}}` replaced, in one pass, so that no part is searched for names."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def _embedded(settings: object) -> str:
    """JSON that can end no element of the page it stands in."""
    return json.dumps(to_json(settings), sort_keys=True, allow_nan=False).replace("</", "<\\/")
