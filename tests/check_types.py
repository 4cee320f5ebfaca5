"""Check that users' programs are typed against the installed package: by mypy and pyright, without `Any`."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROGRAM = Path(__file__).with_name("typed_program.py")

_UNTYPED = re.compile(r"\b(Any|Unknown)\b")
_APART = re.compile(r"(?<=ndarray\[)tuple\[Any, \.\.\.\]|tuple\[[^()]*?(?=fallback=)")
"""Shapes of arrays, which NumPy itself leaves open, and the fields of named tuples, which mypy lists."""


def public_names(package: Path) -> list[str]:
    """The names that the package offers, read from its source."""
    for node in ast.parse((package / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_HOMES":
            return list(ast.literal_eval(node.value))
    raise ValueError("no table of public names")


def environment(package: Path, folder: Path) -> Path:
    """The interpreter of an environment in which a package is installed beside what this one has."""
    venv.create(folder / "environment", with_pip=False)
    python = folder / "environment" / "bin" / "python"
    home = next((folder / "environment").glob("lib/python*/site-packages"))
    (home / "beside.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    shutil.copytree(package, home / "superconsistency")
    return python


def write_programs(package: Path, folder: Path) -> list[str]:
    """A program that asks for the type of every public name, and the user's; their file names."""
    shown = "".join(f"reveal_type(superconsistency.{name})\n" for name in public_names(package))
    (folder / "names.py").write_text(f"import superconsistency\n\n{shown}")
    shutil.copy(PROGRAM, folder / "program.py")
    return ["names.py", "program.py"]


def mypy_report(python: Path, folder: Path, files: list[str]) -> tuple[list[str], list[str]]:
    """Errors, and the types that were asked for, in the order of the file."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-pretty", "--no-error-summary"]
    command += ["--config-file", os.devnull, "--cache-dir", ".mypy", "--python-executable", str(python)]
    done = subprocess.run([*command, *files], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    lines = (done.stdout + done.stderr).splitlines()
    types = [line.split('Revealed type is "', 1)[1] for line in lines if "Revealed type is" in line]
    return [line for line in lines if ": error:" in line or "Traceback" in line], types


def pyright_report(python: Path, folder: Path, files: list[str]) -> tuple[list[str], list[str]]:
    """As `mypy_report`."""
    settings = {"include": files, "typeCheckingMode": "strict", "reportUnnecessaryTypeIgnoreComment": "error"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", str(python)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    found = json.loads(done.stdout)["generalDiagnostics"]
    errors = [f"{one['file']}: {one['message']}" for one in found if one["severity"] == "error"]
    types = [one["message"] for one in found if one["message"].startswith("Type of ")]
    return errors, types


def problems(package: Path, *, with_mypy: bool) -> list[str]:
    """What checkers find wrong with users' programs, and public names whose type is not known."""
    reports = [pyright_report, mypy_report] if with_mypy else [pyright_report]
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = environment(package, folder)
        files = write_programs(package, folder)
        names = public_names(package)
        for report in reports:
            errors, types = report(python, folder, files)
            wrong += errors
            if len(types) != len(names):
                wrong.append(f"{report.__name__}: {len(types)} types of {len(names)} names")
            wrong += [f"untyped: {shown}" for shown in types if _UNTYPED.search(_APART.sub("", shown))]
    return wrong


def main(folder: Path) -> None:
    (wheel,) = folder.glob("*.whl")
    with tempfile.TemporaryDirectory() as unpacked:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
        found = problems(Path(unpacked) / "superconsistency", with_mypy=True)
    if found:
        sys.exit("\n".join(found))
    sys.stdout.write(f"{wheel.name}: every public name is typed, for mypy and for pyright\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
