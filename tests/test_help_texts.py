"""The help lists what there is to choose from, without a list of its own."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import typer
from superconsistency.cli.help_texts import LISTS, filled
from superconsistency.cli.program import app
from superconsistency.neural.networks.catalogue import NETWORKS
from superconsistency.theory.parametrization import TABLE

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined] # a group has them


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_place_in_a_help_text_is_a_registry_that_holds_something(name: str) -> None:
    for parameter in COMMANDS[name].params:
        text = getattr(parameter, "help", None) or ""
        assert set(re.findall(r"\{(\w+)\}", text)) <= set(LISTS)
        assert "{" not in filled(text)
        assert not re.search(r"\b(ntp|simple-convnet|adamw), ", text), text  # a list that is typed


def test_lists_are_those_of_the_registries() -> None:
    assert filled("{networks}") == ", ".join(NETWORKS)
    assert filled("{parametrizations}") == ", ".join(TABLE)
    assert all(filled(f"{{{name}}}") for name in LISTS)


def test_a_list_is_loaded_when_help_is_asked_for_and_no_earlier() -> None:
    code = (
        "import sys; from superconsistency.cli.program import app; import typer; "
        "typer.main.get_command(app); print('torch' in sys.modules, 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
