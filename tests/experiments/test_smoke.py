"""Every experiment runs at smoke scale, and is judged, drawn and told from its runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from superconsistency.cli import main
from superconsistency.experiments import EXPERIMENTS
from superconsistency.records import to_json


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_the_figure_command_makes_every_experiment_and_scores_it_again_without_running(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["figure", name, "--scale", "smoke", "--output", str(tmp_path), "--workers", "1", "--json"]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert not stop.value.code
    told = json.loads(capsys.readouterr().out)
    beside = json.loads((tmp_path / f"figure-{name}.json").read_text())
    assert {claim.name for claim in EXPERIMENTS[name].claims} == set(beside["numbers"]["verdicts"])
    assert all(arm["completed"] == arm["runs"] > 0 for arm in beside["configuration"]["arms"].values())
    assert beside["verdict"] == told["verdict"]
    assert (tmp_path / f"figure-{name}.png").stat().st_size > 10_000

    def forbidden(*_arguments: object, **_settings: object) -> None:
        raise AssertionError("it ran again")

    monkeypatch.setattr("superconsistency.runner.network_model.train_grid", forbidden)
    with pytest.raises(SystemExit):
        main(arguments)
    assert json.loads(capsys.readouterr().out) == to_json(told)
