"""The report: claims with evidence, figures with verdicts, results and the machine, as one page."""

from .contents import Contents, Figure, Machine, Summary, read_figures, read_ledger, summarise, this_machine
from .page import LARGEST, render, write_report

__all__ = [
    "LARGEST",
    "Contents",
    "Figure",
    "Machine",
    "Summary",
    "read_figures",
    "read_ledger",
    "render",
    "summarise",
    "this_machine",
    "write_report",
]
