"""What a report is made of: a ledger, figures, results and the machine, each from its own file."""

from __future__ import annotations

import base64
import io
import os
import platform
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import psutil
from PIL import Image

from ..errors import InputError, invalid
from ..records import versions
from ..records.results import open_results, whole_sizes
from ..records.storage import read_json
from ..stats.coordinates import SIZES
from ..stats.resolution import rounding_floor
from ..stats.super_consistency import consistency
from ..stats.transfer import transfer_verdict
from ..stats.windows import settled
from .pictures import draw_group

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import xarray as xr

_NAME = re.compile(r"figure-([\w-]{1,60})\.json", re.ASCII)


class Figure(NamedTuple):
    """A picture, what it says and what made it."""

    name: str
    title: str
    verdict: str
    command: str
    picture: bytes
    """PNG."""
    size: tuple[int, int]
    """Pixels across and down."""
    document: dict[str, Any]
    """Numbers, configuration and versions."""

    @property
    def data(self) -> str:
        """The picture as the address of itself."""
        return "data:image/png;base64," + base64.b64encode(self.picture).decode()

    def smaller(self) -> Figure:
        """The same picture on half as many pixels."""
        with Image.open(io.BytesIO(self.picture)) as image:
            width, height = (max(1, round(side / 2**0.5)) for side in image.size)
            kept = io.BytesIO()
            image.convert("RGB").resize((width, height)).quantize(255).save(kept, "PNG", optimize=True)
        return self._replace(picture=kept.getvalue(), size=(width, height))


class Machine(NamedTuple):
    """Where a report was made."""

    system: str
    processor: str
    cores: int
    memory: str
    versions: dict[str, str]


class GroupSection(NamedTuple):
    """Runs of a sweep that differ in width or depth, learning rate and seed only."""

    title: str
    sentences: list[str]
    """Verdicts, or why there are none."""
    picture: str | None
    """Address of a PNG, its own content."""


class Summary(NamedTuple):
    """What the runs of a folder say, group by group."""

    name: str
    runs: str
    groups: list[GroupSection]
    configuration: str


def _here() -> Machine:
    return this_machine()


@dataclass(frozen=True)
class Contents:
    """Everything on the page.

    Attributes
    ----------
    ledger
        As `superconsistency verify --json` prints it; None without one.
    figures, summaries
        In the order of the page.
    machine
        Where it was made.
    command
        What made it.
    """

    ledger: dict[str, Any] | None
    figures: Sequence[Figure] = ()
    summaries: Sequence[Summary] = ()
    machine: Machine = field(default_factory=_here)
    command: str = "superconsistency report"


def this_machine() -> Machine:
    """The machine that this runs on."""
    memory = psutil.virtual_memory().total / 2**30
    return Machine(
        f"{platform.system()} {platform.machine()}",
        _processor(),
        os.cpu_count() or 1,
        f"{memory:.0f} GiB",
        versions(),
    )


def _processor() -> str:
    """The processor's name where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - a pseudo-file
            found = next((line for line in lines if line.startswith("model name")), "")
    except OSError:
        found = ""
    return found.partition(":")[2].strip() or platform.processor() or "unknown processor"


def read_ledger(path: Path) -> dict[str, Any]:
    """The ledger that `superconsistency verify --output LEDGER.json` wrote.

    Raises
    ------
    InputError
        If the file is not one.
    """
    document = read_json(path, "ledger", "pass what verify --output LEDGER.json wrote")
    claims = document.get("claims")
    keys = {"id", "statement", "source", "kind", "verdict", "evidence", "method", "room"}
    if not isinstance(claims, list) or not all(
        isinstance(one, dict) and keys <= set(one) and isinstance(one["evidence"], dict) for one in claims
    ):
        raise invalid(
            "ledger", str(path), accepted="a JSON document with claims",
            remedy="pass what verify --output LEDGER.json wrote",
        )  # fmt: skip
    return document


def read_figures(folder: Path, titles: dict[str, str]) -> list[Figure]:
    """The figures that `superconsistency figure` kept in a folder.

    Parameters
    ----------
    folder
        With a PNG and a JSON file each.
    titles
        By name; what has none is called by its name.

    Raises
    ------
    InputError
        If the folder is not one, or a picture or its numbers cannot be read.
    """
    if not folder.is_dir():
        raise invalid("figures", str(folder), accepted="a folder", remedy="pass the --output of figure")
    found = sorted(folder.glob("figure-*.json"), key=lambda path: _natural(path.stem))
    return [_figure(path, titles) for path in found if _NAME.fullmatch(path.name)]


def _natural(stem: str) -> tuple[int, int, str]:
    """Numbered figures first, by number."""
    name = stem.removeprefix("figure-")
    return (0, int(name), "") if name.isdigit() else (1, 0, name)


def _figure(path: Path, titles: dict[str, str]) -> Figure:
    name = path.stem.removeprefix("figure-")
    document = read_json(path, "figure", "make it again")
    picture = path.with_suffix(".png")
    try:
        content = picture.read_bytes()
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            size = image.size
            image.verify()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise invalid("picture", str(picture), accepted=f"a PNG ({error})", remedy="make it again") from error
    found = document.get("configuration", {})
    settings = found if isinstance(found, dict) else {}
    extra = "" if settings.get("data", "digits") == "digits" else " --data-dir FOLDER"
    extra += "" if settings.get("scale", "laptop") == "laptop" else f" --scale {settings['scale']}"
    command = f"superconsistency figure {name}{extra}"
    verdict = str(document.get("verdict", "no verdict"))
    title = titles.get(name, name)
    title = f"Figure {name}: {title}" if name.isdigit() else title[:1].upper() + title[1:]
    return Figure(name, title, verdict, command, content, size, document)


def summarise(path: Path, seed: int = 0) -> Summary:
    """What a folder of results says about consistency and transfer, group by group.

    Parameters
    ----------
    path
        See `open_results`.
    seed
        Seed of the resamples.

    Raises
    ------
    InputError
        As in `open_results`.
    """
    results = open_results(path)
    if "completed" not in results or "configuration" not in results.attrs:
        raise invalid(
            "results", str(path), accepted="a sweep's folder, or a record of runs", remedy="pass one of these"
        )
    done, planned = int((results["completed"] == 1).sum()), results["completed"].size
    groups = [_group(title, lazy.load(), over, seed) for title, lazy, over in groups_of(results)]
    return Summary(
        path.name, f"{done} of {planned} runs complete", groups, str(results.attrs["configuration"])
    )


def groups_of(results: xr.Dataset) -> Iterator[tuple[str, xr.Dataset, str]]:
    """Runs that differ in one size, learning rate and seed only: what they share, they, and the size.

    Over the width at every depth, and over the depth at every width, where there are several; over the width
    where there are several of neither.
    """
    several = [size for size in SIZES if results.sizes.get(size, 0) > 1]
    for over in several or ["width"]:
        axes = [str(name) for name in results.dims if name not in {over, "learning_rate", "seed", "step"}]
        for place in np.ndindex(*(results.sizes[name] for name in axes)):
            group = results.isel(dict(zip(axes, place, strict=True)))
            if (group["completed"] == 1).any():
                shared = ", ".join(f"{name} {_plain(group[name].item())}" for name in axes) or "all runs"
                yield f"{shared}, over {over}" if len(several) > 1 else shared, group, over


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _group(title: str, every: xr.Dataset, over: str, seed: int) -> GroupSection:
    """Verdicts and picture of the sizes that are complete."""
    group = whole_sizes(every, over)
    missing = sorted(set(every[over].to_numpy().tolist()) - set(group[over].to_numpy().tolist()))
    if missing:
        title += f" (without {over} {', '.join(f'{size:g}' for size in missing)}, where runs are missing)"
    return GroupSection(title, _sentences(group, over, np.random.default_rng(seed)), draw_group(group, over))


def _sentences(group: xr.Dataset, over: str, generator: np.random.Generator) -> list[str]:
    """Verdicts of one group; where the runs cannot support one, why not."""
    found = []
    if "loss" in group:
        found.append(_attempt(lambda: _transfer_sentence(group["loss"], generator, over)))
    for name in ("sharpness", "loss"):
        if name in group:
            for rate in group["learning_rate"].to_numpy():
                values = group[name].sel(learning_rate=rate)
                words = _attempt(
                    lambda values=values, name=name: (
                        consistency(values, generator, name=name, over=over).sentence
                    )
                )
                found.append(f"eta0 = {rate:g}: {words}")
    return found


def _transfer_sentence(losses: xr.DataArray, generator: np.random.Generator, over: str) -> str:
    floor = rounding_floor(losses)
    return transfer_verdict(settled(losses), generator, over=over, floor=floor).sentence


def _attempt(sentence: Any) -> str:
    try:
        return str(sentence())
    except InputError as error:
        return f"no verdict: {error}"
