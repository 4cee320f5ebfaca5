"""What is read from a module and a base, and what is refused."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural.parametrize import parametrize
from superconsistency.neural.parametrize.infer_layers import matches, read_layers
from superconsistency.theory import TABLE
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

MUP = TABLE["mup"]


class Bare(nn.Module):
    """One parameter by itself, with a layer that grows beside it."""

    def __init__(self, width: int, *shape: int) -> None:
        super().__init__()
        self.bare = nn.Parameter(torch.ones(shape))
        self.readout = nn.Linear(width, 1)


class Images(nn.Module):
    """Convolutions of every sort."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.stem_norm = nn.BatchNorm2d(4)
        self.first = nn.Conv2d(4, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.grouped = nn.Conv2d(width, 2 * width, 3, groups=2)
        self.channels = nn.Conv2d(2 * width, 2 * width, 3, groups=2 * width)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, groups=2)
        self.slopes = nn.PReLU(width)
        self.drawn = nn.ConvTranspose2d(3, width, 2)
        self.drawing = nn.ConvTranspose2d(width, 3, 2)
        self.readout = nn.Conv2d(width, 5, 1)


class Tokens(nn.Module):
    """Embeddings, a recurrence, vectors of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(1, 9, width))
        self.gain = nn.Parameter(torch.ones(width))
        self.temperature = nn.Parameter(torch.ones(()))
        self.tokens = nn.Embedding(11, width)
        self.recurrence = nn.LSTM(width, width)
        self.attention = nn.MultiheadAttention(width, 2)
        self.norm = nn.RMSNorm(width)
        self.readout = nn.Linear(width, 11)


def residual(width: int, depth: int) -> nn.Module:
    """Blocks with a normalisation beside the branch."""

    def block() -> nn.Module:
        return nn.ModuleDict({"norm": nn.LayerNorm(width), "branch": nn.Linear(width, width)})

    return nn.ModuleDict(
        {
            "first": nn.Linear(2, width),
            "blocks": nn.ModuleList(block() for _ in range(depth)),
            "readout": nn.Linear(width, 1),
        }
    )


def mlp(width: int, depth: int = 1, *, inner: int | None = None) -> nn.Sequential:
    sizes = [2, *[inner or width] * depth, width]
    layers = [nn.Linear(one, other) for one, other in pairwise(sizes)]
    return nn.Sequential(*layers, nn.Linear(width, 1))


def kinds_of(network: Callable[[int], nn.Module]) -> dict[str, str]:
    found = parametrize(network(32), MUP, base=network(8))
    return {row.name: row.scales.kind for row in found.rows}


def test_convolutions_are_told_by_what_grows() -> None:
    found = kinds_of(Images)
    assert {name: found[f"{name}.weight"] for name, _ in Images(8).named_children()} == {
        "stem": "fixed",
        "stem_norm": "fixed",
        "first": "input",
        "norm": "norm",
        "grouped": "hidden",
        "channels": "input",  # one input a channel, however many channels
        "up": "hidden",
        "slopes": "embedding",
        "drawn": "input",
        "drawing": "readout",
        "readout": "readout",
    }
    assert {name: kind for name, kind in found.items() if name.endswith("bias")} == {
        "stem.bias": "fixed",
        "stem_norm.bias": "fixed",
        "first.bias": "bias",
        "norm.bias": "bias",
        "grouped.bias": "bias",
        "channels.bias": "bias",
        "up.bias": "bias",
        "drawn.bias": "bias",
        "drawing.bias": "readout bias",
        "readout.bias": "readout bias",
    }


def test_fan_ins_of_convolutions_grow_with_their_groups_inputs() -> None:
    adam = {row.name: row.scales.adam for row in parametrize(Images(32), MUP, base=Images(8)).rows}
    assert [adam[f"{name}.weight"] for name in ("first", "grouped", "channels", "up", "readout")] == [
        1, 0.25, 1, 0.25, 0.25
    ]  # fmt: skip


def test_embeddings_recurrences_and_vectors_are_told() -> None:
    found = kinds_of(Tokens)
    assert found["positions"] == found["gain"] == found["tokens.weight"] == "embedding"
    assert found["temperature"] == "fixed"
    assert found["norm.weight"] == "norm"
    assert found["recurrence.weight_ih_l0"] == found["recurrence.weight_hh_l0"] == "hidden"
    assert found["recurrence.bias_hh_l0"] == "bias"
    assert found["attention.parametrizations.in_proj_weight.original"] == "hidden"
    assert found["attention.parametrizations.in_proj_bias.original"] == "bias"
    sizes = {one.name: (one.fan_in, one.fan_out) for one in read_layers(Tokens(32), Tokens(8), {})}
    assert sizes["positions"] == sizes["gain"] == sizes["tokens.weight"] == (1, 4)


def test_without_a_base_what_is_no_matrix_is_told_by_its_module() -> None:
    given = {"recurrence": "hidden", "attention": "hidden", "readout": "readout"}
    given |= {"positions": "embedding", "gain": "norm"}
    found = {row.name: row.scales for row in parametrize(Tokens(32), MUP, kinds=given).rows}
    assert found["recurrence.bias_ih_l0"].kind == "bias"
    assert found["readout.bias"].kind == "readout bias"
    assert found["tokens.weight"].kind == "embedding"
    assert (found["tokens.weight"].sgd, found["tokens.weight"].adam) == (32, 1)


def test_given_kinds_come_first_and_the_first_name_that_fits() -> None:
    kinds = {"*.bias": "norm", "1": "readout", "*": "input"}
    found = parametrize(mlp(32), MUP, base=mlp(8), kinds=kinds)
    assert [row.scales.kind for row in found.rows] == ["input", "norm", "readout", "norm", "input", "norm"]


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("blocks", "blocks.0.weight", True),
        ("blocks.*", "blocks.0.weight", True),
        ("blocks.*.norm*", "blocks.0.norm1.weight", True),
        ("blocks.*.weight", "blocks.0.up.weight", False),
        ("block", "blocks.0.weight", False),
        ("blocks.0.weight.x", "blocks.0.weight", False),
        ("blocks.1", "blocks.10.weight", False),
    ],
)
def test_a_star_stands_within_one_part_of_a_name(pattern: str, name: str, *, fits: bool) -> None:
    assert matches(pattern, name) is fits


def test_a_base_with_other_blocks_gives_the_mean_size_of_its_own() -> None:
    model, base = residual(32, 5), residual(8, 2)
    with torch.no_grad():
        for index, size in enumerate((3.0, 4.0)):
            base.get_parameter(f"blocks.{index}.branch.weight").fill_(size)
    found = parametrize(
        model, TABLE["depth-mup"], base=base, branches=["blocks.*.branch"], inside=["blocks.*.norm"]
    )
    assert found.sizes == {"width": 4.0, "depth": 2.5}
    for index in range(5):
        weight = model.get_parameter(f"blocks.{index}.branch.weight")
        size = float(weight.detach().square().mean().sqrt())
        assert size == pytest.approx(12.5**0.5 / 2, rel=1e-5)


def test_weights_shared_by_layers_of_one_kind_are_one_row() -> None:
    def shared(width: int) -> nn.Module:
        model = nn.Sequential(nn.Linear(2, width), *(nn.Linear(width, width) for _ in range(2)))
        model[2].weight = model[1].weight
        return model

    assert list(kinds_of(shared).values()) == ["input", "bias", "hidden", "bias", "bias"]


def tied(width: int) -> nn.Sequential:
    tokens, readout = nn.Embedding(5, width), nn.Linear(width, 5)
    readout.weight = tokens.weight
    return nn.Sequential(tokens, readout)


@pytest.mark.parametrize(("name", "factor"), [("mup", 0.25), ("ntp", 0.5)])
def test_a_readout_tied_to_an_embedding_has_its_factor_on_its_inputs(name: str, factor: float) -> None:
    model = tied(32)
    found = parametrize(model, TABLE[name], base=tied(8))
    hidden, weight, bias = torch.randn(3, 32), model.get_parameter("0.weight"), model.get_parameter("1.bias")
    for outputs in (model[1](hidden), model[1](input=hidden)):
        torch.testing.assert_close(outputs, functional.linear(factor * hidden, weight, bias))
    assert found.sizes["width"] == 4
    found.remove()
    torch.testing.assert_close(model[1](hidden), functional.linear(hidden, weight, bias))


def test_the_width_of_all_layers_is_known_where_they_grow_alike() -> None:
    assert parametrize(mlp(32)[:2], MUP, base=mlp(8)[:2]).sizes["width"] == 4
    assert parametrize(mlp(8), MUP, base=mlp(8)).sizes["width"] == 1
    assert "width" not in parametrize(mlp(32, inner=8), MUP, base=mlp(8, inner=4)).sizes
    kinds = {"0": "input", "1": "hidden"}
    assert parametrize(mlp(32)[:2], MUP, kinds=kinds, width=16).rows[0].scales.sgd == 8


@pytest.mark.parametrize(
    ("shape", "base"),
    [
        ((32, 32), (8, 8)),
        ((7, 32), (7, 8)),
        ((1, 32), (1, 8)),
        ((3, 32, 32), (3, 8, 8)),
        ((2, 7, 32), (2, 7, 8)),
    ],
)
def test_a_parameter_that_cannot_be_told_is_named_and_kinds_may_tell_it(
    shape: tuple[int, ...], base: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match=r'kind of bare is not .* remedy: pass kinds=\{"bare": "hidden"\}'):
        parametrize(Bare(32, *shape), MUP, base=Bare(8, *base))
    for kind, adam in (("hidden", 0.25), ("input", 1.0), ("readout", 0.25), ("embedding", 1.0)):
        found = parametrize(Bare(32, *shape), MUP, base=Bare(8, *base), kinds={"bare": kind})
        assert found.rows[0].scales.adam == adam


def parametrized() -> nn.Module:
    return parametrize(mlp(32), MUP, base=mlp(8)).model


def changed(model: nn.Module, name: str, value: float) -> nn.Module:
    with torch.no_grad():
        model.get_parameter(name).fill_(value)
    return model


def nested() -> nn.Module:
    return nn.Sequential(nn.Sequential(nn.Linear(2, 2)))


def repeated() -> nn.Module:
    layer = nn.Linear(4, 4)
    return nn.Sequential(nn.Linear(2, 4), layer, layer)


DEPTH = TABLE["depth-mup"]
REFUSED: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], str]] = {
    "nothing said": (lambda: mlp(32), {}, "pass base, the same network at another width, or kinds"),
    "twice": (parametrized, {"base": mlp(8)}, "parametrized by mup.*remedy: build it anew"),
    "inside another": (lambda: nn.Sequential(parametrized()), {}, "parametrized by mup"),
    "base parametrized": (lambda: mlp(32), {"base": parametrized()}, "parametrized by mup"),
    "unknown kind": (lambda: mlp(32), {"kinds": {"0": "first"}}, "kind of layer is first"),
    "kind of nothing": (lambda: mlp(32), {"base": mlp(8), "kinds": {"O": "input"}}, "kinds is O"),
    "other names": (lambda: mlp(32), {"base": nn.Linear(2, 8)}, "without a counterpart of 0.weight"),
    "more in base": (lambda: nn.Sequential(nn.Linear(2, 8)), {"base": mlp(8)}, "without a counterpart"),
    "deeper, unlike": (lambda: mlp(32, 3), {"base": mlp(8)}, "without a counterpart.*equally deep"),
    "other class": (lambda: nn.Linear(2, 8), {"base": nn.Bilinear(2, 2, 8)}, "counterpart of weight"),
    "meta": (lambda: mlp(32).to("meta"), {"base": mlp(8)}, "without values of 0.weight"),
    "meta base": (lambda: mlp(32), {"base": mlp(8).to("meta")}, "without values of 0.weight"),
    "lazy": (lambda: nn.LazyLinear(8), {"base": nn.Linear(2, 4)}, "without values of weight"),
    "not finite": (lambda: changed(mlp(32), "1.weight", float("nan")), {"base": mlp(8)}, "initial size of 1"),
    "zero in base": (lambda: mlp(32), {"base": changed(mlp(8), "1.bias", 0.0)}, "initial size of 1.bias"),
    "two widths": (
        lambda: nn.ModuleList([nn.Linear(32, 1), nn.Linear(16, 1)]),
        {"kinds": {"*": "readout"}},
        r"width is \[16.0, 32.0\]",
    ),
    "no readout": (lambda: nn.Linear(2, 8), {"kinds": {"weight": "input"}}, r"width is \[\].*name the"),
    "experts": (lambda: Bare(8, 3, 8, 8), {"kinds": {"*": "hidden"}}, "kind of bare.*remedy: pass base"),
    "two kinds": (
        lambda: tied(32), {"base": tied(8), "kinds": {"0": "hidden"}}, "hidden at 0.weight and readout at 1",
    ),
    "width of a base": (lambda: mlp(32), {"base": mlp(8), "width": 32}, "width is 32.*leave it out"),
    "no width": (lambda: mlp(32), {"kinds": {"*": "readout"}, "width": 0}, "width is 0"),
    "depth alone": (lambda: mlp(32), {"base": mlp(8), "depth": 6}, r"depth is 6.*pass \(24, 6\)"),
    "no base's depth": (lambda: mlp(32), {"base": mlp(8), "depth": (6, 0)}, "depth is 0"),
    "branches of the model alone": (
        lambda: nn.Sequential(nn.Linear(2, 8), nn.Identity()),
        {"base": nn.Sequential(nn.Linear(2, 4)), "branches": ["1"]},
        "base is without the branches of the model",
    ),
    "branch of nothing": (lambda: mlp(32), {"base": mlp(8), "branches": ["3"]}, "branches is 3"),
    "inside of nothing": (lambda: mlp(32), {"base": mlp(8), "inside": ["3"]}, "inside is 3"),
    "branch in a branch": (nested, {"base": nested(), "branches": ["0", "0.0"]}, "0.0 inside 0"),
    "uncalled branch": (
        lambda: Tokens(32), {"base": Tokens(8), "branches": ["attention.out_proj"]}, "remedy: name attention",
    ),
}  # fmt: skip
REFUSED_DEPTH: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], str]] = {
    "no branches": (lambda: mlp(32), {"base": mlp(8)}, r"branches is \(\)"),
    "shared branch": (repeated, {"base": repeated(), "branches": ["1"]}, "1, at several places"),
    "beside a branch": (
        lambda: residual(32, 2),
        {"base": residual(8, 1), "branches": ["blocks.*.branch"]},
        "place of blocks.0.norm.weight is beside the branches",
    ),
}


@pytest.mark.parametrize("case", [*REFUSED, *REFUSED_DEPTH])
def test_what_cannot_be_done_is_refused_in_one_line_and_nothing_is_changed(case: str) -> None:
    make, given, words = {**REFUSED, **REFUSED_DEPTH}[case]
    model = make()
    before = {name: value if value.is_meta else value.clone() for name, value in _values(model)}
    marked, hooks = dict(vars(model)), len(model._forward_hooks)
    with pytest.raises(InputError, match=words) as caught:
        parametrize(model, MUP if case in REFUSED else DEPTH, **given)
    assert "\n" not in str(caught.value)
    assert all(
        torch.equal(before[name], value) or value.isnan().any()
        for name, value in _values(model)
        if not value.is_meta
    )
    assert vars(model).keys() == marked.keys()
    assert len(model._forward_hooks) == hooks


def _values(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [
        (name, value.detach()) for name, value in model.named_parameters() if not nn.parameter.is_lazy(value)
    ]


def test_a_normalisation_in_the_stream_may_be_named_as_such() -> None:
    found = parametrize(
        residual(32, 4), DEPTH, base=residual(8, 2), branches=["blocks.*.branch"],
        kinds={"blocks.*.norm": "stream"},
    )  # fmt: skip
    scales = {row.name: row.scales for row in found.rows}["blocks.3.norm.bias"]
    assert (scales.kind, scales.in_branch, scales.sgd, scales.adam) == ("stream", False, 2.0, 0.5)


def test_a_tied_readout_is_refused_where_two_rates_would_be_needed() -> None:
    with pytest.raises(InputError, match=r"0\.weight is tied to a readout"):
        parametrize(tied(32), TABLE["sp"], base=tied(8))
    parametrize(tied(8), TABLE["sp"], base=tied(8))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("rmsprop", 0.1, {}), "optimizer is rmsprop"),
        (("sgd", 0.0, {}), "learning rate is 0"),
        (("adam", 0.1, {"weight_decay": 0.1}), "remedy: pass adamw"),
        (("sgd", 0.1, {"betas": (0.9, 0.99)}), "settings of sgd"),
        (("adam", 0.1, {"betas": (2.0, 0.99)}), "settings of adam.*Invalid beta"),
        (("adamw", 0.1, {"lr": 0.2}), "settings of adamw"),
    ],
)
def test_settings_of_an_optimizer_that_make_no_sense_are_refused(given: Any, words: str) -> None:
    name, rate, settings = given
    with pytest.raises(InputError, match=words):
        parametrize(mlp(32), MUP, base=mlp(8)).optimizer(name, rate, **settings)


def test_parameters_that_came_later_are_refused() -> None:
    found = parametrize(mlp(32), MUP, base=mlp(8))
    found.model.get_submodule("2").bias = nn.Parameter(torch.zeros(1))
    with pytest.raises(InputError, match=r"model is with a new parameter 2\.bias"):
        found.optimizer("sgd", 0.1)
