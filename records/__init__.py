"""The common record: schema, provenance, storage and the statistics of width dependence."""

from .provenance import array_hash, provenance, versions
from .schedule import logarithmic_schedule, require_schedule, schedule
from .schema import (
    DIMENSIONS,
    NEVER,
    QUANTITIES,
    RUN_DIMENSIONS,
    describe,
    empty_record,
    take_over,
    with_run_variable,
)
from .statistics import WidthDependence, settled, width_dependence
from .storage import (
    RecordKeeper,
    load_record,
    record_to_json,
    require_writable,
    save_record,
    to_json,
    write_atomically,
)
from .transfer import LearningRateTransfer, learning_rate_transfer

__all__ = [
    "DIMENSIONS",
    "NEVER",
    "QUANTITIES",
    "RUN_DIMENSIONS",
    "LearningRateTransfer",
    "RecordKeeper",
    "WidthDependence",
    "array_hash",
    "describe",
    "empty_record",
    "learning_rate_transfer",
    "load_record",
    "logarithmic_schedule",
    "provenance",
    "record_to_json",
    "require_schedule",
    "require_writable",
    "save_record",
    "schedule",
    "settled",
    "take_over",
    "to_json",
    "versions",
    "width_dependence",
    "with_run_variable",
    "write_atomically",
]
