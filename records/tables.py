"""A table as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """Values in rows; a title says what produced them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    ruled: bool = False
    """Whether lines are drawn between the rows, whose cells have several lines."""

    @property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        """The rows as they are shown, numbers to five digits; JSON has all digits."""
        return tuple(
            tuple(f"{value:.5g}" if isinstance(value, float) else str(value) for value in row)
            for row in self.rows
        )

    @property
    def document(self) -> dict[str, Any]:
        """The table as plain values, with all digits."""
        return {"title": self.title, "columns": self.columns, "rows": self.rows}
