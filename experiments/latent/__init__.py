"""The two-layer linear system: analyses as experiments."""
