"""Exponents of the table against known results, and against networks made of a few matrix products."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.theory import (
    KINDS,
    OPTIMIZERS,
    TABLE,
    LayerRule,
    Parametrization,
    Scale,
    depth_exponents,
    gradient_scale,
    parametrization,
    regime,
    width_exponents,
)

HALF = Fraction(1, 2)


@pytest.mark.parametrize(
    ("name", "optimizer", "words"),
    [
        ("ntp", "sgd", "kernel regime"),
        ("mup", "sgd", "feature learning, every layer maximally"),
        ("mup", "adam", "feature learning, every layer maximally"),
        ("depth-mup", "adamw", "feature learning, every layer maximally"),
        ("sp", "sgd", "unstable"),
        ("sp", "adam", "unstable"),
        ("ntp", "adam", "unstable"),
    ],
)
def test_the_regimes_are_those_of_tensor_programs(name: str, optimizer: str, words: str) -> None:
    assert regime(parametrization(name), optimizer).words.startswith(words)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", TABLE)
@given(power=st.fractions(-2, 2, max_denominator=4), kind=st.sampled_from(["hidden", "readout", "first"]))
def test_an_equivalent_form_moves_its_outputs_alike(
    name: str, optimizer: str, power: Fraction, kind: str
) -> None:
    table = parametrization(name)
    other = table.rescaled(**{kind: Scale.of(width=power)})
    for layer in ("input", "hidden", "readout"):
        ours, theirs = (width_exponents(row, layer, optimizer) for row in (table, other))
        assert (ours.activation, ours.change, ours.own_change) == (
            theirs.activation, theirs.change, theirs.own_change,
        )  # fmt: skip
    assert regime(table, optimizer) == regime(other, optimizer)


def one_step(table: Parametrization, optimizer: str, width: int, seed: int) -> dict[str, tuple[float, ...]]:
    """Three layers `x -> h1 -> h2 -> f`, ReLU between, one step of rate 1e-4: by hand, in NumPy."""
    draw = np.random.default_rng([seed, width])
    fans = {"input": 8, "hidden": width, "readout": width}
    shapes = {"input": (width, 8), "hidden": (width, width), "readout": (1, width)}
    rules = {kind: table.rule(kind) for kind in fans}
    sizes = {kind: {"fan_in": float(fan), "width": float(width)} for kind, fan in fans.items()}
    scale = {kind: float(rules[kind].multiplier.at(**sizes[kind])) for kind in fans}
    weights = {
        kind: float(rules[kind].variance.at(**sizes[kind])) ** 0.5 * draw.standard_normal(shapes[kind])
        for kind in fans
    }
    x = draw.standard_normal(8)

    def forward(weights: dict[str, Any]) -> dict[str, Any]:
        first = scale["input"] * weights["input"] @ x
        second = scale["hidden"] * weights["hidden"] @ np.maximum(first, 0)
        out = scale["readout"] * weights["readout"] @ np.maximum(second, 0)
        return {"input": first, "hidden": second, "readout": out}

    seen = forward(weights)
    signal = {"readout": np.ones(1)}  # the loss is the output
    back = scale["readout"] * weights["readout"].T @ signal["readout"]
    signal["hidden"] = back * (seen["hidden"] > 0)
    back = scale["hidden"] * weights["hidden"].T @ signal["hidden"]
    signal["input"] = back * (seen["input"] > 0)
    inputs = {"input": x, "hidden": np.maximum(seen["input"], 0), "readout": np.maximum(seen["hidden"], 0)}
    changed = {}
    for kind in fans:
        gradient = scale[kind] * np.outer(signal[kind], inputs[kind])
        rate = 1e-4 * float(rules[kind].rate(optimizer).at(**sizes[kind]))
        changed[kind] = weights[kind] - rate * (gradient if optimizer == "sgd" else np.sign(gradient))
    after = forward(changed)
    return {
        kind: (
            float(np.abs(seen[kind]).mean()),
            float(np.abs(after[kind] - seen[kind]).mean()),
            float(np.abs(changed[kind] - weights[kind]).mean()),
        )
        for kind in fans
    }


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["ntp", "mup", "sp"])
def test_a_network_written_by_hand_moves_with_the_predicted_exponents(name: str, optimizer: str) -> None:
    widths = np.array([128, 256, 512, 1024])
    table = parametrization(name)
    runs = [[one_step(table, optimizer, int(width), seed) for seed in range(24)] for width in widths]
    for kind in ("input", "hidden", "readout"):
        means = np.array([np.log([run[kind] for run in at]).mean(axis=0) for at in runs])
        slopes = np.polyfit(np.log(widths), means, 1)[0]
        found = width_exponents(table, kind, optimizer)
        # Of the output there is one number a run: its logarithm has a spread of one.
        allowed = 0.25 if kind == "readout" else 0.06
        expected = [float(found.activation or 0), float(found.weight_change)]
        np.testing.assert_allclose(slopes[[0, 2]], expected, atol=allowed)
        assert float(found.least_change or 0) - allowed < slopes[1] < float(found.change or 0) + allowed


def test_depth_mup_and_one_over_l_keep_the_stream_moving_at_every_depth() -> None:
    for name, weight in (("depth-mup", -HALF), ("1/l", Fraction(0))):
        for optimizer in OPTIMIZERS:
            inside = depth_exponents(parametrization(name), "hidden", optimizer, in_branch=True)
            assert inside.activation == inside.change == 0
            assert inside.weight_change == weight
            assert depth_exponents(parametrization(name), "readout", optimizer).change == 0


def test_without_a_scaled_branch_depth_has_no_power_law() -> None:
    for kind in ("hidden", "readout"):
        found = depth_exponents(parametrization("mup"), kind, in_branch=kind == "hidden")
        assert found.activation is None
        assert found.change is None


def test_a_branch_of_one_over_l_at_plain_rates_stops_learning_inside() -> None:
    table = parametrization("1/l")
    lazy = Parametrization(
        "lazy", "lazy", table.hidden, table.readout, branch=type(table.branch)(Scale.of(depth=-1))
    )
    assert depth_exponents(lazy, "hidden", in_branch=True).own_change == -1


def test_epsilon_is_scaled_as_the_gradient() -> None:
    assert gradient_scale(parametrization("mup"), "readout") == Scale.of(fan_in=-HALF, width=-HALF)
    assert gradient_scale(parametrization("sp"), "hidden") == Scale.of(width=-HALF)
    inside = gradient_scale(parametrization("depth-mup"), "hidden", in_branch=True)
    assert inside == Scale.of(fan_in=-HALF, width=-1, depth=-HALF)


def test_hidden_layers_that_grow_are_refused() -> None:
    growing = Parametrization("growing", "growing", LayerRule(), LayerRule())
    with pytest.raises(InputError, match=r"width\^1/2 times"):
        width_exponents(growing, "hidden")


def test_an_input_layer_can_be_rescaled_by_itself_and_an_unknown_rule_not() -> None:
    ntp = parametrization("ntp")
    assert ntp.rescaled(first=Scale.of(width=1)).input.multiplier == ntp.hidden.multiplier * Scale.of(width=1)
    with pytest.raises(InputError, match="rule is norm"):
        ntp.rescaled(norm=Scale())


def test_what_the_table_does_not_know_is_refused() -> None:
    with pytest.raises(InputError, match="accepted: " + ", ".join(KINDS)):
        parametrization("mup").rule("convolution")
    with pytest.raises(InputError, match="sgd, adam, adamw"):
        parametrization("mup").hidden.rate("lion")
