"""Where a user's examples come from: data loaders, data sets, iterables, arrays and files of arrays."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from itertools import chain, count, islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from ..errors import InputError, invalid
from .messages import error_text
from .user_batches import TARGETS, UserExamples, bad_data, examples_in, join_batches, numbers_in
from .user_code import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEFAULT_EXAMPLES = 512
"""Examples taken where the number is left open and there are as many."""


class Gathered(NamedTuple):
    """Examples out of a source."""

    examples: UserExamples
    available: int | None
    """How many the source has, where that is known."""
    first: bool
    """Whether these are its first examples, in its own order; else they were drawn from all of them."""


def is_source(content: object) -> bool:
    """Whether an object holds data itself, so that it is not to be called for them."""
    if isinstance(content, type):
        return False
    if isinstance(content, (Dataset, DataLoader, Mapping, torch.Tensor, np.ndarray)):
        return True
    return isinstance(content, Iterable) or hasattr(content, "__getitem__")


def gather(data: str, content: Any, wanted: int | None, seed: int) -> Gathered:
    """Examples out of any object that holds some; generators of its own are as before afterwards.

    Parameters
    ----------
    data
        What it is called in errors.
    content
        A pair or dictionary of arrays as `examples_in` takes it, a data loader, a data set of either kind, or
        an iterable of batches. Lists of examples, whose targets are single numbers, are collated.
    wanted
        How many examples; None is `DEFAULT_EXAMPLES`, or all if there are fewer.
    seed
        Seed of the draw from arrays and data sets. Loaders and iterables give their first examples.

    Raises
    ------
    InputError
        If it holds no examples, or fewer than wanted, or iterating over it fails.
    """
    with _generators_kept(content):
        if _is_dataset(content):
            return _from_dataset(data, content, wanted, seed)
        if _is_arrays(content):
            return drawn(data, examples_in(data, content), wanted, seed)
        if isinstance(content, Iterable) and not isinstance(content, (str, bytes, torch.Tensor, np.ndarray)):
            return _from_iterable(data, content, wanted)
    raise bad_data(data, f"it gave {kind_of(content)}")


def drawn(data: str, examples: UserExamples, wanted: int | None, seed: int) -> Gathered:
    """Examples drawn without replacement, in their own order."""
    available = examples.number
    wanted = require_available(data, wanted, available)
    return Gathered(examples.chosen(chosen_rows(available, wanted, seed)), available, first=False)


def chosen_rows(available: int, wanted: int, seed: int) -> torch.Tensor:
    """Rows drawn without replacement, ascending, shape (wanted,)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(available, generator=generator)[:wanted].sort().values


def require_available(data: str, wanted: int | None, available: int | None) -> int:
    """How many examples to take.

    Raises
    ------
    InputError
        If it is not a whole number of at least one, or more than there are.
    """
    if wanted is None:
        return DEFAULT_EXAMPLES if available is None else min(DEFAULT_EXAMPLES, available)
    whole = isinstance(wanted, int) and not isinstance(wanted, bool)
    if whole and wanted >= 1 and (available is None or wanted <= available):
        return wanted
    accepted = "a whole number of at least 1" if available is None else f"1 to {available}, as {data} has"
    raise invalid("examples", wanted, accepted=accepted, remedy="pass a number of these")


def _is_dataset(content: object) -> bool:
    """Whether it is a data set, of torch's or of anyone's who gives examples by number."""
    if isinstance(content, Dataset):
        return True
    plain = (Mapping, tuple, list, str, bytes, torch.Tensor, np.ndarray)
    return hasattr(content, "__getitem__") and not isinstance(content, plain)


def _is_arrays(content: object) -> bool:
    """Whether it is one batch: a dictionary, a tuple, or a list of arrays."""
    if isinstance(content, list):
        return len(content) > 1 and all(isinstance(one, (torch.Tensor, np.ndarray)) for one in content)
    return isinstance(content, (Mapping, tuple))


def _from_dataset(data: str, dataset: Any, wanted: int | None, seed: int) -> Gathered:
    """Examples of a data set, collated as loaders do: drawn if its length is known, else the first."""
    if isinstance(dataset, IterableDataset):
        return _from_examples(data, _stepped(data, dataset), wanted, None)
    try:
        available = len(dataset)
    except TypeError:
        available = None
    except (Exception, SystemExit) as error:
        raise _failed(data, error) from error
    if not available:
        return _from_examples(data, _stepped(data, _in_order(dataset)), wanted, available)
    number = require_available(data, wanted, available)
    rows = chosen_rows(available, number, seed)
    taken = list(_stepped(data, (dataset[row] for row in rows.tolist())))
    return Gathered(examples_in(data, _collated(data, taken)), available, first=False)


def _in_order(dataset: Any) -> Iterator[Any]:
    """Examples of a data set without a length, up to the first number that it does not know."""
    for index in count():
        try:
            example = dataset[index]
        except IndexError:
            return
        yield example


def _from_examples(data: str, items: Iterator[Any], wanted: int | None, available: int | None) -> Gathered:
    number = require_available(data, wanted, available)
    taken = list(islice(items, number))
    if not taken:
        raise bad_data(data, "it has no examples")
    if available is None and len(taken) < number:
        available = len(taken)
        require_available(data, wanted, available)
    return Gathered(examples_in(data, _collated(data, taken)), available, first=True)


def _collated(data: str, items: list[Any]) -> Any:
    try:
        return default_collate([_with_arrays(item) for item in items])
    except Exception as error:  # examples of anything can fail in any way; all of it means the same
        remedy = "let the examples be numbers and arrays of one shape, or pass a DataLoader with a collate_fn"
        raise bad_data(data, f"its examples do not make a batch: {error_text(error)}", remedy) from error


def _with_arrays(item: Any) -> Any:
    """An example whose lists of numbers are arrays, which torch would otherwise collate number by number."""
    if isinstance(item, Mapping):
        return {key: _with_arrays(value) for key, value in item.items()}
    if isinstance(item, list) and numbers_in(item):
        return np.array(item)
    if isinstance(item, (tuple, list)) and not hasattr(item, "_fields"):
        return type(item)(_with_arrays(value) for value in item)
    return item


def _from_iterable(data: str, content: Iterable[Any], wanted: int | None) -> Gathered:
    """Examples of an iterable of batches; or of examples, if the first one's targets are a number."""
    steps = _stepped(data, content)
    begun = list(islice(steps, 1))
    if not begun:
        raise bad_data(data, "it has no examples")
    items = chain(begun, steps)
    if _is_one_example(begun[0]):
        return _from_examples(data, items, wanted, None)
    return _from_batches(data, items, wanted)


def _is_one_example(item: Any) -> bool:
    """Whether its targets are a single number."""
    if isinstance(item, Mapping):
        item = [item[name] for name in TARGETS if name in item]
    if not isinstance(item, (tuple, list)) or not item:
        return False
    targets = item[-1]
    return isinstance(targets, (int, float, np.number)) or getattr(targets, "ndim", None) == 0


def _from_batches(data: str, batches: Iterator[Any], wanted: int | None) -> Gathered:
    """The first examples of consecutive batches."""
    number = require_available(data, wanted, None)
    found: list[UserExamples] = []
    taken = 0
    for batch in batches:
        one = examples_in(data, batch)
        rows = min(one.number, number - taken)
        found.append(one.chosen(torch.arange(rows)) if rows < one.number else one)
        taken += rows
        if taken == number:
            return Gathered(join_batches(data, found), None, first=True)
    require_available(data, wanted, taken)
    return Gathered(join_batches(data, found), taken, first=True)


def _stepped(data: str, content: Iterable[Any]) -> Iterator[Any]:
    """What an iterable gives; whatever it raises is one line."""
    try:
        yield from content
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise _failed(data, error) from error


def _failed(data: str, error: BaseException) -> InputError:
    return bad_data(data, f"it raised {error_text(error)}", "run through it by itself")


@contextmanager
def _generators_kept(content: Any) -> Iterator[None]:
    """Generators that a loader and its samplers hold have the same state afterwards."""
    holders: list[Any] = [content] if isinstance(content, DataLoader) else []
    for name in ("batch_sampler", "sampler"):
        holders += [getattr(holder, name, None) for holder in holders]
    generators = [getattr(holder, "generator", None) for holder in holders]
    kept = [(one, one.get_state()) for one in generators if isinstance(one, torch.Generator)]
    try:
        yield
    finally:
        for generator, state in kept:
            generator.set_state(state)


def arrays_in(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an .npz file, none of which may hold Python objects."""
    try:
        with path.open("rb") as opened:
            found = np.load(opened, allow_pickle=False)
            if isinstance(found, NpzFile):
                return {name: found[name] for name in found.files}
    except Exception as error:  # a hostile file can raise anything; all of it means the same
        raise bad_data(str(path), error_text(error), "write it with numpy.savez") from error
    remedy = "write it with numpy.savez(path, inputs=..., targets=...)"
    raise bad_data(str(path), "it is a single array", remedy)


def saved(what: str, path: Path) -> Any:
    """What `torch.save` wrote, tensors and plain values only.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that are then refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile file can raise anything; all of it means the same
        accepted = f"a file of tensors that torch.save wrote ({error_text(error)})"
        raise invalid(what, str(path), accepted=accepted, remedy="save a dictionary of tensors") from error
