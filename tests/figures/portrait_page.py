"""What the tests of the interactive portrait read from its page, and what the theory says to it."""

from __future__ import annotations

import base64
import io
import json
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from superconsistency.simulations import iterate
from superconsistency.theory import (
    OBSERVABLES,
    LatentState,
    PlanarMap,
    PlanarState,
    Problem,
    evolve,
    parametrization,
)

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


def data(page: Chrome) -> dict[str, Any]:
    """The numbers shown; through JSON text, which keeps every digit."""
    shown: dict[str, Any] = json.loads(page.execute_script("return JSON.stringify(portrait.data())"))
    for run in filter(None, (shown["infinite"], shown["network"])):
        for name, values in run.items():
            if name != "diverged_step":
                run[name] = np.array(values, dtype=float)
    return shown


def show(page: Chrome, **settings: object) -> dict[str, Any]:
    page.execute_script("portrait.set(arguments[0])", settings)
    return data(page)


def wait_until(condition: Any, seconds: float = 5.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def planar_of(state: dict[str, Any]) -> PlanarMap:
    return PlanarMap(state["dimension"], state["target_norm"], state["learning_rate"])


def end_of(run: dict[str, Any]) -> int:
    """How many steps are shown before divergence."""
    return len(run["a"]) if run["diverged_step"] < 0 else int(run["diverged_step"])


def latent_state(start: Any, dimension: int) -> LatentState:
    """The latent state of weights drawn by the page, with zeros for the directions it left out."""
    grams = np.asarray(start) @ np.swapaxes(start, -1, -2)
    kept, lead = grams.shape[-1] - 1, grams.shape[:-2]
    w, e = np.zeros((*lead, dimension)), np.zeros((*lead, dimension, dimension))
    w[..., :kept] = math.sqrt(dimension) * grams[..., 0, 1:]
    e[..., :kept, :kept] = grams[..., 1:, 1:]
    return LatentState(w, e, np.asarray(grams[..., 0, 0]))


def along_first(state: dict[str, Any]) -> Problem:
    target = np.zeros(state["dimension"])
    target[0] = state["target_norm"]
    return Problem(parametrization("mup"), float(state["width"]), target)


def assert_losses_agree(shown: Any, expected: Any, problem_size: float) -> None:
    """To 1e-10, but for what rounding of the residual, of the order of 1e-14 of the target, makes of it."""
    slack = 1e-10 * expected + 3e-14 * problem_size * np.sqrt(2 * expected) + (3e-14 * problem_size) ** 2
    assert (np.abs(shown - expected) <= slack).all()


def assert_infinite_width_agrees(shown: dict[str, Any], *, whole_orbit: bool = True) -> None:
    planar, run = planar_of(shown["state"]), shown["infinite"]
    end = end_of(run)
    states = PlanarState(run["a"][:end], run["p"][:end])
    after = planar.step(PlanarState(states.a[:-1], states.p[:-1]))
    scale = max(planar.target_norm, 1 / math.sqrt(planar.dimension))
    np.testing.assert_allclose(states.a[1:], after.a, rtol=1e-12, atol=1e-14 * scale)
    np.testing.assert_allclose(states.p[1:], after.p, rtol=1e-12)
    np.testing.assert_allclose(run["sharpness"][:end], planar.sharpness(states), rtol=1e-12)
    assert_losses_agree(run["loss"][:end], planar.loss(states), scale)
    orbit = iterate(planar, shown["state"]["steps"])
    assert run["diverged_step"] == orbit.diverged_step
    if whole_orbit:
        np.testing.assert_allclose(states.a, orbit.states.a[:end], rtol=1e-12, atol=1e-14 * scale)
        np.testing.assert_allclose(states.p, orbit.states.p[:end], rtol=1e-12)
    for values in (run["a"], run["p"], run["loss"], run["sharpness"]):
        assert np.isnan(values[end:]).all()


def assert_network_agrees(shown: dict[str, Any]) -> None:
    problem, run = along_first(shown["state"]), shown["network"]
    state, end = latent_state(run["start"], problem.dimension), end_of(run)
    names = ("loss", "sharpness", "ntk_sharpness", "residual_sharpness")
    expected: dict[str, list[Any]] = {name: [] for name in ("a", "p", "second_layer", *names)}
    for _ in range(end):
        expected["a"].append(state.w[0])
        expected["p"].append((state.v + state.e[0, 0]) / 2)
        expected["second_layer"].append(state.v)
        for name in names:
            expected[name].append(OBSERVABLES[name].compute(state, problem))
        state = evolve(state, problem, shown["state"]["learning_rate"])
    scale = max(shown["state"]["target_norm"], 1 / math.sqrt(problem.dimension))
    np.testing.assert_allclose(run["a"][:end], expected["a"], rtol=1e-12, atol=1e-13 * scale)
    for name in ("p", "second_layer", "sharpness", "ntk_sharpness"):
        np.testing.assert_allclose(run[name][:end], expected[name], rtol=1e-12, err_msg=name)
    kappa = 1 / math.sqrt(problem.dimension)
    np.testing.assert_allclose(
        run["residual_sharpness"][:end],
        expected["residual_sharpness"],
        rtol=1e-11,
        atol=1e-13 * scale * kappa,
    )
    assert_losses_agree(run["loss"][:end], np.array(expected["loss"]), scale)


def pixels(page: Chrome, canvas: str) -> Any:
    script = f"return ({canvas}).toDataURL('image/png')"
    content = base64.b64decode(page.execute_script(script).split(",")[1])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
