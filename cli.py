"""The command line: parsing and printing only."""

from __future__ import annotations

import hashlib
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from . import options
from .errors import InputError, invalid, require_distinct, require_known, require_whole
from .options import DataDir, Device, Download, Every, Json, Name, Output, Picture, Rates, Seed, Seeds, Widths

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import xarray as xr

    from .claims import Entry
    from .records import RecordKeeper

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Why sharpness and the best learning rate do not depend on width under muP.",
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - Typer's way of calling
    if wanted:
        from .records import versions

        typer.echo(versions()["superconsistency"])
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop."),
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: superconsistency verify --only theory")
def verify(
    *,
    only: Annotated[
        str | None, typer.Option(help="One room (theory, simulations, neural) or one claim's id.")
    ] = None,
    data_dir: DataDir = None,
    download: Download = False,
    output: Annotated[
        Path | None, typer.Option(help="Also write the ledger: .md as a page, else JSON.")
    ] = None,
    evidence: Annotated[
        bool,
        typer.Option("--evidence", help="Also print corrections and tables; a single claim always does."),
    ] = False,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Check every claim of the ledger and print the verdicts; exit code 1 if one is not upheld."""
    from .claims import CLAIMS, Settings, failed
    from .claims import verify as check
    from .console import ledger_progress, print_json, print_ledger, stderr
    from .neural import load_images, resolve_device
    from .records import require_writable

    chosen = [claim for claim in CLAIMS if only in {None, claim.room, claim.id}]
    if not chosen:
        names = sorted({claim.room for claim in CLAIMS}) + [claim.id for claim in CLAIMS]
        require_known("--only", str(only), names)
    require_whole("seed", seed, least=0, example=0)
    resolve_device(device)
    if data_dir is not None or download:
        load_images(data_dir, download=download, progress=True)
    if output is not None:
        require_writable(output)
    settings = Settings(seed=seed, device=device, data_dir=data_dir, download=download)
    entries = []
    try:
        with ledger_progress(len(chosen)) as progress:
            for entry in check(chosen, settings, lambda claim, fraction: progress(claim.id, fraction)):
                entries.append(entry)
                if output is not None:
                    _write_ledger(entries, output)
    except KeyboardInterrupt:
        stderr().print(f"interrupted after {len(entries)} of {len(chosen)} claims")
    if as_json:
        print_json(_ledger(entries))
    else:
        print_ledger(entries, evidence=evidence or len(chosen) == 1)
    if failed(entries) or len(entries) < len(chosen):
        raise typer.Exit(1)


@app.command(epilog="Example: superconsistency derive exact-sharpness")
def derive(
    *,
    name: Annotated[str | None, typer.Argument(help="A statement, as listed without one.")] = None,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX (amsmath) for a paper.")] = False,
    as_json: Json = False,
) -> None:
    """Derive a statement step by step; without a name, list the statements. Exit code 1 if a step fails."""
    from .console import print_derivation, print_derivations, print_json, stdout
    from .theory.symbolic import DERIVATIONS, derivation

    if latex and (as_json or name is None):
        given = "--latex --json" if as_json else "--latex"
        raise invalid(
            given, name or "no name", accepted="a name with one of them", remedy="derive 5.1 --latex"
        )
    if name is None:
        print_derivations([derivation(known) for known in DERIVATIONS], as_json=as_json)
        return
    found = derivation(name)
    if as_json:
        print_json(found.to_json())
    elif latex:
        stdout().print(found.latex, soft_wrap=True)
    else:
        print_derivation(found)
    if not found.holds:
        raise typer.Exit(1)


def _ledger(entries: Sequence[Entry]) -> dict[str, object]:
    from .console import count_verdicts
    from .records import versions

    return {
        "summary": count_verdicts(entries),
        "claims": [entry.to_json() for entry in entries],
        "versions": versions(),
    }


def _write_ledger(entries: Sequence[Entry], output: Path) -> None:
    from .claims import to_markdown
    from .console import count_verdicts
    from .records import write_atomically

    if output.suffix == ".md":
        text = to_markdown(entries, f"Ledger of {count_verdicts(entries)}")
    else:
        text = json.dumps(_ledger(entries), indent=2) + "\n"
    write_atomically(output, lambda path: path.write_text(text))


@app.command(
    epilog="Example: superconsistency simulate --parametrization ntp --widths 64,1024,inf --learning-rate 1,4"
)
def simulate(
    *,
    parametrization: Name = "mup",
    dim: Annotated[int, typer.Option(help="Input dimension D.")] = 20,
    widths: Widths = "64,256,1024",
    target_norm: Annotated[float, typer.Option(help="Norm of the target w*.")] = 1.0,
    learning_rate: Rates = "0.5",
    steps: Annotated[int, typer.Option(help="Gradient-descent steps.")] = 200,
    seeds: Seeds = 10,
    record: Annotated[str, typer.Option(help="Quantities to record, comma-separated.")] = "loss,sharpness",
    every: Every = None,
    start: Annotated[
        str,
        typer.Option(
            help="gaussian: drawn weights; wishart: of their law, at any width; limit: infinite width."
        ),
    ] = "gaussian",
    method: Annotated[str, typer.Option(help="auto, full (w, e, v) or factored.")] = "auto",
    output: Output = None,
    figure: Picture = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Iterate the latent system over widths (inf is one), learning rates and seeds."""
    from . import simulations, theory
    from .console import progress_bar
    from .records import RecordKeeper

    require_known("device", device, ("auto", "cpu"))
    starts = {
        "gaussian": theory.initial_state,
        "wishart": theory.wishart_state,
        "limit": theory.limit_state,
    }
    require_known("start", start, starts)
    ensemble = simulations.Ensemble(
        theory.parametrization(parametrization),
        theory.uniform_target(dim, target_norm),
        options.numbers(widths, "width"),
        options.numbers(learning_rate, "learning rate"),
        options.seeds(seed, seeds),
    )
    record_at = simulations.schedule(steps, max(1, steps // 16) if every is None else every)
    options.check_outputs(output, figure)
    quantities = tuple(name.strip() for name in record.split(","))
    require_distinct("recorded quantities", quantities)
    keeper = RecordKeeper(output)
    with _interruptible(keeper), progress_bar("simulating") as progress:
        result = simulations.simulate(
            ensemble,
            record_at=record_at,
            quantities=quantities,
            start=starts[start],
            method=method,
            on_progress=progress,
            on_block=keeper.keep_partial,
        )
        keeper.keep_whole(result)
    _show(result, quantities, output, figure, as_json=as_json)


@app.command(epilog="Example: superconsistency train --parametrization ntp --widths 64,128 --learning-rate 7")
def train(
    *,
    parametrization: Name = "mup",
    widths: Widths = "32,64,128",
    learning_rate: Rates = "0.5",
    steps: Annotated[int, typer.Option(help="SGD steps.")] = 256,
    seeds: Seeds = 3,
    batch_size: Annotated[int, typer.Option(help="Examples a step.")] = 128,
    every: Every = None,
    data_dir: DataDir = None,
    download: Download = False,
    output: Annotated[
        Path | None, typer.Option(help="Where to keep the record; default: results/train-....nc.")
    ] = None,
    figure: Picture = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train SimpleConvNet over widths, learning rates and seeds, measuring loss and sharpness on the way."""
    from . import neural, theory
    from .console import progress_bar, stderr
    from .records import RecordKeeper

    config = neural.TrainingConfig(
        theory.parametrization(parametrization),
        steps=steps,
        batch_size=batch_size,
        measure_every=max(1, steps // 16) if every is None else every,
    )
    grid = neural.Grid(
        config,
        tuple(options.whole(width) for width in options.numbers(widths, "width")),
        options.numbers(learning_rate, "learning rate"),
        options.seeds(seed, seeds),
    )
    place = neural.resolve_device(device)
    data = neural.load_images(data_dir, download=download, progress=True).to(place)
    kept = output or _default_output(grid.empty(data), config.parametrization.name)
    options.check_outputs(kept, figure)
    if not as_json:
        stderr().print(f"training on {data.name} ({len(data.labels)} images), device {place}; keeping {kept}")
    keeper = RecordKeeper(kept)
    with _interruptible(keeper), progress_bar("training") as progress:
        result = neural.train_grid(grid, data, on_progress=progress, on_measurement=keeper.keep_partial)
        keeper.keep_whole(result)
    _show(result, ("loss", "sharpness"), kept, figure, as_json=as_json)


@app.command(epilog="Example: superconsistency figure 1 --scale laptop --output docs/figures")
def figure(
    *,
    name: Annotated[str, typer.Argument(help="1, 10 or portrait.")],
    scale: Annotated[str, typer.Option(help="laptop: at most ten minutes on two cores.")] = "laptop",
    data_dir: DataDir = None,
    download: Download = False,
    output: Annotated[Path, typer.Option(help="Folder for the PDF, PNG and JSON.")] = Path(),
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Make a figure of the paper, with what its numbers say."""
    import matplotlib as mpl

    mpl.use("agg")
    from . import figures
    from .console import print_json, progress_bar, stdout
    from .neural import resolve_device
    from .records import require_writable

    require_known("figure", name, figures.FIGURES)
    require_whole("seed", seed, least=0, example=0)
    resolve_device(device)
    stem = output / f"figure-{name}"
    require_writable(stem.with_suffix(".png"))
    with progress_bar(f"figure {name}") as progress:
        settings = figures.FigureSettings(scale, seed, device, data_dir, download, progress)
        drawing = figures.draw_figure(name, settings)
    paths = [str(path) for path in figures.save_drawing(drawing, stem)]
    if as_json:
        print_json({"figure": name, "files": paths, "verdict": drawing.verdict, "numbers": drawing.numbers})
    else:
        stdout().print(f"figure {name}: {drawing.verdict}\n" + "\n".join(paths), soft_wrap=True)


@contextmanager
def _interruptible(keeper: RecordKeeper) -> Iterator[None]:
    """On an interruption say where what there was is kept, and stop."""
    from .console import stderr

    try:
        yield
    except KeyboardInterrupt:
        kept = keeper.partial_path is not None and keeper.partial_path.exists()
        words = f"interrupted; what there was is in {keeper.partial_path}" if kept else "interrupted"
        stderr().print(words)
        raise typer.Exit(130) from None


def _default_output(record: xr.Dataset, name: str) -> Path:
    """A label that differs between configurations, so that no result replaces another's."""
    identity = "".join(str(record.attrs[key]) for key in ("configuration", "seeds", "data_hash"))
    identity += str([record[axis].to_numpy().tolist() for axis in ("width", "learning_rate")])
    return Path("results") / f"train-{name}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}.nc"


def _show(
    record: xr.Dataset, quantities: Sequence[str], output: Path | None, picture: Path | None, *, as_json: bool
) -> None:
    from .console import print_json, print_record, stdout
    from .records import record_to_json

    if picture is not None:
        _draw(record, quantities, picture)
    if as_json:
        print_json(record_to_json(record))
        return
    print_record(record, quantities)
    for path in (output, picture):
        if path is not None:
            stdout().print(f"written: {path}", soft_wrap=True)


def _draw(record: xr.Dataset, quantities: Sequence[str], picture: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from .figures import draw_record
    from .records import write_atomically

    write_atomically(picture, draw_record(record, quantities).savefig)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; bad input is one line on stderr and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        code = app(args=given, prog_name="superconsistency", standalone_mode=False)
    except InputError as error:
        _fail(str(error))
    except TyperException as error:
        _fail(f"{' '.join(error.format_message().split())} (see superconsistency --help)")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(code or 0)


def _fail(message: str) -> None:
    sys.stderr.write(f"error: {message}\n")
    sys.exit(2)
