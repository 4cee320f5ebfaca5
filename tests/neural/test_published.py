from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.figures.drawing import draw_record
from superconsistency.neural import (
    Augmentation,
    Grid,
    Metric,
    Objective,
    Optimizer,
    TrainingConfig,
    train_grid,
)
from superconsistency.neural.curvature import DenseOperator, Hessian
from superconsistency.neural.data import gaussian_regression
from superconsistency.neural.networks import (
    NETWORKS,
    ConvNetSettings,
    DenseSettings,
    LanguageModelSettings,
    VisionTransformerSettings,
    parameter_scales,
)
from superconsistency.neural.training import PUBLISHED, Probe, Run, RunGroup, published, torch_generator
from superconsistency.theory import PARAMETRIZATIONS, TABLE, parametrization

from .cases import examples, small

if TYPE_CHECKING:
    import xarray as xr
    from superconsistency.neural import Dataset
    from superconsistency.neural.networks import Architecture

CONVNET = ConvNetSettings(depth=2, stages=2, skip=1.0)


def config(table: str = "mup", architecture: Architecture = CONVNET, **changes: Any) -> TrainingConfig:
    values: dict[str, Any] = {
        "steps": 3,
        "batch_size": 4,
        "measure_at": (0, 1, 3),
        "quantities": ("sharpness", "ntk_sharpness"),
        "hessian_examples": 5,
        "evaluation_examples": 12,
        "tolerance": 1e-6,
    }
    return TrainingConfig(parametrization(table), architecture, **values | changes)


def images() -> Dataset:
    return examples(CONVNET, 12, side=8)


def run_groups(
    shared: TrainingConfig, data: Dataset, seeds: tuple[int, ...] = (0,), width: int = 4
) -> list[RunGroup]:
    return [RunGroup(shared, data, Probe(shared, data), [Run(width, 0.05, seed)]) for seed in seeds]


def trained(shared: TrainingConfig, data: Dataset, *names: str, seeds: tuple[int, ...] = (0,)) -> xr.Dataset:
    return train_grid(Grid(replace(shared, as_published=names), (4,), (0.05,), seeds), data)


def changed(plain: xr.Dataset, odd: xr.Dataset) -> set[str]:
    """Variables of a record that are not the same, to the bit."""
    return {
        str(name)
        for name in plain.data_vars
        if not np.array_equal(plain[name].to_numpy(), odd[name].to_numpy(), equal_nan=True)
    }


MEASURED = {
    "sharpness",
    "sharpness_error",
    "ntk_sharpness",
    "ntk_sharpness_error",
    "hessian_products",
}
EVERYTHING = MEASURED | {"loss", "accuracy"}


@pytest.mark.parametrize(
    ("oddity", "settings", "different"),
    [
        ("shared-initialisation", {}, set()),
        ("ntp-as-sp", {}, set()),
        ("adam-rate-with-fan-in", {}, set()),
        ("momentum-over-width", {}, set()),
        ("vit-inner-128", {}, set()),
        ("unfrozen-hessian", {}, set()),
        ("branch-gain", {}, EVERYTHING),
        ("unfrozen-hessian", {"frozen": ("first",)}, MEASURED),
        ("summed-kernel", {}, {"ntk_sharpness", "ntk_sharpness_error"}),
        ("power-iteration", {}, {"sharpness", "sharpness_error"}),
        ("augmented-probe", {}, MEASURED),
    ],
)
def test_an_oddity_changes_what_it_says_and_nothing_else(
    oddity: str, settings: dict[str, Any], different: set[str]
) -> None:
    shared = config(**settings)
    found = changed(trained(shared, images()), trained(shared, images(), oddity))
    assert found <= different
    assert found >= different - {"accuracy", "hessian_products"}  # which can be the same by chance


def test_where_none_applies_all_of_them_together_change_nothing() -> None:
    data = gaussian_regression(12, 3, 2, torch_generator(0))
    shared = config(
        "mup", DenseSettings(depth=1, skip=1.0), loss="squared", quantities=("hessian_trace",), tolerance=0.1
    )
    grid = Grid(shared, (4,), (0.05,), (0,))
    plain = train_grid(grid, data)
    odd = train_grid(replace(grid, config=replace(shared, as_published=tuple(PUBLISHED))), data)
    assert changed(plain, odd) == set()
    assert '"as_published": []' in plain.attrs["configuration"]
    assert all(name in odd.attrs["configuration"] for name in PUBLISHED)


def test_oddities_are_followed_by_name() -> None:
    assert config().oddities == frozenset()
    assert config(as_published=tuple(PUBLISHED)).oddities == set(PUBLISHED)
    assert config(as_published=("summed-kernel",)).oddities == {"summed-kernel"}


@pytest.mark.parametrize("names", [("shared-initialization",), ("summed-kernel", ""), ("TRUE",)])
def test_an_unknown_oddity_is_refused_in_one_line(names: tuple[str, ...]) -> None:
    with pytest.raises(
        InputError, match=r"published oddity is .*; accepted: shared-initialisation, "
    ) as refusal:
        config(as_published=names)
    assert "\n" not in str(refusal.value)


def initialisations(shared: TrainingConfig) -> list[torch.Tensor]:
    return [group.models[0].get_parameter("first.weight") for group in run_groups(shared, images(), (0, 1))]


def orders(shared: TrainingConfig) -> list[torch.Tensor]:
    return [group.stream.batch(0)[1] for group in run_groups(shared, images(), (0, 1))]


def test_seeds_share_one_initialisation_but_not_their_data_order() -> None:
    plain, odd = config(), config(as_published=("shared-initialisation",))
    assert torch.equal(*initialisations(odd))
    assert not torch.equal(*initialisations(plain))
    assert torch.equal(initialisations(odd)[0], initialisations(plain)[0])
    assert not torch.equal(*orders(odd))
    assert all(torch.equal(*pair) for pair in zip(orders(odd), orders(plain), strict=True))
    records = (
        trained(plain, images(), seeds=(0, 1)),
        trained(plain, images(), "shared-initialisation", seeds=(0, 1)),
    )
    assert changed(*(record.sel(seed=0) for record in records)) == set()
    start = records[1]["loss"].sel(step=0).to_numpy()
    assert start[..., 0] == start[..., 1]


def test_error_bars_are_of_the_data_order_only() -> None:
    data = images()
    odd = trained(config(), data, "shared-initialisation", seeds=(0, 1))
    varied = trained(config(vary="data"), data, seeds=(0, 1))
    assert changed(odd, varied) == set()


@pytest.mark.parametrize("table", TABLE)
def test_what_is_called_sp_is_ntp(table: str) -> None:
    row = config(table, as_published=("ntp-as-sp",)).table
    assert row == (PARAMETRIZATIONS["ntp"] if table == "sp" else parametrization(table))
    if table == "sp":
        assert (
            changed(trained(config("ntp"), images()), trained(config("sp"), images(), "ntp-as-sp")) == set()
        )
        assert changed(trained(config("sp"), images()), trained(config("sp"), images(), "ntp-as-sp"))


@pytest.mark.parametrize("table", TABLE)
@pytest.mark.parametrize("name", ["convnet", "vit", "transformer-post", "mlp"])
def test_the_adam_rate_of_matrices_under_mup_is_their_fan_in(name: str, table: str) -> None:
    settings = small(name)
    data = examples(settings, 4)
    plain, odd = (
        parameter_scales(settings.build(shared.table, 4, data, torch_generator(0)))
        for shared in (config(table), config(table, as_published=("adam-rate-with-fan-in",)))
    )
    model = settings.build(parametrization(table), 4, data, torch_generator(0))
    depth = {"depth-mup": getattr(settings, "depth", 1) ** -0.5}.get(table, 1.0)
    for parameter, row in plain.items():
        expected = row
        if table not in {"ntp", "sp"} and row.kind in {"input", "hidden", "attention", "readout"}:
            fan_in = model.get_parameter(parameter)[0].numel()
            expected = row._replace(adam=fan_in * (depth if row.in_branch else 1))
        assert odd[parameter]._replace(adam=0.0) == expected._replace(adam=0.0)
        assert odd[parameter].adam == pytest.approx(expected.adam, rel=1e-15)


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("table", TABLE)
def test_momentum_is_divided_by_gamma_squared(table: str, width: int) -> None:
    data = images()
    for architecture, fan_in in ((CONVNET, width), (replace(CONVNET, first_stride=1), 4 * width)):
        for optimizer in (Optimizer(momentum=0.9), Optimizer(), Optimizer("adam")):
            odd = config(table, architecture, optimizer=optimizer, as_published=("momentum-over-width",))
            (group,) = run_groups(odd, data, width=width)
            gamma_squared = 1 if table in {"ntp", "sp"} else fan_in
            assert group.optimizer.optimizer == replace(
                optimizer, momentum=optimizer.momentum / gamma_squared
            )


def test_momentum_matters_from_the_second_step_on() -> None:
    shared = config(optimizer=Optimizer(momentum=0.9))
    plain, odd = trained(shared, images()), trained(shared, images(), "momentum-over-width")
    first = changed(plain.sel(step=[0, 1]), odd.sel(step=[0, 1]))
    assert first == {"edge_of_stability"}, "a momentum that goes with the width has no one edge"
    assert "loss" in changed(plain, odd)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_inner_width_is_128_in_vision_transformers_alone(name: str) -> None:
    settings = small(name)
    odd = config(architecture=settings, as_published=("vit-inner-128",)).network
    if not isinstance(settings, VisionTransformerSettings):
        assert odd == settings
        return
    data = examples(settings, 2)
    for width in (4, 8):
        model = odd.build(parametrization("mup"), width, data, torch_generator(0))
        assert model.get_parameter("blocks.0.up.weight").shape == (128, width)
        assert model.get_parameter("blocks.0.down.weight").shape == (width, 128)
        plain = settings.build(parametrization("mup"), width, data, torch_generator(0))
        assert plain.get_parameter("blocks.0.up.weight").shape == (4 * width, width)


@pytest.mark.parametrize(
    "settings",
    [
        CONVNET,
        replace(CONVNET, skip=0.0),
        DenseSettings(skip=1.0),
        LanguageModelSettings(),
        small("simple-convnet"),
    ],
    ids=["resnet", "convnet", "dense", "language", "simple"],
)
def test_the_gain_of_convnet_branches_is_the_root_of_two(settings: Architecture) -> None:
    odd = config(architecture=settings, as_published=("branch-gain",)).network
    expected = replace(settings, gain=math.sqrt(2)) if isinstance(settings, ConvNetSettings) else settings
    assert odd == expected


def dense_spectrum(model: torch.nn.Module, probe: Probe, roots: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Eigenvalues of the Hessian of what is trained, ascending."""
    matrix = Hessian(Objective(model, "cross-entropy"), probe.batch, Metric(tuple(roots))).matrix()
    return np.linalg.eigvalsh(matrix.numpy())


@pytest.mark.parametrize("oddities", [(), ("unfrozen-hessian",)])
def test_the_hessian_is_of_all_weights_where_layers_are_frozen(oddities: tuple[str, ...]) -> None:
    data = images()
    shared = config(frozen=("first", "between"), as_published=oddities, measure_at=(0,), steps=0)
    (group,) = run_groups(shared, data, width=2)
    model, roots = group.models[0], group.roots(0)
    sizes = {name: value.numel() for name, value in model.named_parameters()}
    frozen = sizes["first.weight"] + sizes["between.0.weight"]
    assert Objective(model, "cross-entropy").size == sum(sizes.values()) - (0 if oddities else frozen)
    assert roots is not None
    assert len(roots) == len(sizes) - (0 if oddities else 2)
    assert set(roots) == {math.sqrt(2)}  # of a rate of twice eta0
    largest = dense_spectrum(model, group.probe, roots)[-1]
    record = train_grid(Grid(shared, (2,), (0.05,), (0,)), data)
    assert float(record["sharpness"].squeeze()) == pytest.approx(largest, rel=1e-5)


def test_the_kernel_is_summed_over_examples() -> None:
    shared = config(count=2)
    plain, odd = trained(shared, images()), trained(shared, images(), "summed-kernel")
    names = [str(name) for name in plain.data_vars if str(name).startswith("ntk_")]
    assert "ntk_eigenvalue_2_error" in names
    for name in names:
        np.testing.assert_allclose(odd[name], 5 * plain[name], rtol=1e-14)
    assert changed(plain, odd) == set(names)


def test_the_probe_is_augmented_as_the_training_is() -> None:
    data = images()
    for augmentation in (None, Augmentation(padding=1, degrees=0.0)):
        plain, odd = (
            Probe(config(augmentation=augmentation, as_published=names), data)
            for names in ((), ("augmented-probe",))
        )
        assert torch.equal(plain.inputs, odd.inputs)
        assert torch.equal(plain.batch.targets, odd.batch.targets)
        assert plain.hash != odd.hash
        used = augmentation or Augmentation()
        rows = torch.from_numpy(np.random.default_rng(0).permutation(12)[:5])
        expected = used.apply(data.inputs, rows, used.draw(5, torch_generator(0)))
        assert torch.equal(odd.batch.inputs, expected)
        assert not torch.equal(odd.batch.inputs, plain.batch.inputs)


def operator(*eigenvalues: float) -> DenseOperator:
    """A symmetric matrix of these eigenvalues."""
    size = len(eigenvalues)
    drawn = torch.randn(size, size, generator=torch_generator(2), dtype=torch.float64)
    basis = torch.linalg.qr(drawn).Q
    return DenseOperator(basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.T)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("others", [(), (1.0,), (1.0, -2.0, 0.5, 0.0, 2.0)])
@pytest.mark.parametrize("largest", [7.0, -7.0])
def test_power_iteration_finds_the_largest_in_modulus(
    largest: float, others: tuple[float, ...], seed: int
) -> None:
    found = published.power_iteration(operator(largest, *others), torch_generator(seed))
    assert found == pytest.approx(largest, rel=5e-3)


def test_power_iteration_can_end_between_the_ends_of_a_symmetric_spectrum() -> None:
    found = [published.power_iteration(operator(1.0, -1.0, 0.1), torch_generator(seed)) for seed in range(8)]
    assert all(abs(value) < 0.99 for value in found)
    assert min(found) < 0 < max(found)


def test_power_iteration_on_nothing_is_zero_and_without_iterations_unknown() -> None:
    assert published.power_iteration(operator(0.0, 0.0), torch_generator(0)) == 0
    assert math.isnan(published.power_iteration(operator(1.0, 2.0), torch_generator(0), iterations=0))


def test_the_published_sharpness_is_the_eigenvalue_largest_in_modulus() -> None:
    data, shared = images(), config(steps=0, measure_at=(0,), as_published=("power-iteration",))
    (group,) = run_groups(shared, data, width=2)
    spectrum = dense_spectrum(group.models[0], group.probe, group.roots(0))
    record = train_grid(Grid(shared, (2,), (0.05,), (0,)), data).squeeze()
    assert float(record["sharpness"]) == pytest.approx(spectrum[np.abs(spectrum).argmax()], rel=0.05)
    assert math.isnan(record["sharpness_error"])


def test_seeds_that_would_all_be_one_run_are_refused() -> None:
    with pytest.raises(InputError, match=r"vary is initialisation; .*all seeds would be one run"):
        config(vary="initialisation", as_published=("shared-initialisation",))
    assert config(vary="data", as_published=("shared-initialisation",)).vary == "data"


def test_the_edge_is_not_said_where_momentum_goes_with_the_width() -> None:
    heavy = Optimizer(momentum=0.9)
    assert config(optimizer=heavy).threshold == 3.8
    assert config(optimizer=heavy, as_published=("momentum-over-width",)).threshold is None
    assert config(as_published=("momentum-over-width",)).threshold == 2
    odd = config(optimizer=heavy, as_published=("momentum-over-width",), quantities=("sharpness",))
    record = train_grid(Grid(odd, (4,), (0.05,), (0,)), images())
    plt.close(draw_record(record, ("sharpness",)))
