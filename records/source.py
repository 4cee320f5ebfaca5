"""The modules of this package that a module imports, and the hash of their source, for a run's identity."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parent.parent
_PACKAGE = __name__.partition(".")[0]
_TESTS = "tests"
_NAMES = frozenset({_PACKAGE, f"{_PACKAGE}.lazy"})
"""Modules that only say where public names are: a new name changes no result."""


class _Module(NamedTuple):
    """What is read off a module's source."""

    imports: tuple[str, ...]
    """Names that its import statements ask for, in full: modules of any package, or names in them."""
    digest: str
    """SHA-256 of its syntax tree without docstrings."""


@cache
def import_closure(name: str) -> tuple[str, ...]:
    """Modules of this package that importing one of them loads, in alphabetical order, itself among them.

    What counts are the statements that run at import: not those inside functions, nor those for type checkers
    only. The parents of a module are loaded before it, with everything their `__init__` imports.

    Parameters
    ----------
    name
        The module's full name, such as the `__name__` of the module that runs an experiment.

    Raises
    ------
    InputError
        If this package has no such module.
    """
    if _file(name) is None:
        raise invalid("module", name, accepted=f"a module of {_PACKAGE}", remedy="pass its full name")
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for module in _with_parents(waiting.pop()):
            if module not in found:
                found.add(module)
                waiting += [one for asked in _read(module).imports if (one := _module_of(asked))]
    return tuple(sorted(found))


@cache
def imported_packages(name: str) -> frozenset[str]:
    """Top-level names of the other packages that a module's import closure imports."""
    every = (asked for module in import_closure(name) for asked in _read(module).imports)
    return frozenset(asked.partition(".")[0] for asked in every) - {_PACKAGE}


@cache
def source_hash(name: str | None = None) -> str:
    """First digits of the SHA-256 of the source that a module imports.

    Comments and docstrings do not count, nor does where the package's public names are.

    Parameters
    ----------
    name
        The module's full name; None is the whole package.
    """
    digest = hashlib.sha256()
    for module in _every_module() if name is None else import_closure(name):
        if name is not None and module in _NAMES:
            continue
        digest.update(f"{module}\0{_read(module).digest}\0".encode())
    return digest.hexdigest()[:12]


def _every_module() -> Iterator[str]:
    """Modules of the installed package."""
    for path in sorted(_ROOT.rglob("*.py")):
        parts = path.relative_to(_ROOT).with_suffix("").parts
        folders = (_ROOT.joinpath(*parts[:depth]) for depth in range(1, len(parts)))
        if parts[0] != _TESTS and all((folder / "__init__.py").exists() for folder in folders):
            yield ".".join((_PACKAGE, *(part for part in parts if part != "__init__")))


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def _module_of(asked: str) -> str | None:
    """The module of this package that holds a name, which may be a module itself; None elsewhere."""
    if asked.partition(".")[0] != _PACKAGE:
        return None
    return asked if _file(asked) is not None else asked.rpartition(".")[0]


@cache
def _file(name: str) -> Path | None:
    package, *rest = name.split(".")
    if package != _PACKAGE:
        return None
    place = _ROOT.joinpath(*rest)
    candidates = (place / "__init__.py", place.with_suffix(".py") if rest else place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


@cache
def _read(name: str) -> _Module:
    path = _file(name)
    if path is None:
        raise invalid("module", name, accepted=f"a module of {_PACKAGE}", remedy="pass its full name")
    tree = ast.parse(path.read_bytes())
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    imports = tuple(dict.fromkeys(_asked(tree.body, package)))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_text(one)]  # type: ignore[attr-defined] # it has one
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return _Module(imports, digest)


def _asked(body: list[ast.stmt], package: str) -> Iterator[str]:
    """Full names that statements import when they run at import."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{source}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If):
            yield from _asked([] if _for_checkers(node.test) else node.body, package)
            yield from _asked(node.orelse, package)
        elif isinstance(node, ast.Try | ast.With | ast.ClassDef | ast.For | ast.While):
            for part in ("body", "orelse", "finalbody"):
                yield from _asked(getattr(node, part, []), package)
            for handler in getattr(node, "handlers", []):
                yield from _asked(handler.body, package)


def _for_checkers(test: ast.expr) -> bool:
    """Whether a condition is `TYPE_CHECKING`, under whatever module's name."""
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return bool(name == "TYPE_CHECKING")


def _is_text(node: ast.stmt) -> bool:
    """Whether a statement is a bare text, as a docstring is."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
