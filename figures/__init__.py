"""Pictures: functions that draw data into given axes."""

from .coordinates import draw_coordinates, draw_sizes
from .curves import draw_curves, draw_edge, draw_transfer
from .drawing import draw_record, save_picture
from .interactive import PortraitDefaults, interactive_portrait, write_portrait
from .portrait import PLANES, Plane, draw_basins, draw_orbit, draw_portrait
from .style import paper_style

__all__ = [
    "PLANES",
    "Plane",
    "PortraitDefaults",
    "draw_basins",
    "draw_coordinates",
    "draw_curves",
    "draw_edge",
    "draw_orbit",
    "draw_portrait",
    "draw_record",
    "draw_sizes",
    "draw_transfer",
    "interactive_portrait",
    "paper_style",
    "save_picture",
    "write_portrait",
]
