"""A run under way, kept in one file that is whole at any moment, and taken up again."""

from __future__ import annotations

import hashlib
import io
import json
import math
import time
from typing import TYPE_CHECKING, Any

import torch

from ...errors import invalid
from ...records import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECONDS = 20.0
"""Between two checkpoints."""


class Checkpoint:
    """Keeps the state of the runs under way in a file.

    Parameters
    ----------
    path
        The file; what a killed process left there is taken up.
    seconds
        Least time between two writes.
    """

    def __init__(self, path: Path, *, seconds: float = SECONDS) -> None:
        self.path, self.seconds = path, seconds
        self._saved_at = -math.inf

    def due(self) -> bool:
        """Whether it is time for another write."""
        return time.monotonic() - self._saved_at >= self.seconds

    def save(self, identity: dict[str, Any], state: Callable[[], dict[str, Any]]) -> None:
        """Write what `state` gives, if it is time; a reader sees the old file or the new one."""
        if not self.due():
            return
        content = {"identity": digest(identity), "state": state()}
        whole = io.BytesIO()  # a full disk is then an OSError with its reason, not torch's own error
        torch.save(content, whole)
        write_atomically(self.path, lambda place: place.write_bytes(whole.getbuffer()))
        self._saved_at = time.monotonic()

    def load(self, identity: dict[str, Any], device: torch.device) -> dict[str, Any] | None:
        """The state kept for these runs; None if there is none, or it is of others.

        Raises
        ------
        InputError
            If the file is not a checkpoint.
        """
        if not self.path.exists():
            return None
        try:
            content = torch.load(self.path, map_location=device, weights_only=True)
            kept, state = content["identity"], content["state"]
        except Exception as error:  # a damaged file can raise anything; all of it means the same
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise invalid(
                "checkpoint",
                str(self.path),
                accepted=f"what an interrupted run left ({reason})",
                remedy="remove it, or pass another --output",
            ) from error
        self._saved_at = time.monotonic()
        found: dict[str, Any] = state
        return found if kept == digest(identity) else None

    def clear(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


def digest(identity: dict[str, Any]) -> str:
    """SHA-256 of what makes runs the same."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
