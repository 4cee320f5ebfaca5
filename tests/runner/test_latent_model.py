"""When runs of the latent system are measured."""

from __future__ import annotations

from typing import Any

import pytest
from superconsistency.errors import InputError
from superconsistency.runner import HERE, latent_model_from, make_sweep, results_of


@pytest.mark.parametrize("given", ["0+1+2+4", (0, 1, 2, 4), [0, 1, 2, 4]])
def test_measured_steps_are_a_text_or_a_list(given: Any) -> None:
    model = latent_model_from({"measure_at": given, "steps": 4})
    assert model.schedule == (0, 1, 2, 4)
    found = results_of(make_sweep(model, [{"width": 8.0, "seed": 0}]), None, HERE)
    assert found["step"].to_numpy().tolist() == [0, 1, 2, 4]


def test_one_step_can_be_measured() -> None:
    assert latent_model_from({"measure_at": "7", "steps": 9}).schedule == (7,)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"measure_at": "0+one"}, "measure_at is 0[+]one; accepted: whole numbers joined by"),
        ({"measure_at": ""}, "measure_at is"),
        ({"measure_at": "0+300"}, "measured steps is 300; accepted: at most 200"),
        ({"measure_at": "2+1"}, "recorded steps"),
        ({"measure_at": [0, 0.5]}, "recorded steps"),
    ],
)
def test_impossible_steps_are_refused_in_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        latent_model_from(settings)
    assert "\n" not in str(refused.value)


def test_measured_steps_are_no_axis() -> None:
    with pytest.raises(InputError, match="axis is measure_at"):
        make_sweep(latent_model_from({}), [{"measure_at": ["0+1", "0+2"]}])
