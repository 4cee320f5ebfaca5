"""Models, weights and batches of the user's own, by name: what the command line loads them with."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.lib.npyio import NpzFile

from ..errors import InputError, invalid, require_whole
from .curvature import Batch
from .data import load_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from ..theory import Array

_PAIR = 2

FORM = "package.module:function or path/to/file.py:function"

LARGEST_SEED = 2**63 - 1
"""That torch takes."""

DEFAULT_EXAMPLES = 512
"""Examples drawn where the number is left open and there are as many."""

SOURCES = "a folder with a known data set, an .npz or .pt file with inputs and targets, or module:function"


class Built(NamedTuple):
    """What a factory returns."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer | None


class Drawn(NamedTuple):
    """Examples out of a data set."""

    name: str
    batch: Batch
    available: int


def load_factory(spec: str) -> Callable[..., Any]:
    """A function by name, `package.module:function` or `path/to/file.py:function`.

    While the module is being imported, and not longer, the current folder and the file's own are searched.

    Raises
    ------
    InputError
        If the name is of neither form, or there is no such module, file or attribute, or it is not callable.
    """
    place, colon, name = spec.rpartition(":")
    if not (colon and place and name):
        raise _refused(spec, "there is a colon between file and function", "write both")
    module = _module(place)
    try:
        found = getattr(module, name)
    except AttributeError:
        raise _refused(spec, f"{place} has no {name}", "check the name after the colon") from None
    if not callable(found):
        kind = type(found).__name__
        raise _refused(spec, f"{name} is of type {kind}", "name a function that returns what is asked for")
    factory: Callable[[], Any] = found
    return factory


def build_model(spec: str, seed: int = 0) -> Built:
    """The model, and the optimizer if there is one, that a named function without arguments returns.

    Parameters
    ----------
    spec
        As of `load_factory`.
    seed
        Of torch's random numbers while the module is imported and the factory called; they are as before
        afterwards.

    Raises
    ------
    InputError
        As `load_factory`, and if the factory raises or returns anything but a module or a pair of a module
        and an optimizer.
    """
    returned = _called(spec, seed)
    pair = returned if isinstance(returned, tuple) and len(returned) == _PAIR else (returned, None)
    model, optimizer = pair
    if not isinstance(model, torch.nn.Module):
        remedy = "return the model, or (model, optimizer)"
        raise _refused(spec, f"it returned {_kind(returned)}, not an nn.Module", remedy)
    if not isinstance(optimizer, torch.optim.Optimizer | None):
        remedy = "return the model, or (model, optimizer)"
        raise _refused(spec, f"beside the model it returned {_kind(optimizer)}, not an optimizer", remedy)
    return Built(model, optimizer)


def load_checkpoint(path: Path, built: Built) -> None:
    """Load weights, and an optimizer's state if the file has one, in place.

    Parameters
    ----------
    path
        Of a `torch.save` of a state dict, or of `{"model": state dict, "optimizer": state dict}`. It is read
        with `weights_only`, so that it can hold no code.
    built
        What it is loaded into.

    Raises
    ------
    InputError
        If the file cannot be read or does not fit.
    """
    content = _saved("checkpoint", path)
    weights, state = content, None
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        weights, state = content["model"], content.get("optimizer")
    try:
        built.model.load_state_dict(weights)
        if state is not None and built.optimizer is not None:
            built.optimizer.load_state_dict(state)
    except Exception as error:  # a dictionary of anything can fail in any way; all of it means the same
        accepted = f"the state of this {type(built.model).__name__} ({words_of(error)})"
        remedy = "save model.state_dict(), or it as 'model' beside 'optimizer'"
        raise invalid("checkpoint", str(path), accepted=accepted, remedy=remedy) from error


def load_batch(data: str | Path | None, examples: int | None = None, seed: int = 0) -> Drawn:
    """Examples drawn without replacement, in their own order.

    Parameters
    ----------
    data
        One of `SOURCES`; None is the built-in digits. Arrays have one example a row. Whole numbers are made
        int64 (labels, tokens).
    examples
        How many; None is `DEFAULT_EXAMPLES`, or all if there are fewer.
    seed
        Of the draw, and of torch's random numbers while a function makes the data.

    Raises
    ------
    InputError
        If the data cannot be read, or has fewer examples than asked for.
    """
    name, inputs, targets = _source(data, seed)
    available = len(targets)
    wanted = min(DEFAULT_EXAMPLES, available) if examples is None else examples
    require_whole("seed", seed, least=0, most=LARGEST_SEED, example=0)
    if not 1 <= wanted <= available:
        raise invalid(
            "examples", wanted, accepted=f"1 to {available}, as {name} has", remedy="pass a number of these"
        )
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(available, generator=generator)[:wanted].sort().values
    return Drawn(name, Batch(inputs[chosen], targets[chosen]), available)


def _source(data: str | Path | None, seed: int) -> tuple[str, torch.Tensor, torch.Tensor]:
    """Name, inputs and targets of a whole data set."""
    path = None if data is None else Path(data)
    if path is None or path.is_dir():
        known = load_dataset(folder=path)
        return known.name, known.inputs, known.targets
    if path.suffix == ".npz":
        return path.name, *_pair(str(data), _arrays(path))
    if path.suffix in {".pt", ".pth"}:
        return path.name, *_pair(str(data), _saved("data", path))
    if ":" in str(data):
        return str(data), *_pair(str(data), _called(str(data), seed))
    raise invalid("data", str(data), accepted=SOURCES, remedy="check --data, or leave it out for the digits")


def _pair(data: str, content: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets out of a pair or a dictionary of tensors or arrays, checked."""
    if isinstance(content, dict):
        missing = [key for key in ("inputs", "targets") if key not in content]
        if missing:
            raise _bad_data(data, f"it has no {' and no '.join(missing)}")
        content = (content["inputs"], content["targets"])
    if not (isinstance(content, tuple | list) and len(content) == _PAIR):
        raise _bad_data(data, f"it gave {_kind(content)}")
    inputs, targets = _tensor(data, "inputs", content[0]), _tensor(data, "targets", content[1])
    if len(inputs) != len(targets) or not len(targets):
        raise _bad_data(data, f"{len(inputs)} inputs and {len(targets)} targets")
    return inputs, targets


def _tensor(data: str, name: str, value: Any) -> torch.Tensor:
    """Examples as a tensor that is int64 or floating-point and finite."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "iuf":
        kind = np.int64 if value.dtype.kind in "iu" else np.float32 if value.itemsize <= 4 else np.float64
        value = torch.from_numpy(np.array(value, dtype=kind, order="C"))
    if not isinstance(value, torch.Tensor) or value.is_complex() or value.dtype == torch.bool:
        raise _bad_data(data, f"its {name} are {_kind(value)}")
    if value.ndim == 0:
        raise _bad_data(data, f"its {name} are one number")
    found: torch.Tensor = value.detach()
    if not found.is_floating_point():
        return found.long()
    if not torch.isfinite(found).all():
        raise _bad_data(data, f"its {name} hold NaN or infinity")
    return found


def _arrays(path: Path) -> dict[str, Array]:
    """The arrays of an .npz file, none of which may hold Python objects."""
    try:
        with path.open("rb") as opened:
            found = np.load(opened, allow_pickle=False)
            if isinstance(found, NpzFile):
                return {name: found[name] for name in ("inputs", "targets") if name in found}
    except Exception as error:  # a hostile file can raise anything; all of it means the same
        raise _bad_data(str(path), words_of(error)) from error
    raise _bad_data(str(path), "it is a single array")


def _saved(what: str, path: Path) -> Any:
    """What `torch.save` wrote, tensors and plain values only."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile file can raise anything; all of it means the same
        accepted = f"a file of tensors that torch.save wrote ({words_of(error)})"
        raise invalid(what, str(path), accepted=accepted, remedy="save a dictionary of tensors") from error


def _called(spec: str, seed: int) -> Any:
    """What a named function returns, under torch's random numbers of a seed."""
    require_whole("seed", seed, least=0, most=LARGEST_SEED, example=0)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        factory = load_factory(spec)
        return _outcome(spec, factory)


def _outcome(spec: str, factory: Callable[[], Any]) -> Any:
    try:
        return factory()
    except (Exception, SystemExit) as error:
        remedy = "let it be callable without arguments, and run it by itself"
        raise _refused(spec, f"it raised {words_of(error)}", remedy) from error


def _module(place: str) -> ModuleType:
    """Import a module by its name or its file."""
    is_file, path = _is_file(place), Path(place).absolute()
    if is_file and not path.is_file():
        raise _refused(place, "there is no such file", "check the path before the colon")
    with _search(*_folders(place)):
        try:
            return _run(path) if is_file else importlib.import_module(place)
        except ModuleNotFoundError as error:
            if not is_file and error.name and f"{place}.".startswith(f"{error.name}."):
                raise _refused(
                    place, f"there is no module {error.name}", "run where it can be imported, or give a .py"
                ) from error
            raise _refused(
                place, f"its import raised {words_of(error)}", "install what it imports"
            ) from error
        except (Exception, SystemExit) as error:
            raise _refused(place, f"its import raised {words_of(error)}", "run it by itself") from error


def _is_file(place: str) -> bool:
    return place.endswith(".py")


def _folders(place: str) -> list[Path]:
    """Where a module's own imports are looked for."""
    return [Path.cwd(), *([Path(place).absolute().parent] if _is_file(place) else [])]


def _run(path: Path) -> ModuleType:
    """Execute a file as a module of its own."""
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


def _refused(spec: str, why: str, remedy: str) -> InputError:
    return invalid("function", spec, accepted=f"{FORM} ({why})", remedy=remedy)


def _bad_data(data: str, why: str) -> InputError:
    return invalid(
        "data",
        data,
        accepted=f"inputs and targets, arrays of numbers with equally many rows, at least one ({why})",
        remedy=f"pass {SOURCES}",
    )


def _kind(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of {value.dtype}"
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__


def words_of(error: BaseException, longest: int = 160) -> str:
    """An error's class and message on one short line."""
    words = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return words if len(words) <= longest else words[: longest - 1] + "…"
