"""Measures of the package's source: sizes, import circles, and names.

`python tests/house.py` prints a table for this checkout, `python tests/house.py PATH` one for another one.
With `--list` the circles and names that the table counts follow.
"""

from __future__ import annotations

import argparse
import ast
import functools
import itertools
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

PACKAGE = "superconsistency"
OUTSIDE = frozenset({"tests", "docs", "notebooks", "build", "dist", "results"})
"""Folders of the repository that are not part of the package."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


class Module(NamedTuple):
    """One file of the package.

    Attributes
    ----------
    name
        Dotted name; a package's `__init__.py` has the name of the package.
    room
        The folder at the root that the file is in; the package's own name for files at the root.
    path
        The file.
    text, tree
        Its source and its syntax tree.
    """

    name: str
    room: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def leaf(self) -> str:
        """Last part of the dotted name."""
        return self.name.rpartition(".")[2]

    @property
    def lines(self) -> int:
        """Number of lines."""
        return len(self.text.splitlines())


class Sized(NamedTuple):
    """Something with a dotted name and a number of lines."""

    name: str
    lines: int


def read_package(root: Path) -> list[Module]:
    """Every module of the package whose root folder is `root`."""
    modules = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[0] in OUTSIDE or any(part.startswith(".") for part in parts):
            continue
        named = parts[:-1] if parts[-1] == "__init__" else parts
        text = path.read_text(encoding="utf-8")
        room = parts[0] if len(parts) > 1 else PACKAGE
        modules.append(Module(".".join((PACKAGE, *named)), room, path, text, ast.parse(text)))
    return modules


def imports(module: Module, known: set[str]) -> set[str]:
    """Modules of the package that a module imports: at its top, inside functions, and for types only.

    `from .room import name` is an import of `room.name` where that is a module, and of `room` otherwise. The
    packages above an imported module, which Python loads too, are not counted.
    """
    found = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(module, node)
            inner = {f"{source}.{alias.name}" for alias in node.names}
            found |= inner & known
            if inner - known:
                found.add(source)
    return found & known - {module.name}


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    """Dotted name of the module that an import statement takes names from."""
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    above = node.level - 1 if module.path.name == "__init__.py" else node.level
    return ".".join([*parts[: len(parts) - above], *([node.module] if node.module else [])])


def circles(modules: Sequence[Module]) -> list[list[str]]:
    """Groups of modules that import one another, directly or through others."""
    known = {module.name for module in modules}
    graph = {module.name: imports(module, known) for module in modules}

    @functools.cache
    def reached(start: str) -> frozenset[str]:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting.extend(graph[name])
        return frozenset(seen)

    groups = {
        tuple(sorted(other for other in reached(name) if name in reached(other)))
        for name in graph
        if name in reached(name)
    }
    return [list(group) for group in sorted(groups)]


def functions(modules: Sequence[Module]) -> list[Sized]:
    """Every function and method, nested ones included, with its lines from `def` to its end."""
    return [
        Sized(f"{module.name}.{node.name}", _length(node))
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, Function)
    ]


def _length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def top_level(module: Module) -> Iterator[tuple[str, ast.stmt]]:
    """Names that a module defines at its top level, each with its statement; imports define nothing."""
    for node in module.tree.body:
        if isinstance(node, Definition):
            yield node.name, node
        elif isinstance(node, ast.Assign):
            yield from ((name, node) for target in node.targets for name in _bound(target))
        elif isinstance(node, ast.AnnAssign):
            yield from ((name, node) for name in _bound(node.target))


def _bound(target: ast.expr) -> Iterator[str]:
    return (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def hiding(modules: Sequence[Module]) -> list[str]:
    """Public functions and classes with the name of a module of the package, by their dotted names."""
    leaves = {module.leaf for module in modules}
    return [
        f"{module.name}.{name}"
        for module in modules
        for name, node in top_level(module)
        if isinstance(node, Definition) and name in leaves
    ]


def repeated(modules: Sequence[Module]) -> dict[str, list[str]]:
    """Public top-level names that several modules define, each with the modules."""
    homes: defaultdict[str, set[str]] = defaultdict(set)
    for module in modules:
        for name, _ in top_level(module):
            if not name.startswith("_"):
                homes[name].add(module.name)
    return {name: sorted(found) for name, found in sorted(homes.items()) if len(found) > 1}


def unused(modules: Sequence[Module], root: Path, *, exported: bool = False) -> list[Sized]:
    """Functions, classes and methods that the package and its pages name nowhere but where they are defined.

    Parameters
    ----------
    modules, root
        The package, and the root of its repository.
    exported
        Whether to return those in an `__all__`, which users may call; otherwise all others.
    """
    public = {name for module in modules for name in _listed(module.tree)}
    named = Counter(itertools.chain.from_iterable(mentions(module.tree) for module in modules))
    named.update(words_of_pages(root))
    return [
        sized
        for module in modules
        for sized, node in _definitions(module)
        if named[node.name] <= Counter(mentions(node))[node.name] and (node.name in public) is exported
    ]


def _definitions(module: Module) -> Iterator[tuple[Sized, Definition]]:
    """Functions and classes of a module and the classes' methods, but for those that Python itself calls."""
    for node in module.tree.body:
        if not isinstance(node, Definition) or node.name.startswith("__"):
            continue
        yield Sized(f"{module.name}.{node.name}", _length(node)), node
        for inner in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(inner, Function) and not inner.name.startswith("__"):
                yield Sized(f"{module.name}.{node.name}.{inner.name}", _length(inner)), inner


def mentions(tree: ast.AST) -> Iterator[str]:
    """Identifiers that a syntax tree reads; an import or an `__all__` reads none.

    In texts, whole identifiers count (keys of a registry), and attributes ("pass Metric.identity").
    """
    if isinstance(tree, ast.Assign) and "__all__" in itertools.chain.from_iterable(map(_bound, tree.targets)):
        return
    if isinstance(tree, ast.Name) and isinstance(tree.ctx, ast.Load):
        yield tree.id
    elif isinstance(tree, ast.Attribute):
        yield tree.attr
    elif isinstance(tree, ast.keyword) and tree.arg:
        yield tree.arg
    elif isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield from (
            [tree.value] if tree.value.isidentifier() else re.findall(r"\w\.([A-Za-z_]\w*)", tree.value)
        )
    for node in ast.iter_child_nodes(tree):
        yield from mentions(node)


def _listed(tree: ast.Module) -> Iterator[str]:
    """Names in a module's `__all__`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and "__all__" in itertools.chain.from_iterable(
            map(_bound, node.targets)
        ):
            texts = (item.value for item in ast.walk(node.value) if isinstance(item, ast.Constant))
            yield from (text for text in texts if isinstance(text, str))


def words_of_pages(root: Path) -> list[str]:
    """Words of the README, of the pages and examples in docs/, and of the notebooks' cells."""
    pages = [root / "README.md", *(root / "docs").rglob("*.md"), *(root / "docs").rglob("*.py")]
    texts = [page.read_text(encoding="utf-8") for page in pages if page.exists()]
    for notebook in (root / "notebooks").glob("*.ipynb"):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        texts += ["".join(cell["source"]) for cell in cells]
    return [word for text in texts for word in re.findall(r"[A-Za-z_]\w*", text)]


def table(root: Path) -> list[tuple[str, str]]:
    """What is measured of a checkout, in words, with its value."""
    modules = read_package(root)
    rooms: Counter[str] = Counter()
    for module in modules:
        rooms[module.room] += module.lines
    every = functions(modules)
    longest = max(every, key=lambda function: function.lines)
    largest = max(modules, key=lambda module: module.lines)
    idle, offered = unused(modules, root), unused(modules, root, exported=True)
    return [
        *((f"lines in {room}", f"{lines:,}") for room, lines in sorted(rooms.items())),
        ("lines", f"{sum(rooms.values()):,}"),
        ("files", str(len(modules))),
        ("functions", f"{len(every):,}"),
        ("lines of a function, median", f"{median(function.lines for function in every):g}"),
        ("longest function", f"{longest.lines} ({_short(longest.name)})"),
        ("longest file", f"{largest.lines} ({_short(largest.name)})"),
        ("import circles", str(len(circles(modules)))),
        ("functions and classes with the name of a module", str(len(hiding(modules)))),
        ("public names defined in several modules", str(len(repeated(modules)))),
        ("unused functions, classes and methods", _sum(idle)),
        ("those in an __all__ besides", _sum(offered)),
    ]


def _short(name: str) -> str:
    return name.removeprefix(f"{PACKAGE}.")


def _sum(found: Sequence[Sized]) -> str:
    return f"{len(found)} ({sum(one.lines for one in found)} lines)"


def lists(root: Path) -> Iterator[str]:
    """The circles and names that the table counts, one a line."""
    modules = read_package(root)
    yield from ("circle: " + ", ".join(map(_short, group)) for group in circles(modules))
    yield from (f"name of a module: {_short(name)}" for name in hiding(modules))
    for name, homes in repeated(modules).items():
        yield f"several: {name} in {', '.join(map(_short, homes))}"
    for exported in (False, True):
        kind = "unused, in an __all__" if exported else "unused"
        for one in unused(modules, root, exported=exported):
            yield f"{kind}: {_short(one.name)} ({one.lines} lines)"


def main() -> None:
    """Print the table of a checkout."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--list", action="store_true", help="also what the table counts")
    given = parser.parse_args()
    for words, value in table(given.root.resolve()):
        sys.stdout.write(f"{words:50} {value:>14}\n")
    for line in lists(given.root.resolve()) if given.list else ():
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
