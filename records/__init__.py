"""The common record: schema, provenance and storage."""

from .origin import array_hash, provenance, versions
from .recording import logarithmic_schedule, require_schedule, schedule
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
from .storage import (
    RecordKeeper,
    load_record,
    record_to_json,
    require_writable,
    save_record,
    to_json,
    write_atomically,
)

__all__ = [
    "DIMENSIONS",
    "NEVER",
    "QUANTITIES",
    "RUN_DIMENSIONS",
    "RecordKeeper",
    "array_hash",
    "describe",
    "empty_record",
    "load_record",
    "logarithmic_schedule",
    "provenance",
    "record_to_json",
    "require_schedule",
    "require_writable",
    "save_record",
    "schedule",
    "take_over",
    "to_json",
    "versions",
    "with_run_variable",
    "write_atomically",
]
