from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import superconsistency
from superconsistency.errors import InputError, invalid, require_positive, require_whole
from superconsistency.neural import NETWORKS
from superconsistency.neural.training import PUBLISHED

ROOT = Path(__file__).parent.parent


def test_importing_the_package_loads_neither_torch_nor_sympy() -> None:
    code = "import sys, superconsistency; print({'torch', 'sympy', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_importing_the_theory_does_not_load_sympy_or_torch() -> None:
    code = "import sys, superconsistency.theory; print({'torch', 'sympy', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", superconsistency.__all__)
def test_every_public_name_is_found_and_documented(name: str) -> None:
    assert getattr(superconsistency, name) is not None


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = superconsistency.no_such_name  # type: ignore[attr-defined]


def test_every_room_is_in_the_package_list() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    hidden = {"tests", ".venv", "build", "notebooks"}
    folders = [
        path.parent.relative_to(ROOT)
        for path in ROOT.rglob("__init__.py")
        if path.relative_to(ROOT).parts[0] not in hidden
    ]
    found = {".".join(("superconsistency", *folder.parts)) for folder in folders}
    assert found == listed


def test_rooms_import_downwards_only() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_an_input_error_is_one_line_with_value_range_and_remedy() -> None:
    message = str(invalid("width", 0, accepted="at least\n 1", remedy="pass 64"))
    assert message == "width is 0; accepted: at least 1; remedy: pass 64"


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_learning_rate_must_be_positive_and_finite(value: float) -> None:
    with pytest.raises(InputError, match="learning rate"):
        require_positive("learning rate", value, example=0.5)


@pytest.mark.parametrize("value", [0, 1.5, float("nan"), -3, float("inf")])
def test_a_width_must_be_whole(value: float) -> None:
    with pytest.raises(InputError, match="width"):
        require_whole("width", value, least=1, example=64)


README = (ROOT / "README.md").read_text()


def test_the_readmes_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert abs(float(capsys.readouterr().out.split()[-1])) < 0.05


def test_the_page_on_networks_names_every_network_and_every_published_oddity() -> None:
    page = (ROOT / "docs/networks.md").read_text()
    named = set(re.findall(r"`([a-z0-9-]+)`", page))
    assert named >= set(NETWORKS) | set(PUBLISHED)
    described = _rows(page)
    assert set(described) >= set(PUBLISHED)


def _rows(page: str) -> dict[str, list[str]]:
    """Rows of a page's tables that start with a claim's id, by id; an escaped bar is no border."""
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    rows = [[cell.strip().replace("\\", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {row[0].strip("`"): row[1:] for row in rows}


LEDGER = _rows((ROOT / "docs/ledger.md").read_text())
CLAIMS = {claim.id: claim for claim in superconsistency.CLAIMS}


def test_the_ledger_page_states_every_claim_as_the_code_does() -> None:
    stated = {name: [claim.statement, claim.source, str(claim.kind)] for name, claim in CLAIMS.items()}
    assert {name: row[:3] for name, row in LEDGER.items()} == stated
    assert not {row[3] for row in LEDGER.values()} & {"refuted", "not run"}


@pytest.mark.parametrize("name", [name for name, claim in CLAIMS.items() if claim.kind == "symbolic"])
def test_the_ledger_page_has_the_verdict_that_a_check_gives(name: str) -> None:
    (entry,) = superconsistency.verify([CLAIMS[name]], superconsistency.Settings())
    assert LEDGER[name][3] == str(entry.verdict)


def test_the_readmes_claims_have_the_ledgers_sources_and_verdicts() -> None:
    for name, (_, source, verdict) in _rows(README).items():
        assert (source, verdict) == (CLAIMS[name].source, LEDGER[name][3]), name
