"""Choice of the device that tensors live on."""

from __future__ import annotations

import torch

from ..errors import invalid


def resolve_device(name: str = "auto") -> torch.device:
    """The device of a name; `auto` is a CUDA GPU if there is one, else the CPU.

    Raises
    ------
    InputError
        If the device is unknown or absent.
    """
    if name == "auto":
        return torch.device("cuda" if "cuda" in _present() else "cpu")
    present = _present()
    if name not in present:
        raise invalid("device", name, accepted=f"auto, {', '.join(present)}", remedy="pass --device auto")
    return torch.device(name)


def _present() -> list[str]:
    """Devices of this machine by name, the CPU first."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cuda = ["cuda", *(f"cuda:{index}" for index in range(count))] if count else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *cuda, *mps]
