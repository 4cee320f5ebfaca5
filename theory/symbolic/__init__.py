"""Symbolic derivations of the statements, by name."""

from .catalogue import DERIVATIONS, build_derivation
from .core import Derivation, Step

__all__ = ["DERIVATIONS", "Derivation", "Step", "build_derivation"]
