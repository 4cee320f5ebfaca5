"""Python of the user's own, by name: what is imported, called and iterated over, its failures on one line."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import InputError, invalid, require_whole
from .curvature.isolation import own_randomness
from .messages import error_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

FORM = "package.module:name or path/to/file.py:name"

LARGEST_SEED = 2**63 - 1
"""The largest seed that torch takes."""

Executed = dict[str, "ModuleType"]
"""Files that have been executed, by absolute path: what is named twice is executed once."""


def load_object(spec: str, executed: Executed | None = None) -> Any:
    """Whatever a name stands for, `package.module:name` or `path/to/file.py:name`.

    While the module is being imported, and not longer, the current folder and the file's own are searched.

    Parameters
    ----------
    spec
        The name.
    executed
        Files executed before, which are not executed again, and to which this one is added. A loss that
        refers to the model of its own file then means the same model.

    Raises
    ------
    InputError
        If the name is of neither form, or there is no such module, file or attribute.

    Examples
    --------
    >>> from superconsistency.neural.loading import load_object
    >>> load_object("math:pi")
    3.141592653589793
    """
    place, name = _parts(spec)
    module = _module(place, {} if executed is None else executed)
    try:
        return getattr(module, name)
    except AttributeError:
        raise refused(spec, f"{place} has no {name}", "check the name after the colon") from None


def load_factory(spec: str, executed: Executed | None = None) -> Callable[..., Any]:
    """A function by name; see `load_object`.

    Raises
    ------
    InputError
        As in `load_object`, and if it is not callable.

    Examples
    --------
    >>> from superconsistency.neural.loading import load_factory
    >>> load_factory("math:sqrt")(4.0)
    2.0
    """
    return as_factory(spec, load_object(spec, executed))


def as_factory(spec: str, found: Any) -> Callable[..., Any]:
    """What `load_object` found, refused unless it can be called."""
    if not callable(found):
        name, kind = spec.rpartition(":")[2], type(found).__name__
        raise refused(spec, f"{name} is of type {kind}", "name a function that returns what is asked for")
    factory: Callable[..., Any] = found
    return factory


def call_factory(spec: str, seed: int, executed: Executed | None = None) -> Any:
    """What a named function without arguments returns, under random numbers of a seed.

    Parameters
    ----------
    spec, executed
        See `load_object`. The folders that its import searched are searched while it runs, too.
    seed
        Seed of torch's, NumPy's and Python's random numbers while the module is imported, and again while the
        function is called; all of them are as before afterwards.

    Raises
    ------
    InputError
        As in `load_factory`, and if the function raises anything.
    """
    require_seed(seed)
    with own_randomness(seed):
        factory = load_factory(spec, executed)
    return called(spec, factory, seed)


def called(spec: str, factory: Callable[[], Any], seed: int) -> Any:
    """What a function returns that `load_object` found under a name; anything it raises is one line.

    Its random numbers begin anew with the seed: they do not depend on what the import has drawn, or whether
    the file was executed before.
    """
    with own_randomness(seed), _search(*_folders(_parts(spec)[0])):
        try:
            return factory()
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            remedy = "let it be callable without arguments, and run it by itself"
            raise refused(spec, f"it raised {error_text(error)}", remedy) from error


def require_seed(seed: int) -> None:
    """Raise `InputError` unless torch takes a seed."""
    require_whole("seed", seed, least=0, most=LARGEST_SEED, example=0)


def refused(spec: str, why: str, remedy: str) -> InputError:
    """Describe a name that cannot be used."""
    return invalid("function", spec, accepted=f"{FORM} ({why})", remedy=remedy)


def kind_of(value: object) -> str:
    """What a value is, in a few words, such as `a tensor of torch.int64`."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of {value.dtype}"
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__


def _parts(spec: str) -> tuple[str, str]:
    """Module or file, and the name in it."""
    place, colon, name = spec.rpartition(":")
    if not (colon and place and name):
        raise refused(spec, "there is a colon between file and name", "write both")
    return place, name


def _module(place: str, executed: Executed) -> ModuleType:
    """Import a module by its name or its file."""
    is_file, path = _is_file(place), Path(place).absolute()
    if is_file and not path.is_file():
        raise refused(place, "there is no such file", "check the path before the colon")
    with _search(*_folders(place)):
        try:
            return _run(path, executed) if is_file else importlib.import_module(place)
        except ModuleNotFoundError as error:
            if not is_file and error.name and f"{place}.".startswith(f"{error.name}."):
                raise refused(
                    place, f"there is no module {error.name}", "run where it can be imported, or give a .py"
                ) from error
            raise refused(
                place, f"its import raised {error_text(error)}", "install what it imports"
            ) from error
        except (Exception, SystemExit) as error:
            raise refused(place, f"its import raised {error_text(error)}", "run it by itself") from error


def _is_file(place: str) -> bool:
    return place.endswith(".py")


def _folders(place: str) -> list[Path]:
    """Where a module's own imports are looked for."""
    return [Path.cwd(), *([Path(place).absolute().parent] if _is_file(place) else [])]


def _run(path: Path, executed: Executed) -> ModuleType:
    """Execute a file as a module of its own, once."""
    if str(path) in executed:
        return executed[str(path)]
    name = f"_superconsistency_factory_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and the like look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    executed[str(path)] = module
    return module


@contextmanager
def _search(*folders: Path) -> Iterator[None]:
    """Look for modules in these folders first, for a while."""
    before = list(sys.path)
    sys.path[:0] = [str(folder) for folder in folders]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before
