"""The command line: the program made of the commands."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from .commands.ledger import derive, verify
from .commands.pictures import figure
from .commands.runs import simulate, train
from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Why sharpness and the best learning rate do not depend on width under muP.",
)

COMMANDS: dict[Callable[..., None], str] = {
    verify: "--only theory",
    derive: "exact-sharpness",
    simulate: "--parametrization ntp --widths 64,1024,inf --learning-rate 1,4",
    train: "--parametrization ntp --widths 64,128 --learning-rate 7",
    figure: "1 --scale laptop --output docs/figures",
}
"""Every command with the arguments of the example in its help."""

for _command, _example in COMMANDS.items():
    app.command(epilog=f"Example: superconsistency {_command.__name__} {_example}")(_command)


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
