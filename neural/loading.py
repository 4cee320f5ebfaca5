"""Models, weights and batches of the user's own, by name: what the command line loads them with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ..errors import InputError, as_path, invalid
from .curvature import Batch
from .curvature.isolation import own_randomness
from .data import IMAGES, TEXT_SUFFIXES, TOKENS, load_dataset, read_text
from .messages import error_text
from .user_batches import UserExamples
from .user_code import (
    as_factory,
    call_factory,
    called,
    kind_of,
    load_factory,
    load_object,
    refused,
    require_seed,
)
from .user_sources import DEFAULT_EXAMPLES, arrays_in, drawn, gather, is_source, saved

if TYPE_CHECKING:
    from ..errors import PathText
    from .data import Dataset
    from .user_code import Executed

__all__ = [
    "DEFAULT_EXAMPLES",
    "SOURCES",
    "Built",
    "DataReading",
    "Drawn",
    "build_model",
    "load_batch",
    "load_checkpoint",
    "load_factory",
    "load_object",
]

_PAIR = 2

SOURCES = (
    "an .npz or .pt file, a text file, a folder with a known data set or one subfolder of images a class, or "
    "module:name of a DataLoader, a Dataset, an iterable of batches, or a function that returns one or arrays"
)


class Built(NamedTuple):
    """What a factory returns."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer | None


class DataReading(NamedTuple):
    """How text and images are read; None is the reader's own default."""

    sequence: int | None = None
    """Tokens in a window of text."""
    level: str | None = None
    """`byte` or `word`."""
    vocabulary: int | None = None
    """Most frequent words that are told apart."""
    side: int | None = None
    """Side of the images in a user's folder, in pixels."""

    def given(self) -> dict[str, Any]:
        """The settings that are not left open."""
        return {name: value for name, value in self._asdict().items() if value is not None}


_DEFAULT = DataReading()


class Drawn(NamedTuple):
    """Examples out of a data set."""

    name: str
    batch: Batch
    available: int | None
    """How many there are, where that is known."""
    first: bool = False
    """Whether these are the first ones, in the data's own order; else they were drawn from all of them."""
    targets_name: str | None = None
    """The key of the targets where batches are dictionaries."""
    kind: str | None = None
    """`images`, `tokens` or `vectors` for files and folders that are known to hold such."""


def build_model(spec: str, seed: int = 0, *, executed: Executed | None = None) -> Built:
    """The model, and the optimizer if there is one, that a named function without arguments returns.

    Parameters
    ----------
    spec, executed
        See `load_object`.
    seed
        Seed of torch's, NumPy's and Python's random numbers while the module is imported, and again while the
        factory is called; they are as before afterwards.

    Raises
    ------
    InputError
        As in `load_factory`, and if the factory raises or returns anything but a module or a pair of a module
        and an optimizer.
    """
    returned = call_factory(spec, seed, executed)
    pair = returned if isinstance(returned, tuple) and len(returned) == _PAIR else (returned, None)
    model, optimizer = pair
    if not isinstance(model, torch.nn.Module):
        remedy = "return the model, or (model, optimizer)"
        raise refused(spec, f"it returned {kind_of(returned)}, not an nn.Module", remedy)
    if not isinstance(optimizer, torch.optim.Optimizer | None):
        remedy = "return the model, or (model, optimizer)"
        raise refused(spec, f"beside the model it returned {kind_of(optimizer)}, not an optimizer", remedy)
    return Built(model, optimizer)


def load_checkpoint(path: PathText, built: Built) -> None:
    """Load weights, and an optimizer's state if the file has one, in place.

    Parameters
    ----------
    path
        File that `torch.save` wrote: a state dict, or `{"model": state dict, "optimizer": state dict}`. It is
        read with `weights_only`, so that it can hold no code.
    built
        What it is loaded into.

    Raises
    ------
    InputError
        If the file cannot be read or does not fit.
    """
    content = saved("checkpoint", as_path("checkpoint", path))
    weights, state = content, None
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        weights, state = content["model"], content.get("optimizer")
    try:
        built.model.load_state_dict(weights)
        if state is not None and built.optimizer is not None:
            built.optimizer.load_state_dict(state)
    except Exception as error:  # a dictionary of anything can fail in any way; all of it means the same
        accepted = f"the state of this {type(built.model).__name__} ({error_text(error)})"
        remedy = "save model.state_dict(), or it as 'model' beside 'optimizer'"
        raise invalid("checkpoint", str(path), accepted=accepted, remedy=remedy) from error


def load_batch(
    data: Any = None,
    examples: int | None = None,
    seed: int = 0,
    reading: DataReading = _DEFAULT,
    *,
    executed: Executed | None = None,
) -> Drawn:
    """A batch out of whatever holds data.

    Parameters
    ----------
    data
        One of `SOURCES` by name or path, or such an object itself. None is the built-in digits. Of a batch
        that is a tuple the last entry is the targets, of a dictionary `targets` or `labels`; everything else
        is inputs. Whole numbers are made int64; 8-bit inputs of three or more dimensions are images and are
        divided by 255.
    examples
        How many; None is `DEFAULT_EXAMPLES`, or all if there are fewer. From files, folders and arrays they
        are drawn without replacement, in their own order; from loaders, data sets and iterables they are the
        first.
    seed
        Seed of the draw, and of all random numbers while a function makes the data or a loader shuffles them.
    reading
        How text files, WikiText-2 and folders of images are read.
    executed
        See `load_object`.

    Raises
    ------
    InputError
        If the data cannot be read, has fewer examples than asked for, or a setting does not go with it.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> from superconsistency.neural.loading import load_batch
    >>> data = TensorDataset(torch.zeros(100, 3), torch.zeros(100, dtype=torch.long))
    >>> found = load_batch(DataLoader(data, batch_size=32, shuffle=True), examples=50)
    >>> found.name, found.batch.examples, found.first
    ('DataLoader', 50, True)
    """
    require_seed(seed)
    path = Path(data) if isinstance(data, (str, Path)) else None
    if data is None or (path is not None and (_is_folder(path) or path.suffix.lower() in TEXT_SUFFIXES)):
        return _of_dataset(_known(path, reading), examples, seed)
    name = type(data).__name__ if path is None else str(data)
    for setting, value in reading.given().items():
        raise _unread(setting, value, f"none, as {name} is neither text nor a folder of images")
    content = data if path is None else _content(name, path, seed, executed)
    with own_randomness(seed):
        found = gather(name, content, examples, seed)
    shown = name if path is None or ":" in name else path.name
    return Drawn(shown, found.examples.batch, found.available, found.first, found.examples.targets_name)


def _known(path: Path | None, reading: DataReading) -> Dataset:
    """A folder or a text file, read with settings that it has; the digits without either."""
    given = reading.given()
    if path is not None and not _is_folder(path):
        if "side" in given:
            raise _unread("side", given["side"], f"none, as {path.name} is text")
        return read_text(path, **given)
    found = load_dataset(folder=path, **given)
    if found.kind == TOKENS and "side" in given:
        raise _unread("side", given["side"], f"none, as {found.name} is text")
    if found.kind == IMAGES:
        for setting, value in given.items():
            if setting != "side":
                raise _unread(setting, value, f"none, as {found.name} has images")
            if value != found.shape[-1]:
                raise _unread(setting, value, f"{found.shape[-1]}, as {found.name} has")
    return found


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long for the file system is no folder's
        return False


def _unread(setting: str, value: object, accepted: str) -> InputError:
    return invalid(setting, value, accepted=accepted, remedy="leave it out")


def _of_dataset(data: Dataset, examples: int | None, seed: int) -> Drawn:
    found = drawn(data.name, UserExamples(Batch(data.inputs, data.targets)), examples, seed)
    return Drawn(data.name, found.examples.batch, found.available, kind=data.kind)


def _content(name: str, path: Path, seed: int, executed: Executed | None) -> Any:
    """What a file holds, or a name stands for: the object itself, or what it returns if it is a function."""
    if path.suffix.lower() == ".npz":
        return arrays_in(path)
    if path.suffix.lower() in {".pt", ".pth"}:
        return saved("data", path)
    if ":" not in name:
        raise invalid("data", name, accepted=SOURCES, remedy="check --data, or leave it out for the digits")
    with own_randomness(seed):
        found = load_object(name, executed)
    return found if is_source(found) else called(name, as_factory(name, found), seed)
