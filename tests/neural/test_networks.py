from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.neural.data import Dataset
from superconsistency.neural.networks import (
    NETWORKS,
    ConvNetSettings,
    DenseSettings,
    LanguageModelSettings,
    Network,
    VisionTransformerSettings,
    network,
    parameter_scales,
)
from superconsistency.neural.training import TrainingConfig, forward_cost, torch_generator
from superconsistency.theory import TABLE, gradient_scale, parametrization
from torch.nn import functional

from .cases import CLASSES, SMALL, TIME, TOKENS, built, examples, small
from .written_out import Hand, convnet, dense_net, language_model, vision_transformer

if TYPE_CHECKING:
    from collections.abc import Callable

    from superconsistency.neural.networks import Architecture


def require_equal(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("table", TABLE)
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_have_a_row_an_example_and_parameters_a_row_of_the_table(
    name: str, times: int, table: str
) -> None:
    settings, least = small(name), SMALL[name][1]
    for count in (1, 3):
        data = examples(settings, count)
        model = built(settings, table, times * least, data=data)
        outputs = model(data.inputs)
        assert outputs.shape == (*data.targets.shape, data.outputs)
        assert outputs.dtype == torch.float64
        assert torch.isfinite(outputs).all()
    names = [parameter for parameter, _ in model.named_parameters()]
    assert list(parameter_scales(model)) == names


KINDS = {
    "first.weight": "input",
    "patches.weight": "input",
    "readout.weight": "readout",
    "readout.bias": "readout bias",
    "tokens.weight": "embedding",
    "token.weight": "embedding",
    "positions.weight": "embedding",
    "query.weight": "attention",
    "key.weight": "attention",
    "gain": "norm",
    "bias": "bias",
}
"""By the end of a parameter's name; all others are hidden."""


@pytest.mark.parametrize("table", TABLE)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_row_is_the_tables_at_the_sizes_of_its_layer(name: str, table: str) -> None:
    settings: Any = small(name)
    model = built(settings, table, 4)
    post = getattr(settings, "norm", "") == "post"
    depth = max(1, getattr(settings, "depth", 1))
    for parameter, scales in parameter_scales(model).items():
        value = model.get_parameter(parameter)
        fan_in = value[0].numel() if value.ndim > 1 else 1
        kind = next((KINDS[end] for end in KINDS if f".{parameter}".endswith(f".{end}")), "hidden")
        stream = post and "norm" in parameter
        kind = "stream" if stream else kind
        inside = any(part in parameter for part in ("stages", "blocks", "hidden")) and not stream
        assert (scales.kind, scales.in_branch) == (kind, inside)
        row = parametrization(table).rule(kind, in_branch=inside)
        sizes = {
            "fan_in": float(fan_in),
            "width": float(model.readout.weight.shape[1]),
            "depth": float(depth),
        }
        if kind == "embedding":
            sizes["fan_in"] = 1.0
        expected = [
            rule.at(**sizes)
            for rule in (
                row.multiplier,
                row.learning_rate,
                row.adam,
                gradient_scale(parametrization(table), kind, in_branch=inside),
            )
        ]
        assert list(scales[2:]) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("table", ["ntp", "depth-mup"])
@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("skip", [0.0, 0.5, 1.0])
def test_the_convnet_is_the_published_one(skip: float, layers: int, norm: str, table: str) -> None:
    settings = ConvNetSettings(
        depth=4, skip=skip, branch_scale=0.7, layers_per_block=layers, norm=norm, stages=2, gain=1.3
    )
    data = examples(settings, side=12)
    model = built(settings, table, 3, data=data)
    require_equal(model(data.inputs), convnet(Hand(model, table, 4), settings, data.inputs))


@pytest.mark.parametrize("table", TABLE)
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("heads", [1, 2])
def test_the_vision_transformer_is_the_one_written_out(heads: int, norm: str, table: str) -> None:
    settings = VisionTransformerSettings(depth=2, heads=heads, patch=4, norm=norm, bias=heads == 1)
    data = examples(settings, side=8)
    model = built(settings, table, 4, data=data)
    require_equal(model(data.inputs), vision_transformer(Hand(model, table, 2), settings, data.inputs))


@pytest.mark.parametrize("table", TABLE)
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("heads", [1, 2])
def test_the_language_model_is_the_one_written_out(heads: int, norm: str, table: str) -> None:
    settings = LanguageModelSettings(depth=2, heads=heads, norm=norm, inner=3, bias=heads == 2)
    data = examples(settings)
    model = built(settings, table, 4)
    for time in (1, TIME):
        tokens = data.inputs[:, :time]
        require_equal(model(tokens), language_model(Hand(model, table, 2), settings, tokens))


@pytest.mark.parametrize("table", ["sp", "ntp", "mup", "depth-mup"])
@pytest.mark.parametrize("skip", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "linear"])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_dense_network_is_the_one_written_out(
    depth: int, activation: str, skip: float, table: str
) -> None:
    settings = DenseSettings(depth=depth, activation=activation, skip=skip, bias=depth == 1)
    data = examples(settings, side=2)
    model = built(settings, table, 4, data=data)
    expected = dense_net(Hand(model, table, max(1, depth)), settings, data.inputs)
    require_equal(model(data.inputs), expected)


@pytest.mark.parametrize("layers", [1, 2])
def test_depth_mup_multiplies_every_branch_by_the_root_of_the_depth(layers: int) -> None:
    settings = ConvNetSettings(depth=4, skip=1.0, stages=2, layers_per_block=layers)
    data = examples(settings, side=8)
    twice = built(replace(settings, branch_scale=2.0), "depth-mup", 3, data=data)
    require_equal(twice(data.inputs), built(settings, "mup", 3, data=data)(data.inputs))


@pytest.mark.parametrize(
    ("settings", "last"),
    [
        (DenseSettings(depth=4, skip=1.0), ("hidden",)),
        (LanguageModelSettings(depth=4), ("attention.out", "down")),
        (LanguageModelSettings(depth=4, norm="post"), ("attention.out", "down")),
        (VisionTransformerSettings(depth=4, heads=2, patch=16), ("attention.out", "down")),
    ],
    ids=["dense", "pre", "post", "vision"],
)
def test_depth_mup_is_mup_with_smaller_branches(settings: Architecture, last: tuple[str, ...]) -> None:
    data = examples(settings)
    scaled, plain = (built(settings, table, 4) for table in ("depth-mup", "mup"))
    with torch.no_grad():
        for name, value in scaled.named_parameters():
            if any(part in name for part in last):
                value.mul_(2)
    require_equal(scaled(data.inputs), plain(data.inputs))


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_without_branches_only_the_skip_is_left(skip: float) -> None:
    settings = ConvNetSettings(depth=4, stages=2, skip=skip, norm="layer")
    data = examples(settings, side=8)
    model = built(settings, "mup", 3, data=data)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "stages" in name:
                value.zero_()
    hand = Hand(model, "mup", 4)
    hidden = skip * functional.conv2d(data.inputs, hand("first"), stride=2, padding=1)
    hidden = functional.conv2d(functional.max_pool2d(hidden, 2), hand("between.0"), padding=1)
    hidden = functional.max_pool2d(hidden, 2).clamp(min=0)
    require_equal(model(data.inputs), hidden.flatten(1) @ hand("readout").T)


@pytest.mark.parametrize(
    "settings",
    [
        ConvNetSettings(depth=3, skip=1.0, layers_per_block=2, norm="batch"),
        ConvNetSettings(depth=3, skip=0.0),
        DenseSettings(depth=3, skip=1.0, bias=True),
        DenseSettings(depth=3, skip=0.0),
    ],
    ids=["resnet", "convnet", "residual-mlp", "mlp"],
)
def test_the_gain_multiplies_branch_weights_alone(settings: Any) -> None:
    data = examples(settings)
    plain, gained = (built(replace(settings, gain=gain), "depth-mup", 3) for gain in (1.0, 3.0))
    inside = {name for name, row in parameter_scales(plain).items() if row.in_branch and row.kind == "hidden"}
    assert inside
    for (name, one), other in zip(
        parameter_scales(plain).items(), parameter_scales(gained).values(), strict=True
    ):
        assert other.multiplier == pytest.approx((3 if name in inside else 1) * one.multiplier)
        assert other._replace(multiplier=one.multiplier) == one
    with torch.no_grad():
        for name, value in plain.named_parameters():
            value.mul_(3 if name in inside else 1)
    require_equal(gained(data.inputs), plain(data.inputs))


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_later_token_does_not_change_earlier_logits(norm: str) -> None:
    settings = LanguageModelSettings(depth=2, norm=norm)
    tokens, model = examples(settings).inputs, built(settings, "mup", 4)
    before = model(tokens)
    for place in range(TIME):
        changed = tokens.clone()
        changed[:, place] = (changed[:, place] + 1) % TOKENS
        after = model(changed)
        torch.testing.assert_close(after[:, :place], before[:, :place], rtol=0, atol=0)
        assert (after[:, place:] != before[:, place:]).any(-1).all()


@given(st.integers(1, 6), st.integers(1, 3), st.sampled_from(["relu", "tanh"]), st.booleans(), st.randoms())
def test_outputs_do_not_depend_on_the_order_of_hidden_neurons(
    width: int, depth: int, activation: str, bias: bool, random: Any
) -> None:
    settings = DenseSettings(depth=depth, activation=activation, bias=bias)
    data = examples(settings, side=2)
    model = built(settings, "mup", width, data=data)
    before = model(data.inputs)
    layers: list[Any] = [model.get_submodule("first"), *model.get_submodule("hidden").children()]
    for layer, following in zip(layers, [*layers[1:], model.readout], strict=True):
        order = random.sample(range(width), width)
        with torch.no_grad():
            layer.weight.copy_(layer.weight[order])
            following.weight.copy_(following.weight[:, order])
            if bias:
                layer.bias.copy_(layer.bias[order])
    require_equal(model(data.inputs), before)


@given(st.integers(1, 4), st.integers(0, 2), st.integers(0, 2**32))
def test_a_linear_network_does_not_see_a_rotation_of_inputs_and_first_weights(
    width: int, depth: int, seed: int
) -> None:
    settings = DenseSettings(depth=depth, activation="linear")
    data = examples(settings, side=2)
    model = built(settings, "mup", width, data=data)
    before = model(data.inputs)
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64)).Q
    first: Any = model.get_submodule("first")
    with torch.no_grad():
        first.weight.copy_(first.weight @ rotation.T)
    require_equal(model(data.inputs.flatten(1) @ rotation.T), before)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_takes_the_precision_of_its_inputs_and_the_values_of_its_seed(name: str) -> None:
    settings = small(name)
    data = examples(settings)
    single = data._replace(inputs=data.inputs.float()) if data.inputs.is_floating_point() else data
    one, same, other = (
        settings.build(parametrization("mup"), 2, single, torch_generator(seed)) for seed in (0, 0, 1)
    )
    assert {value.dtype for value in one.parameters()} == {torch.float32}
    torch.testing.assert_close(one.state_dict(), same.state_dict(), rtol=0, atol=0)
    assert (one.readout.weight != other.readout.weight).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_cost_is_counted_without_drawing_a_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = small(name)
    data = examples(settings)
    monkeypatch.setattr(torch, "randn", lambda *_, **__: pytest.fail("numbers are drawn"))
    assert forward_cost(TrainingConfig(parametrization("mup"), settings), 2, data) > 0


def build(settings: Any, width: int, *, side: int = 32) -> Network:
    return built(settings, "mup", width, data=examples(settings, side=side))


def vectors() -> Dataset:
    return Dataset("noise", "vectors", torch.zeros(3, 2), torch.zeros(3, 1), 1, "")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: network("perceptron"), "network is perceptron; accepted: simple-convnet, "),
        (lambda: network("mlp", heads=2), "setting of mlp is heads; accepted: depth, "),
        (lambda: network("simple-convnet", depth=2), "setting of simple-convnet is depth"),
        (lambda: network("convnet", depth=4), "depth is 4; accepted: multiples of the 3 stages"),
        (lambda: network("convnet", depth=0), "depth is 0"),
        (lambda: network("convnet", depth=15, stages=15), "stages is 15; accepted: a whole number from 1"),
        (lambda: network("convnet", first_stride=0), "first stride is 0"),
        (lambda: network("convnet", layers_per_block=1.5), "layers per block is 1.5"),
        (lambda: network("convnet", norm="instance"), "norm is instance; accepted: none, layer, batch"),
        (lambda: network("convnet", skip=math.nan), "skip is nan; accepted: a finite number"),
        (lambda: network("convnet", branch_scale=math.inf), "branch scale is inf"),
        (lambda: network("convnet", gain=-math.inf), "gain is -inf"),
        (lambda: network("mlp", skip=math.inf), "skip is inf"),
        (lambda: network("mlp", gain=math.nan), "gain is nan"),
        (lambda: network("mlp", depth=-1), "depth is -1"),
        (lambda: network("mlp", depth=10**9), "depth is 1000000000; accepted: a whole number from 0"),
        (lambda: network("mlp", activation="sine"), "activation is sine; accepted: relu, gelu"),
        (lambda: network("vit", heads=0), "heads is 0"),
        (lambda: network("vit", patch=0), "patch is 0"),
        (lambda: network("vit", norm="none"), "norm is none; accepted: pre, post"),
        (lambda: network("transformer", inner=0), "inner width is 0"),
        (lambda: network("transformer", depth=math.nan), "depth is nan"),
        (lambda: build(network("vit"), 12), "width is 12; accepted: multiples of the 8 heads"),
        (lambda: build(network("transformer"), 3), "width is 3; accepted: multiples of the 2 heads"),
        (lambda: build(network("transformer"), 0), "width is 0"),
        (lambda: build(network("vit"), 8, side=30), "patch is 4; accepted: a divisor of the images' side 30"),
        (lambda: build(network("simple-convnet"), 2, side=16), "side of the images is 16"),
        (lambda: build(network("simple-convnet"), 2**15), "width is 32768"),
        (lambda: build(network("mlp"), -1), "width is -1"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_in_one_line(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError) as refusal:
        make()
    assert str(refusal.value).startswith(words)
    assert "\n" not in str(refusal.value)
    assert "remedy" in str(refusal.value)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("stages", [1, 3])
def test_images_of_the_least_side_are_taken_and_smaller_ones_refused(stages: int, stride: int) -> None:
    settings = ConvNetSettings(depth=3, stages=stages, first_stride=stride)
    with pytest.raises(InputError, match="side of the images is 1; accepted: at least") as refusal:
        build(settings, 1, side=1)
    least = int(str(refusal.value).split("at least ")[1].split()[0])
    assert build(settings, 1, side=least).readout.weight.shape == (CLASSES, 1)
    with pytest.raises(InputError, match=f"at least {least} pixels"):
        build(settings, 1, side=least - 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_data_of_another_kind_are_refused(name: str) -> None:
    settings = network(name)
    others = [examples(LanguageModelSettings()), examples(ConvNetSettings()), vectors()]
    refused = [data for data in others if data.kind not in settings.kinds]
    assert refused
    for data in refused:
        with pytest.raises(InputError, match=f"kind of the data is {data.kind}; accepted"):
            settings.build(parametrization("mup"), 8, data, torch_generator(0))
