"""Settings for every test: one thread a process, since tests run in parallel, and no display."""

from __future__ import annotations

import os

# Before any library is loaded that reads them, and for the processes that tests start.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import matplotlib as mpl
import numba
import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
numba.set_num_threads(1)
mpl.use("agg")
settings.register_profile("default", deadline=None, max_examples=40)
settings.load_profile("default")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured, `record_property("measured", ...)`, in whatever process they ran."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    lines = [value for report in reports for name, value in report.user_properties if name == "measured"]
    if lines:
        terminalreporter.section("measured")
        terminalreporter.write_line("\n".join(map(str, lines)))
