"""Settings for every test: one thread a process, since tests run in parallel, and no display."""

from __future__ import annotations

import matplotlib as mpl
import torch
from hypothesis import settings

torch.set_num_threads(1)
mpl.use("agg")
settings.register_profile("default", deadline=None, max_examples=40)
settings.load_profile("default")
