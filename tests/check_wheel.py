"""Check that the built wheel holds every module of every room, and nothing else."""

from __future__ import annotations

import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
ASSETS = ("figures", "report")
"""Rooms with assets."""


def expected() -> set[str]:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {package: ROOT.joinpath(*package.split(".")[1:]) for package in packages}
    modules = {
        f"{package.replace('.', '/')}/{module.name}"
        for package, folder in folders.items()
        for module in folder.glob("*.py")
    }
    assets = {
        f"superconsistency/{room}/assets/{asset.name}"
        for room in ASSETS
        for asset in (ROOT / room / "assets").iterdir()
    }
    return modules | assets | {"superconsistency/py.typed"}


def main(folder: Path) -> None:
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    missing, surplus = expected() - names, names - expected()
    if missing or surplus:
        sys.exit(f"{wheel.name}: missing {sorted(missing)}, surplus {sorted(surplus)}")
    sys.stdout.write(f"{wheel.name}: {len(names)} files, none missing, none surplus\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
