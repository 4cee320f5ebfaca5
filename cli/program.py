"""The command line: the program made of the commands."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from ..errors import InputError
from .curvature import curvature
from .ensembles import edge_of_stability, error_bars
from .explore import explore
from .help_texts import ListingCommand
from .ledger import derive, verify
from .pictures import figure
from .plane import bifurcation, portrait
from .report import report
from .runs import simulate
from .sweeps import sweep
from .training import coordinate_check, train
from .width import deviation, optimum, width_check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Why sharpness and the best learning rate do not depend on width under muP.",
)

COMMANDS: dict[str, dict[Callable[..., None], str]] = {
    "Theorems": {
        verify: "--only theory",
        derive: "exact-sharpness",
    },
    "Runs": {
        simulate: "--parametrization ntp --widths 64,1e9,inf --learning-rate 1,4",
        sweep: "--parametrization mup,ntp --widths 32,64,128 --learning-rate 0.5,1,2,4 --seeds 3",
        train: "--network resnet --parametrization depth-mup --set depth=12 --widths 16,32",
    },
    "Analyses": {
        width_check: "--widths 64,1024,16384,1e6,1e9 --figure width-check.pdf",
        optimum: "--widths 16,64,256,1024 --figure optimum.pdf",
        deviation: "--widths 64,256,1024 --figure deviation.pdf",
        portrait: "--plane xy --learning-rate 1.9 --figure portrait.pdf",
        explore: "--dim 20 --target-norm 3 --width 256 --output portrait.html",
        bifurcation: "--dim 20 --target-norm 3 --from 0.5 --to 2 --figure bifurcation.pdf",
        edge_of_stability: "--parametrization ntp --widths 32,128,2048 --relative-rates 0.5,0.97",
        coordinate_check: "--network resnet --parametrization depth-mup --size depth",
        error_bars: "--dim 10 --widths 64,1024,16384 --seeds 200 --figure bars.png",
    },
    "Your own network": {
        curvature: "docs/examples/small_resnet.py:small_resnet --figure spectrum.pdf",
    },
    "Pictures": {
        figure: "portrait --output docs/figures",
        report: "results/grid --output report.html",
    },
}
"""Every command, by its panel in the help, with the arguments of the example in its own."""

for _panel, _commands in COMMANDS.items():
    for _command, _example in _commands.items():
        _name = _command.__name__.replace("_", "-")
        _epilog = f"Example: superconsistency {_name} {_example}"
        app.command(_name, cls=ListingCommand, epilog=_epilog, rich_help_panel=_panel)(_command)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - Typer's way of calling
    if wanted:
        from importlib.metadata import version

        typer.echo(version("superconsistency"))
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; bad input is one line on stderr and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        with _interruptible():
            code = app(args=given, prog_name="superconsistency", standalone_mode=False)
    except InputError as error:
        _fail(str(error))
    except TyperException as error:
        _fail(f"{' '.join(error.format_message().split())} (see superconsistency --help)")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(code or 0)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Take the end of a job's time (SIGTERM) for what Ctrl-C is: what is complete is kept, and said to be."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(message: str) -> None:
    sys.stderr.write(f"error: {message}\n")
    sys.exit(2)
