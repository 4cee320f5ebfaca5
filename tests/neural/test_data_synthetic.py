from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.neural.data import (
    IMAGES,
    TOKENS,
    VECTORS,
    Dataset,
    from_pixels,
    gaussian_regression,
    stratified_subset,
    whitened_regression,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dimension", [1, 2, 30, 3000])
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_targets_are_of_order_one_whatever_the_dimension(dimension: int, noise: float) -> None:
    data = gaussian_regression(300, dimension, 40 if dimension > 2 else 4000, seeded(), noise=noise)
    assert float((data.targets.double() ** 2).mean()) == pytest.approx(1 + noise**2, rel=0.2)
    assert float((data.inputs.double() ** 2).mean()) == pytest.approx(1, rel=0.2)
    assert data.kind == VECTORS


@pytest.mark.parametrize(("examples", "dimension", "outputs"), [(1, 1, 1), (7, 3, 2), (4, 1, 5), (9, 8, 1)])
def test_targets_without_noise_are_linear_in_the_inputs(examples: int, dimension: int, outputs: int) -> None:
    data = gaussian_regression(examples, dimension, outputs, seeded(), dtype=torch.float64)
    assert data.inputs.shape == (examples, dimension)
    assert data.targets.shape == (examples, outputs)
    assert data.outputs == outputs
    teacher = np.linalg.lstsq(data.inputs.numpy(), data.targets.numpy(), rcond=None)[0]
    np.testing.assert_allclose(data.inputs.numpy() @ teacher, data.targets.numpy(), atol=1e-12)


def test_noise_is_added_to_the_targets_and_changes_nothing_else() -> None:
    clean, noisy = (gaussian_regression(2000, 5, 1, seeded(), noise=noise) for noise in (0.0, 0.5))
    assert torch.equal(clean.inputs, noisy.inputs)
    assert float((noisy.targets - clean.targets).std()) == pytest.approx(0.5, rel=0.1)


def test_a_seed_fixes_the_regression_and_its_hash() -> None:
    first, again, other = (gaussian_regression(5, 3, 1, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.inputs, again.inputs)
    assert first.hash == again.hash != other.hash


@pytest.mark.parametrize(
    ("sizes", "noise"),
    [((0, 1, 1), 0), ((1, 0, 1), 0), ((1, 1, 0), 0), ((1, 1, 1), -1), ((1, 1, 1), math.nan)],
)
def test_impossible_regressions_are_refused(sizes: tuple[int, int, int], noise: float) -> None:
    with pytest.raises(InputError):
        gaussian_regression(*sizes, seeded(), noise=noise)


@pytest.mark.parametrize("dimension", [1, 2, 5, 40])
def test_the_mean_half_squared_error_on_whitened_data_is_half_the_squared_distance(dimension: int) -> None:
    target, weights = torch.randn(2, dimension, generator=seeded(), dtype=torch.float64)
    data = whitened_regression(dimension, target)
    assert data.inputs.dtype == data.targets.dtype == torch.float64
    weights.requires_grad_()
    errors = data.inputs @ weights[:, None] - data.targets
    loss = (errors.square().sum(1) / 2).mean()
    torch.testing.assert_close(loss, (weights - target).square().sum() / 2, rtol=1e-13, atol=0)
    (gradient,) = torch.autograd.grad(loss, weights)
    torch.testing.assert_close(gradient, (weights - target).detach(), rtol=1e-13, atol=1e-15)


def test_whitened_data_takes_several_outputs() -> None:
    target, weights = torch.randn(2, 4, 3, generator=seeded(), dtype=torch.float64)
    data = whitened_regression(4, target)
    loss = ((data.inputs @ weights - data.targets).square().sum(1) / 2).mean()
    torch.testing.assert_close(loss, (weights - target).square().sum() / 2)
    assert data.outputs == 3
    assert data.hash != whitened_regression(4, target[:, :2]).hash


@pytest.mark.parametrize("shape", [(), (3,), (5,), (4, 0), (4, 2, 2)])
def test_a_target_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"accepted: \(4,\) or \(4, outputs\)"):
        whitened_regression(4, torch.ones(shape))
    with pytest.raises(InputError, match=r"target is torch\.int64"):
        whitened_regression(4, torch.ones(4, dtype=torch.int64))


def images(labels: list[int]) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 3, 4, 4), dtype=np.uint8)
    return from_pixels("noise", pixels, np.array(labels, dtype=np.int64))


labellings = st.lists(st.integers(0, 4), min_size=1, max_size=60)


@given(labels=labellings, seed=st.integers(0, 5), data=st.data())
def test_every_class_keeps_its_share_as_far_as_whole_numbers_allow(
    labels: list[int], seed: int, data: st.DataObject
) -> None:
    examples = data.draw(st.integers(1, len(labels)))
    whole = images(labels)
    part = stratified_subset(whole, examples, seed)
    kept = part.targets.bincount(minlength=10).numpy()
    exact = whole.targets.bincount(minlength=10).numpy() * examples / len(labels)
    assert kept.sum() == examples
    assert (np.abs(kept - exact) < 1).all()
    given_more, given_less = exact % 1 * (kept > exact), exact % 1 * (kept < exact)
    if given_more.any() and given_less.any():
        assert given_more[kept > exact].min() >= given_less[kept < exact].max() - 1e-12


@given(labels=labellings, data=st.data())
def test_a_subset_keeps_different_examples_in_the_data_s_order(
    labels: list[int], data: st.DataObject
) -> None:
    whole = images(labels)
    part = stratified_subset(whole, data.draw(st.integers(1, len(labels))), 3)
    rows = [int((whole.inputs == image).all((1, 2, 3)).nonzero()[0, 0]) for image in part.inputs]
    assert rows == sorted(set(rows))
    assert torch.equal(part.targets, whole.targets[rows])
    assert part.inputs.is_contiguous(memory_format=torch.channels_last)
    assert (part.name, part.kind, part.outputs) == (whole.name, IMAGES, whole.outputs)


def test_a_seed_fixes_the_subset_and_its_hash() -> None:
    whole = images([0, 1] * 20)
    first, again, other = (stratified_subset(whole, 10, seed) for seed in (1, 1, 2))
    assert torch.equal(first.inputs, again.inputs)
    assert first.hash == again.hash
    assert len({first.hash, other.hash, whole.hash}) == 3


def test_all_examples_are_the_data_itself() -> None:
    whole = images([0, 1, 1])
    assert stratified_subset(whole, 3, 0) is whole


def test_ties_between_classes_are_drawn() -> None:
    chosen = [int(stratified_subset(images([0, 1, 2, 3] * 5), 1, seed).targets) for seed in range(40)]
    assert set(chosen) == {0, 1, 2, 3}


def tokens() -> Dataset:
    stream = torch.arange(41)
    return Dataset("stream", TOKENS, stream[:40].view(20, 2), stream[1:].view(20, 2), 41, "hash")


@pytest.mark.parametrize("data", [tokens(), gaussian_regression(20, 2, 1, seeded())])
def test_without_classes_examples_are_simply_drawn(data: Dataset) -> None:
    parts = [stratified_subset(data, 5, seed) for seed in range(60)]
    rows = [[int((data.inputs == row).all(1).nonzero()[0, 0]) for row in part.inputs] for part in parts]
    assert all(row == sorted(set(row)) for row in rows)
    assert torch.equal(parts[0].targets, data.targets[rows[0]])
    assert set(np.concatenate(rows)) == set(range(20))


@pytest.mark.parametrize("examples", [0, -1, 4, 1.5, math.nan])
def test_more_examples_than_there_are_are_refused(examples: int) -> None:
    with pytest.raises(InputError, match="accepted: 1 to 3, as noise has"):
        stratified_subset(images([0, 1, 1]), examples, 0)
    with pytest.raises(InputError, match="seed is -1"):
        stratified_subset(images([0, 1, 1]), 1, -1)
