"""Runs a sweep, stalling while it writes one of its groups: `stalled.py GRID FOLDER NUMBER`.

The file that is being written has half of its bytes when the process says so and waits to be killed.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import Any

from superconsistency.cli import main
from superconsistency.records import storage

grid, folder, number = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
whole = storage.save_record
counter = itertools.count(1)


def halved(record: Any, path: Path) -> None:
    """As `save_record`, but the writing numbered so stops halfway."""
    if next(counter) < number:
        whole(record, path)
        return

    def write(temporary: Path) -> None:
        record.to_netcdf(temporary, engine="h5netcdf")
        content = temporary.read_bytes()
        temporary.write_bytes(content[: len(content) // 2])
        sys.stdout.write(f"{temporary}\n")
        sys.stdout.flush()
        time.sleep(600)

    storage.write_atomically(path, write)


from superconsistency.records import store  # noqa: E402 - patched before any use

store.__dict__["save_record"] = halved
main(["sweep", str(grid), "--output", str(folder), "--workers", "1"])
