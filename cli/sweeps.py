"""Command `sweep`: grids of runs, on this machine or on many, resumable after any kill."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import invalid, require_known
from . import options
from .carrying_out import Where, carried_out, failure_documents, failure_sentences, looked, planned
from .emitting import Plain, emit
from .options import (
    DataDir,
    DatasetName,
    Device,
    Download,
    Examples,
    Json,
    Load,
    OverAxes,
    Set,
    Threads,
    Workers,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..records.tables import Table
    from ..runner import Found, Plan, Sweep

_CLUSTERS = ("slurm",)
_WORDS = ("parametrization", "architecture", "optimizer")

_File = Annotated[
    Path | None,
    typer.Argument(help="TOML file of the grid; the flags below replace it.", show_default=False),
]
_Model = Annotated[str, typer.Option(help="One of {models}; latent is Theorem 5.1's system.")]
_Parametrizations = Annotated[
    str | None, typer.Option(help="Comma-separated, as all axes: {parametrizations}.")
]
_Architectures = Annotated[
    str | None,
    typer.Option("--architecture", "--network", help="{networks}; default: simple-convnet."),
]
_Optimizers = Annotated[str | None, typer.Option(help="{optimizers}; default: sgd.")]
_BatchSizes = Annotated[str | None, typer.Option(help="all: gradient descent.")]
_Depths = Annotated[str | None, typer.Option(help="Depths of networks that have one.")]
_Widths = Annotated[
    str | None, typer.Option("--widths", "--width", help="inf is one of latent systems under muP and NTP.")
]
_Rates = Annotated[str | None, typer.Option("--learning-rate", "--learning-rates", help="Base rates eta0.")]
_Seeds = Annotated[int | None, typer.Option(help="Number of seeds.")]
_Folder = Annotated[Path | None, typer.Option(help="Folder of the results; default: results/NAME.")]
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
    over: OverAxes = None,
    settings: Set = None,
    dataset: DatasetName = "auto",
    data_dir: DataDir = None,
    download: Download = False,
    examples: Examples = None,
    load: Load = None,
    output: _Folder = None,
    workers: Workers = None,
    threads: Threads = 1,
    device: Device = "auto",
    scheduler: _Scheduler = None,
    cluster: _Cluster = None,
    retry: _Retry = False,
    dry_run: _DryRun = False,
    export: _Export = None,
    as_json: Json = False,
) -> None:
    """Train a grid of networks, or iterate one of latent systems. Rerun the same command to resume.

    Exit code 1 if runs failed.
    """
    flags = {
        "parametrization": parametrization, "architecture": architecture, "optimizer": optimizer,
        "batch_size": batch_size, "depth": depth, "width": widths, "learning_rate": learning_rate,
        "seeds": seeds,
    }  # fmt: skip
    given = {name: _values(name, text) for name, text in flags.items() if text is not None}
    data = options.data_options(dataset, data_dir, examples, load, download=download)
    grid = joined(given, options.axis_values(over))
    asked, cluster_options = _asked(file, model, grid, settings or [], data, threads=threads, device=device)
    if cluster is not None:
        require_known("cluster", cluster, _CLUSTERS)
    _check_export(export)
    folder = output or Path("results") / _name(file, asked)
    plan = planned(asked, folder)
    found = looked(plan, folder)
    if dry_run:
        _show_plan(plan, folder, found, cluster, cluster_options, as_json=as_json)
        return
    threads = getattr(asked.model, "threads", 1)
    where = Where(workers, scheduler, cluster, cluster_options, threads)
    carried_out(plan, folder, where, found, retry=retry, quiet=as_json)
    _show_results(plan, folder, export, as_json=as_json)


def joined(given: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Axes of their own flags and those of `--over`, each once."""
    for name in over:
        if name in given:
            raise invalid("--over", name, accepted="axes that no other flag gives", remedy="give it once")
    return {**given, **over}


def _asked(
    file: Path | None,
    model: str,
    grid: Mapping[str, Any],
    settings: list[str],
    data: Mapping[str, Any],
    **how: Any,
) -> tuple[Sweep, dict[str, Any]]:
    """The sweep of the file, or of the flags, and what the file says of the cluster."""
    from ..runner import MODELS, NetworkModel, data_choice, latent_model_from, make_sweep, read_sweep

    plain = options.data_options("auto", None, None, None, download=False)
    usual = data == plain and how == {"threads": 1, "device": "auto"}
    if file is not None:
        if grid or settings or model != NetworkModel.name or not usual:
            accepted = "a file, or flags of the grid, the settings and the data"
            raise invalid("flags", "given beside a file", accepted=accepted, remedy="write them in the file")
        return read_sweep(file)
    require_known("model", model, tuple(MODELS))
    if model != NetworkModel.name:
        if not usual:
            accepted = f"none of these with --model {model}, which has no data and runs on one thread"
            raise invalid("flags", "of data, threads or device", accepted=accepted, remedy="leave them out")
        pairs = options.pairs(settings, "--set", "steps=100")
        typed: dict[str, Any] = {
            name: tuple(text.split(",")) if name == "quantities" else options.plain(text)
            for name, text in pairs.items()
        }
        return make_sweep(latent_model_from(typed), [grid]), {}
    return make_sweep(NetworkModel(tuple(settings), data_choice(data), **how), [grid]), {}


def _values(name: str, text: Any) -> Any:
    """An axis's values as given on the command line."""
    if name == "seeds":
        return text
    if name in _WORDS:
        return [part.strip() for part in text.split(",")]
    if name == "batch_size":
        return [
            part if part == "all" else options.whole(options.numbers(part, "batch size", "64,128 or all")[0])
            for part in text.split(",")
        ]
    example = {"learning_rate": "0.5,1,2", "depth": "3,6,12"}.get(name, "64,256,1024")
    numbers = options.numbers(text, name.replace("_", " "), example)
    return [options.whole(one) for one in numbers] if name == "depth" else list(numbers)


def _check_export(path: Path | None) -> None:
    from ..records.results import check_export

    if path is not None:
        check_export(path)


def _name(file: Path | None, asked: Sweep) -> str:
    if file is not None:
        return file.stem
    identity = repr((asked.model, asked.cells)).encode()
    return f"sweep-{hashlib.sha256(identity).hexdigest()[:8]}"


def _show_plan(
    plan: Plan, folder: Path, found: Found, cluster: str | None, settings: Mapping[str, Any], *, as_json: bool
) -> None:
    from ..runner import slurm_cluster

    axes = plan.sweep.axes
    document: dict[str, Any] = {
        "folder": str(folder), "runs": len(plan.sweep.cells), "groups": len(plan.named),
        "complete": plan.count(found.done), "failed": plan.count(found.failures), "axes": axes,
    }  # fmt: skip
    if cluster is not None:
        jobs_of, jobs = slurm_cluster(settings)
        document |= {"jobs": jobs, "job_script": jobs_of.job_script()}
        jobs_of.close()
    counts = (
        f"{document['runs']} runs in {document['groups']} groups, {document['complete']} complete, "
        f"{document['failed']} failed: {folder}"
    )
    parts = [counts, *(f"  {name}: {', '.join(map(str, values))}" for name, values in axes.items())]
    if cluster is not None:
        parts.append(f"{document['jobs']} times this job:\n{document['job_script']}")
    emit(Plain(document, parts), as_json=as_json)


def _show_results(plan: Plan, folder: Path, export: Path | None, *, as_json: bool) -> None:
    from ..records.results import export_results, open_results
    from ..report.summaries import best_table
    from ..runner import look

    found = look(plan, folder)
    results = open_results(folder)
    if export is not None:
        export_results(results, export)
    document = {
        "folder": str(folder), "runs": len(plan.sweep.cells), "complete": plan.count(found.done),
        "failures": failure_documents(plan, found),
        "configuration": json.loads(results.attrs["configuration"]),
        "versions": json.loads(results.attrs["versions"]), "data_hash": results.attrs["data_hash"],
    }  # fmt: skip
    parts: list[Table | str] = []
    if not as_json:
        parts = [best_table(results), *failure_sentences(plan, found)]
        parts.append(f"open with superconsistency.open_results({str(folder)!r})")
    emit(Plain(document, parts), as_json=as_json, written=[] if export is None else [export])
    if found.failures:
        raise typer.Exit(1)
