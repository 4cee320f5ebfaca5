"""The command line: each command parses, calls one thing, and shows the result."""

from .program import main

__all__ = ["main"]
