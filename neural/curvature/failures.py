"""Exceptions of the user's own code, as one line that says where they came from."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from ...errors import InputError, invalid
from ..messages import error_text
from .batch import describe_structure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from .batch import Batch


class UserCodeError(InputError):
    """The user's model or loss raised an exception."""


@contextmanager
def users_code(called: object, batch: Batch, loss: str = "") -> Iterator[None]:
    """Turn whatever user code raises into one line that names the innermost module, or the loss.

    Parameters
    ----------
    called
        The model or the criterion.
    batch
        What it is called on: examples, or outputs and targets.
    loss
        The criterion's name; empty for the model.

    Raises
    ------
    UserCodeError
        For any exception but an interrupt, the end of memory, and errors that are one line already.
    """
    try:
        yield
    except (InputError, MemoryError, torch.OutOfMemoryError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        raise _failure(called, batch, loss, error) from error


def _failure(called: object, batch: Batch, loss: str, error: BaseException) -> UserCodeError:
    where = _innermost(called, error.__traceback__)
    if loss:
        what, given = (
            f"loss {loss}",
            f"outputs {describe_structure(batch.inputs)} and targets {describe_structure(batch.targets)}",
        )
    else:
        what, given = "model", f"inputs {describe_structure(batch.inputs)}"
    place = f" in {where}" if where else ""
    line = invalid(
        what,
        f"not to be evaluated: {type(error).__name__}{place}",
        accepted=f"one that runs on {given}",
        remedy=f"run it on these by itself; the error was {error_text(error, first_line=True)}",
    )
    return UserCodeError(str(line))


def _innermost(called: object, traceback: TracebackType | None) -> str:
    """The innermost of a model's modules whose code an exception passed through, as name and class."""
    if not isinstance(called, torch.nn.Module):
        return ""
    names = {id(module): name for name, module in called.named_modules()}
    found = ""
    while traceback is not None:
        own: Any = traceback.tb_frame.f_locals.get("self")
        if id(own) in names:
            found = f"{names[id(own)] or 'its root'} ({type(own).__name__})"
        traceback = traceback.tb_next
    return found
