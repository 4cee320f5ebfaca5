"""Runs are cut into groups, and a sweep keeps the groups that its folder has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from superconsistency import open_results
from superconsistency.records.store import RunStore
from superconsistency.runner import (
    HERE,
    DataChoice,
    Group,
    LatentModel,
    NetworkModel,
    Outcome,
    Plan,
    carry_out,
    look,
    make_plan,
    make_sweep,
)
from superconsistency.runner.groups import rectangles

from .grids import files, finished, same_bits

Pairs = frozenset[tuple[int, float]]

PAIRS = st.frozensets(
    st.tuples(st.integers(0, 40), st.sampled_from([2.0**k for k in range(-6, 6)])), min_size=1
)
MOST = st.integers(1, 40)
JOINED = st.sampled_from([lambda seed: seed, lambda _: 0, lambda seed: seed % 3])


def rates_of(pairs: Pairs) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for seed, rate in sorted(pairs):
        found.setdefault(seed, []).append(rate)
    return found


def pairs_of(group: Group) -> Pairs:
    return frozenset((seed, rate) for rate in group.learning_rates for seed in group.seeds)


@given(pairs=PAIRS, most=MOST, joined=JOINED)
def test_groups_have_every_run_exactly_once_and_never_more_than_allowed(
    pairs: Pairs, most: int, joined: Any
) -> None:
    groups = list(rectangles((), rates_of(pairs), joined, most))
    members = [pair for group in groups for pair in pairs_of(group)]
    assert len(members) == len(pairs)
    assert set(members) == pairs
    for group in groups:
        assert 1 <= group.size <= most
        assert group.learning_rates == tuple(sorted(group.learning_rates))
        assert group.seeds == tuple(sorted(group.seeds))
        assert len({joined(seed) for seed in group.seeds}) == 1
        assert group.size == len(set(group.cells))


@given(pairs=PAIRS, most=MOST, joined=JOINED, data=st.data())
def test_what_is_left_when_some_groups_are_complete_is_cut_into_the_other_groups(
    pairs: Pairs, most: int, joined: Any, data: st.DataObject
) -> None:
    groups = list(rectangles((), rates_of(pairs), joined, most))
    done = data.draw(st.sets(st.sampled_from(range(len(groups)))))
    left = pairs - frozenset().union(*(pairs_of(groups[index]) for index in done))
    others = {group for index, group in enumerate(groups) if index not in done}
    assert set(rectangles((), rates_of(left), joined, most)) == others


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (32, [32]), (33, [32, 1]), (64, [32, 32])])
def test_edge_sizes_of_groups(count: int, sizes: list[int]) -> None:
    groups = list(rectangles((), {0: [float(rate) for rate in range(1, count + 1)]}, lambda seed: seed, 32))
    assert [group.size for group in groups] == sizes


DATA = DataChoice("digits", examples=64)
SETTINGS = ("steps=4", "measure_every=2", "hessian_examples=8", "evaluation_examples=16")
NETWORK = NetworkModel(SETTINGS, DATA)
LATENT = LatentModel(dimension=4, steps=8)
MODELS = pytest.mark.parametrize("model", [NETWORK, NetworkModel(SETTINGS, DATA, stacked=False), LATENT])
GRID: dict[str, Any] = {"width": [4, 8], "learning_rate": [0.1, 0.2], "seed": [0, 1]}


def grid_for(model: Any, **changes: Any) -> dict[str, Any]:
    networks = {"architecture": "mlp", "batch_size": 16} if isinstance(model, NetworkModel) else {}
    return GRID | networks | changes


def planned(model: Any, folder: Path | None = None, **changes: Any) -> Plan:
    store = None if folder is None else RunStore(folder)
    return make_plan(make_sweep(model, [grid_for(model, **changes)]), store)


def done_anew(plan: Plan, folder: Path) -> list[Group]:
    """The groups that were done, by carrying out what is left of a plan."""
    ended: list[Outcome | None] = []
    carry_out(plan, folder, HERE, look(plan, folder), on_status=lambda one: ended.append(one.last))
    return list(dict.fromkeys(outcome.task.named.group for outcome in ended if outcome is not None))


@MODELS
def test_a_sweep_with_more_rates_and_seeds_keeps_its_groups_and_does_only_the_new_runs(
    model: Any, tmp_path: Path
) -> None:
    small = finished(planned(model), tmp_path)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files(tmp_path)}
    wider = {"learning_rate": [0.05, 0.1, 0.2], "seed": [0, 1, 2]}
    done = done_anew(planned(model, tmp_path, **wider), tmp_path)
    assert sum(group.size for group in done) == 2 * (9 - 4)
    assert all(path.stat().st_mtime_ns == time for path, (time, _) in before.items())
    results = open_results(tmp_path).load()
    assert (results["completed"] == 1).all()
    assert results.sel(small.coords).drop_attrs().identical(small.drop_attrs())
    assert done_anew(planned(model, tmp_path, **wider), tmp_path) == []


@MODELS
def test_an_extended_sweep_that_stops_midway_resumes_in_the_same_groups(model: Any, tmp_path: Path) -> None:
    finished(planned(model), tmp_path)
    wider = {"learning_rate": [0.05, 0.1, 0.2, 0.4], "seed": [0, 1, 2]}
    plan = planned(model, tmp_path, **wider)
    left = [named for named in plan.named if named.key not in look(plan, tmp_path).done]
    assert len(left) > 2

    def stop(status: Any) -> None:
        if status.last is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(plan, tmp_path, HERE, look(plan, tmp_path), on_status=stop)
    again = planned(model, tmp_path, **wider)
    assert set(again.named) == set(plan.named)
    assert len(look(again, tmp_path).done) == len(plan.named) - len(left) + 1


@MODELS
def test_a_smaller_sweep_is_served_by_the_groups_of_a_larger_one(model: Any, tmp_path: Path) -> None:
    large = finished(planned(model), tmp_path)
    plan = planned(model, tmp_path, width=8, seed=1)
    assert done_anew(plan, tmp_path) == []
    assert plan.manifest.attrs["seeds"] == "[1]"
    results = open_results(tmp_path).load()
    assert dict(results.sizes)["width"] == dict(results.sizes)["seed"] == 1
    for name in results.data_vars:
        np.testing.assert_array_equal(results[name], large[name].sel(width=[8], seed=[1]))


def measuring_latent(names: tuple[str, ...]) -> LatentModel:
    return LatentModel(dimension=4, steps=8, quantities=names)


def measuring_network(names: tuple[str, ...]) -> NetworkModel:
    return NetworkModel((*SETTINGS, f"quantities={','.join(names)}"), DATA)


MEASURED = pytest.mark.parametrize(
    ("measuring", "names"),
    [
        (measuring_latent, ("sharpness", "loss", "ntk_sharpness")),
        (measuring_network, ("sharpness", "hessian_trace", "ntk_sharpness")),
    ],
)
WORK = "hessian_products"
"""Counts the work of all that is measured, and so is another number where more is."""


@MEASURED
def test_more_quantities_serve_a_sweep_that_measures_fewer_with_the_same_bits(
    measuring: Any, names: tuple[str, ...], tmp_path: Path
) -> None:
    folder, alone = tmp_path / "more", tmp_path / "alone"
    more = planned(measuring(names), folder, width=[4])
    finished(more, folder)
    fewer = planned(measuring(names[:1]), folder, width=[4])
    assert {named.key for named in fewer.named} == {named.key for named in more.named}
    assert done_anew(fewer, folder) == []
    results = open_results(folder).load()
    assert "ntk_sharpness" not in results
    expected = finished(planned(measuring(names[:1]), width=[4]), alone)
    assert same_bits(results.drop_vars(WORK, errors="ignore"), expected.drop_vars(WORK, errors="ignore"))
    assert len(done_anew(planned(measuring(names), alone, width=[4]), alone)) == len(more.named)


@MEASURED
def test_the_order_of_quantities_changes_neither_family_nor_key_nor_bits(
    measuring: Any, names: tuple[str, ...], tmp_path: Path
) -> None:
    one, other = (planned(measuring(order), width=[4]) for order in (names, names[::-1]))
    assert one.named == other.named
    results = [finished(plan, tmp_path / str(index)) for index, plan in enumerate((one, other))]
    for name in results[0].variables:
        assert results[0][name].to_numpy().tobytes() == results[1][name].to_numpy().tobytes(), name


def test_a_group_that_breaks_fails_with_all_its_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = LatentModel.run

    def unlucky(self: LatentModel, group: Group, *others: Any) -> Any:
        if dict(group.shared)["width"] == 8:
            raise RuntimeError("out of luck")
        return run(self, group, *others)

    monkeypatch.setattr(LatentModel, "run", unlucky)
    plan = planned(LATENT)
    status = carry_out(plan, tmp_path, HERE, look(plan, tmp_path))
    assert (status.done, status.failed) == (4, 4)
    (key,) = look(plan, tmp_path).failures
    assert {dict(cell)["width"] for cell in plan.runs_of[key]} == {8.0}
    assert plan.count([key]) == 4
