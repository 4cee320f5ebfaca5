"""Does the sharpness under muP go on growing with the width? Slopes over narrow and over wide networks.

Figure 1 at laptop scale starts at width 32, where its sharpness still grows. This trains SimpleConvNet under
muP as Figure 1 does, with more seeds (a sweep in a folder, which goes on where it was). It prints the
slope of log final sharpness on log width, over all widths and over three neighbours each, and how well laws
fitted to the other widths foretell the widest. Networks of one seed see the same batches: intervals are
Student's over seeds, of each seed's own slope.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table
from scipy.special import stdtrit
from superconsistency import open_results
from superconsistency.cli.console import stdout
from superconsistency.stats.windows import settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STEPS, LAST = 512, (448, 480, 512)
"""As Figure 1 takes its final sharpness."""
LAWS: dict[str, Callable[[Floats], Floats]] = {
    "a N^b": np.log,
    "a - b N^(-1/2)": lambda width: -(width**-0.5),
    "a - b N^(-1)": lambda width: -1 / width,
}
"""Laws of the log sharpness: each is a line in what is given here."""


def main() -> None:
    """Train what is missing, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", help="default: digits")
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64, 128, 256, 512])
    parser.add_argument("--learning-rate", type=float, default=1.5)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--output", default="results/finite-width")
    options = parser.parse_args()
    if options.seeds < 2 or len(options.widths) < 4:
        parser.error("needs at least 2 seeds and 4 widths")
    trained = subprocess.run(_command(options), check=False).returncode  # noqa: S603 - this package
    if trained:
        sys.exit(trained)
    results = open_results(options.output).squeeze(drop=True)
    final = settled(results["sharpness"].sel(width=options.widths, seed=range(options.seeds)))
    logs = np.log(final.transpose("seed", "width").to_numpy())
    if diverged := int((~np.isfinite(logs)).sum()):
        sys.exit(f"{diverged} runs diverged: slopes of the others would be no fair sample")
    widths = np.array(options.widths, dtype=float)
    rows = [slice(0, None), *(slice(first, first + 3) for first in range(len(widths) - 2))]
    table = Table(
        "widths", "slope", "95%", "within ±0.05", title=f"{len(logs)} seeds, eta0 = {options.learning_rate:g}"
    )
    for row in rows:
        slope, reach = _mean(np.polyfit(np.log(widths[row]), logs[:, row].T, 1)[0])
        inside = abs(slope) + reach <= 0.05
        table.add_row(
            f"{widths[row][0]:g} to {widths[row][-1]:g}",
            f"{slope:.3f}",
            f"{slope - reach:.3f} to {slope + reach:.3f}",
            "yes" if inside else "no" if abs(slope) - reach > 0.05 else "undecided",
        )
    stdout().print(table)
    sharpness = np.exp(logs.mean(axis=0)) * options.learning_rate / 2
    stdout().print("over 2/eta0:", ", ".join(f"{value:.3f}" for value in sharpness))
    for name, law in LAWS.items():
        x = law(widths)
        slope, height = np.polyfit(x[:-1], logs[:, :-1].T, 1)
        error, reach = _mean(logs[:, -1] - height - slope * x[-1])
        stdout().print(
            f"{name} of widths up to {widths[-2]:g}: log sharpness at {widths[-1]:g} is off by {error:+.3f} "
            f"(95% {error - reach:+.3f} to {error + reach:+.3f})"
        )


def _mean(values: Floats) -> tuple[float, float]:
    """Mean over seeds, and half its 95% interval."""
    count = len(values)
    return float(values.mean()), float(stdtrit(count - 1, 0.975) * values.std(ddof=1) / np.sqrt(count))


def _command(options: argparse.Namespace) -> list[str]:
    """The sweep."""
    settings = {
        "steps": STEPS,
        "measure_at": ",".join(str(step) for step in (0, *LAST)),
        "evaluation_examples": 512,
        "hessian_examples": 128,
    }
    return [
        sys.executable, "-m", "superconsistency", "sweep", "--parametrization", "mup",
        "--widths", ",".join(map(str, options.widths)), "--learning-rate", str(options.learning_rate),
        "--seeds", str(options.seeds), "--output", options.output,
        *(part for pair in settings.items() for part in ("--set", "=".join(map(str, pair)))),
        *(("--data-dir", options.data_dir) if options.data_dir else ()),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
