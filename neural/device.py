"""Choice of the device that tensors live on."""

from __future__ import annotations

import torch

from ..errors import invalid


def resolve_device(name: str = "auto") -> torch.device:
    """The device of a name; `auto` is a GPU if there is one, else the CPU.

    Raises
    ------
    InputError
        If the device is unknown or absent.
    """
    if name == "auto":
        return torch.device(_best())
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise invalid(
            "device", name, accepted=f"auto or {', '.join(_present())}", remedy="pass --device auto"
        ) from error
    return device


def _present() -> list[str]:
    cuda = ["cuda"] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def _best() -> str:
    return _present()[0]
