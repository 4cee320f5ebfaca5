"""No random model, however awkward, is measured wrongly, and few are refused.

Run as a script, prints how many are right, refused and wrong, and why they were refused.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import torch
from superconsistency.tests.neural.curvature.random_judge import RIGHT, judged, reason

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK, CHUNKS = 30, 5
"""Models of a test, and tests; `make stress` measures 300 models."""
LEAST_RIGHT = 0.55


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_models_are_measured_right_or_refused_in_one_line(
    chunk: int, record_property: Callable[[str, object], None]
) -> None:
    verdicts = [judged(seed) for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK)]
    counts = Counter(one.outcome for one in verdicts)
    record_property(
        "measured",
        f"random models {chunk * CHUNK} to {(chunk + 1) * CHUNK - 1}: {counts['right']} right, "
        f"{counts['refused']} refused, {counts['wrong']} wrong",
    )
    assert [one for one in verdicts if one.outcome == "wrong"] == []
    assert [one for one in verdicts if one.sure and one.outcome != "right"] == []
    assert counts["right"] >= LEAST_RIGHT * CHUNK


def main() -> None:
    """Measure many random models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    verdicts = [judged(seed) for seed in range(options.first, options.first + options.models)]
    for one in verdicts:
        if one.outcome == "wrong" or (one.outcome == "refused" and one.sure):
            print(f"seed {one.seed} {one.outcome}: {one.why}\n    {', '.join(one.pieces)}")
    for why, count in Counter(reason(one.why) for one in verdicts if one.outcome == "refused").most_common():
        print(f"{count:4d} refused: {why}")
    counts = Counter(one.outcome for one in verdicts)
    print(", ".join(f"{counts[outcome]} {outcome}" for outcome in (RIGHT, "refused", "wrong")))
    sys.exit(bool(counts["wrong"]))


if __name__ == "__main__":
    main()
