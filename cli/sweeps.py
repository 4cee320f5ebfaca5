"""Command `sweep`: grids of runs, on this machine or on many, that go on where they were."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import invalid, require_known
from . import options
from .options import DataDir, DatasetName, Download, Examples, Json, Set

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..runner import Left, Place, Plan, Sweep

_CLUSTERS = ("slurm",)


_File = Annotated[
    Path | None,
    typer.Argument(help="TOML file of the grid; the flags below replace it.", show_default=False),
]
_Model = Annotated[str, typer.Option(help="network, or latent: Theorem 5.1's system.")]
_Parametrizations = Annotated[str | None, typer.Option(help="Comma-separated, as all axes.")]
_Architectures = Annotated[
    str | None, typer.Option("--architecture", "--network", help="As of train; default: simple-convnet.")
]
_Optimizers = Annotated[str | None, typer.Option(help="sgd, adam or adamw; default: sgd.")]
_BatchSizes = Annotated[str | None, typer.Option(help="all: gradient descent.")]
_Depths = Annotated[str | None, typer.Option(help="Of networks that have one.")]
_Widths = Annotated[
    str | None, typer.Option("--widths", "--width", help="inf is one of latent systems under muP and NTP.")
]
_Rates = Annotated[str | None, typer.Option("--learning-rate", "--learning-rates", help="Base rates eta0.")]
_Seeds = Annotated[int | None, typer.Option(help="Number of seeds.")]
_Folder = Annotated[Path | None, typer.Option(help="Folder of the results; default: results/NAME.")]
_Workers = Annotated[int | None, typer.Option(help="Processes on this machine; default: by cores.")]
_Scheduler = Annotated[
    str | None, typer.Option(help="Address of a Dask scheduler, tcp://HOST:PORT, instead.")
]
_Cluster = Annotated[
    str | None, typer.Option(help="slurm: workers are its jobs, set in the file's table cluster.")
]
_Retry = Annotated[bool, typer.Option("--retry", help="Do runs that failed before again.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")]
_Export = Annotated[
    Path | None, typer.Option(help="Also write all results to one .nc, .zarr, .csv or .parquet.")
]


def sweep(
    file: _File = None,
    *,
    model: _Model = "network",
    parametrization: _Parametrizations = None,
    architecture: _Architectures = None,
    optimizer: _Optimizers = None,
    batch_size: _BatchSizes = None,
    depth: _Depths = None,
    widths: _Widths = None,
    learning_rate: _Rates = None,
    seeds: _Seeds = None,
    settings: Set = None,
    dataset: DatasetName = "auto",
    data_dir: DataDir = None,
    download: Download = False,
    examples: Examples = None,
    output: _Folder = None,
    workers: _Workers = None,
    scheduler: _Scheduler = None,
    cluster: _Cluster = None,
    retry: _Retry = False,
    dry_run: _DryRun = False,
    export: _Export = None,
    as_json: Json = False,
) -> None:
    """Train a grid of networks, or iterate one of latent systems; a killed sweep goes on where it was.

    Exit code 1 if runs failed.
    """
    flags = {
        "parametrization": parametrization, "architecture": architecture, "optimizer": optimizer,
        "batch_size": batch_size, "depth": depth, "width": widths, "learning_rate": learning_rate,
        "seeds": seeds,
    }  # fmt: skip
    given = {name: _values(name, text) for name, text in flags.items() if text is not None}
    data = (dataset, None if data_dir is None else str(data_dir.resolve()), examples, 0, download)
    asked, cluster_options = _asked(file, model, given, settings or [], data)
    if cluster is not None:
        require_known("cluster", cluster, _CLUSTERS)
    _check_export(export)
    plan = _planned(asked)
    folder = output or Path("results") / _name(file, plan)
    left = _look(plan, folder)
    if dry_run:
        _show_plan(plan, folder, left, cluster, cluster_options, as_json=as_json)
        return
    most = len(plan.keys) - len(left.done) - (0 if retry else len(left.failures))
    places = {"workers": workers, "scheduler": scheduler, "cluster": cluster}
    with _place(asked, folder, most, places, cluster_options) as place:
        _carry_out(plan, folder, place, left, retry=retry, as_json=as_json)
    _show_results(plan, folder, export, as_json=as_json)


def _asked(
    file: Path | None, model: str, given: Mapping[str, Any], settings: list[str], data: tuple[Any, ...]
) -> tuple[Sweep, dict[str, Any]]:
    """The sweep of the file, or of the flags, and what the file says of the cluster."""
    from ..runner import read_sweep

    if file is None:
        return _by_flags(model, given, settings, data), {}
    if given or settings or model != "network" or data != ("auto", None, None, 0, False):
        accepted = "a file, or flags of the grid, the settings and the data"
        raise invalid("flags", sorted(given), accepted=accepted, remedy="write them in the file")
    return read_sweep(file)


def _planned(asked: Sweep) -> Plan:
    from ..runner import make_plan
    from .console import progress_bar

    with progress_bar("checking the runs") as update:
        return make_plan(asked, update)


def _look(plan: Plan, folder: Path) -> Left:
    """What there is of a sweep, with a word on what cannot be used."""
    from ..runner import left_aside, look
    from .console import progress_bar, stderr

    with progress_bar("reading what there is") as update:
        left = look(plan, folder, update)
    aside = left_aside(plan, folder)
    if aside:
        words = "complete runs there are of another grid, or of other versions; they stay, but are not shown"
        stderr().print(f"{folder}: {aside} {words}")
    if left.damaged:
        stderr().print(f"{folder}: {len(left.damaged)} damaged files, whose runs are done again")
    return left


def _by_flags(model: str, given: Mapping[str, Any], settings: list[str], data: tuple[Any, ...]) -> Sweep:
    from ..runner import MODELS, DataChoice, NetworkModel, latent_model, make_sweep

    require_known("model", model, tuple(MODELS))
    if model == "latent":
        return make_sweep(latent_model(_typed(settings)), [given], "sweep")
    return make_sweep(NetworkModel(tuple(settings), DataChoice(*data)), [given], "sweep")


def _typed(settings: list[str]) -> dict[str, Any]:
    """Texts `name=value` with numbers as numbers and several words as such."""
    found: dict[str, Any] = {}
    for pair in settings:
        name, equals, text = pair.partition("=")
        if not equals:
            raise invalid("--set", pair, accepted="NAME=VALUE", remedy="pass steps=100, say")
        found[name] = _number(text) if name != "quantities" else tuple(text.split(","))
    return found


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _values(name: str, text: Any) -> Any:
    """An axis's values as given on the command line."""
    if name == "seeds":
        return text
    if name in {"parametrization", "architecture", "optimizer"}:
        return [part.strip() for part in text.split(",")]
    if name == "batch_size":
        return [
            part if part == "all" else options.numbers(part, "batch size", "64,128 or all")[0]
            for part in text.split(",")
        ]
    example = {"learning_rate": "0.5,1,2", "depth": "3,6,12"}.get(name, "64,256,1024")
    return list(options.numbers(text, name.replace("_", " "), example))


def _check_export(path: Path | None) -> None:
    from ..records.results import check_export

    if path is not None:
        check_export(path)


def _name(file: Path | None, plan: Plan) -> str:
    if file is not None:
        return file.stem
    return f"sweep-{hashlib.sha256(''.join(plan.keys).encode()).hexdigest()[:8]}"


@contextmanager
def _place(
    asked: Sweep, folder: Path, most: int, places: Mapping[str, Any], cluster_options: Mapping[str, Any]
) -> Iterator[Place]:
    """Where so many runs are done, at most one of the places being given."""
    from .. import runner

    if sum(value is not None for value in places.values()) > 1:
        raise invalid(
            "places to run",
            "several",
            accepted="one of --workers, --scheduler, --cluster",
            remedy="choose one",
        )
    if most == 0:
        found = runner.local(1)
    elif places["scheduler"] is not None:
        found = runner.scheduler(places["scheduler"], folder)
    elif places["cluster"] is not None:
        found = runner.slurm(cluster_options, folder)
    else:
        found = runner.local(places["workers"], getattr(asked.model, "threads", 1), most)
    with found as place:
        yield place


def _carry_out(plan: Plan, folder: Path, place: Place, left: Left, *, retry: bool, as_json: bool) -> None:
    from ..runner import carry_out
    from .console import stderr, sweep_progress

    if not as_json:
        had = f", {len(left.done)} of them complete already" if left.done else ""
        stderr().print(f"{len(plan.keys)} runs{had}, {place.words}; results in {folder}")
    try:
        with sweep_progress() as update:
            carry_out(plan, folder, place, left, retry=retry, on_event=update)
    except KeyboardInterrupt:
        stderr().print(f"interrupted; complete runs are in {folder}, and the same command goes on")
        raise typer.Exit(130) from None


def _show_plan(
    plan: Plan, folder: Path, left: Left, cluster: str | None, settings: Mapping[str, Any], *, as_json: bool
) -> None:
    from ..runner import slurm_cluster
    from .console import print_json, stdout

    axes = plan.sweep.axes
    document = {
        "folder": str(folder), "runs": len(plan.keys), "complete": len(left.done),
        "failed": len(left.failures), "axes": axes,
    }  # fmt: skip
    if cluster is not None:
        found, jobs = slurm_cluster(settings)
        document |= {"jobs": jobs, "job_script": found.job_script()}
        found.close()
    if as_json:
        print_json(document)
        return
    console = stdout()
    console.print(
        f"{document['runs']} runs, {document['complete']} complete, {document['failed']} failed: {folder}"
    )
    for name, values in axes.items():
        console.print(f"  {name}: {', '.join(map(str, values))}", soft_wrap=True)
    if cluster is not None:
        console.print(f"{document['jobs']} times this job:\n{document['job_script']}", soft_wrap=True)


def _show_results(plan: Plan, folder: Path, export: Path | None, *, as_json: bool) -> None:
    from ..records.results import export_results, open_results
    from ..runner import look
    from .console import print_json, print_sweep, stdout

    left = look(plan, folder)
    results = open_results(folder)
    if export is not None:
        export_results(results, export)
    if as_json:
        document = {
            "folder": str(folder), "runs": len(plan.keys), "complete": len(left.done),
            "failures": [
                {"run": dict(cell), "reason": left.failures[key]}
                for cell, key in zip(plan.sweep.cells, plan.keys, strict=True) if key in left.failures
            ],
            "configuration": json.loads(results.attrs["configuration"]),
            "versions": json.loads(results.attrs["versions"]), "data_hash": results.attrs["data_hash"],
        }  # fmt: skip
        print_json(document)
    else:
        print_sweep(results)
        for cell, key in zip(plan.sweep.cells, plan.keys, strict=True):
            if key in left.failures:
                words = ", ".join(f"{name} {value}" for name, value in cell)
                stdout().print(f"failed: {words}: {left.failures[key]}", soft_wrap=True)
        stdout().print(f"open with superconsistency.open_results({str(folder)!r})", soft_wrap=True)
        if export is not None:
            stdout().print(f"written: {export}", soft_wrap=True)
    if left.failures:
        raise typer.Exit(1)
