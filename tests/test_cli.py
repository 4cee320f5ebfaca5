from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from superconsistency import claims, open_results
from superconsistency.claims.checks import derivation_of
from superconsistency.cli import main
from superconsistency.neural.data.cifar import CIFAR_FOLDER, TRAINING_FILES
from superconsistency.records import load_record
from superconsistency.runner import network_model
from superconsistency.theory import symbolic
from superconsistency.theory.symbolic import published_formulas

FAST = ["--widths", "2,3", "--steps", "4", "--seeds", "2"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    out, err = capsys.readouterr()
    code = stop.value.code
    return (code if isinstance(code, int) else -1), out, err


class Importer:
    """A pickle that imports `os` when it is loaded."""

    def __reduce__(self) -> Any:
        return __import__, ("os",)


def cifar_folder(root: Path, third: bytes) -> str:
    """CIFAR-10 with two images a file, the third file replaced."""
    good = pickle.dumps({"data": np.zeros((2, 3072), dtype=np.uint8), "labels": [1, 2]}, protocol=3)
    (root / CIFAR_FOLDER).mkdir()
    for name in TRAINING_FILES:
        (root / CIFAR_FOLDER / name).write_bytes(third if name.endswith("3") else good)
    return str(root)


BAD = {
    "unknown parametrization": (["simulate", "--parametrization", "ntk"], "ntp, mup, sp"),
    "width 0": (
        ["simulate", "--widths", "0"],
        "width is 0; accepted: a whole number of at least 1, or inf",
    ),
    "width 0 of a network": (["train", "--widths", "64,0"], "width is 0.0"),
    "negative learning rate": (
        ["train", "--learning-rate", "-0.5"],
        "learning rate is -0.5; accepted: a finite",
    ),
    "missing data folder": (["train", "--data-dir", "no/such/folder"], "no/such/folder; accepted: an"),
    "missing data folder of a verification": (["verify", "--data-dir", "nowhere"], "data folder is nowhere"),
    "missing data folder of a figure": (["figure", "1", "--data-dir", "nowhere"], "nowhere; accepted: an"),
    "unwritable output": (["simulate", *FAST, "--output", "/proc/record.nc"], "output is /proc/record.nc"),
    "NaN target": (["simulate", "--target-norm", "nan"], "target norm is nan; accepted: a number"),
    "negative target norm": (["simulate", "--target-norm", "-1"], "target norm is -1.0"),
    "huge target norm": (["simulate", "--target-norm", "1e200"], "target norm is 1e+200"),
    "huge seed": (
        ["simulate", "--seed", "9" * 20],
        "seed is 99999999999999999999; accepted: a whole",
    ),
    "huge steps": (["simulate", "--steps", "9" * 20], "steps is 9999"),
    "too many records": (
        ["simulate", "--steps", "10000000000", "--every", "1"],
        "interval of recording is 1",
    ),
    "too many seeds": (["simulate", "--seeds", "1000000000"], "number of seeds is 1000000000"),
    "huge dimension": (
        ["simulate", "--dim", "10000000", "--method", "full"],
        "dimension is 10000000; accepted: at most",
    ),
    "width beyond numbers": (["simulate", "--widths", "1e400"], "width is 1e400"),
    "repeated quantity": (["simulate", "--record", "loss,loss"], "recorded quantities"),
    "unknown quantity": (["simulate", "--record", "joy", "--output", "new/a.nc"], "recorded quantity is joy"),
    "picture for a record": (["simulate", "--output", "x.png", "--figure", "x.png"], "--figure is x.png"),
    "endless name": (["simulate", *FAST, "--output", "a" * 300], "File name too long"),
    "no limit": (
        ["simulate", "--parametrization", "sp", "--start", "limit"],
        "parametrization at infinite width is SP",
    ),
    "huge network": (
        ["train", "--widths", "1000000"],
        "width is 1000000; accepted: a whole number",
    ),
    "huge learning rate": (["train", "--learning-rate", "1e300"], "learning_rate is 1e+300"),
    "huge batch": (["train", "--batch-size", "100000"], "batch size is 100000; accepted: 1 to 1797"),
    "device without numbers": (["train", "--device", "meta"], "device is meta"),
    "unknown figure": (["figure", "99"], "figure is 99; accepted: 1, 2, 3, 5, 10, 24"),
    "steps -1": (["simulate", "--steps", "-1"], "steps is -1; accepted: a whole number of at least 0"),
    "steps -1 of a network": (["train", "--steps", "-1"], "steps is -1"),
    "no number": (["simulate", "--widths", "64,many"], "width is 64,many; accepted: numbers"),
    "no seeds": (["simulate", "--seeds", "0"], "number of seeds is 0"),
    "negative seed": (["verify", "--seed", "-2"], "seed is -2"),
    "unknown device": (["train", "--device", "abacus"], "device is abacus"),
    "unknown claim": (["verify", "--only", "theorem-9"], "--only is theorem-9"),
    "unknown scale": (["figure", "10", "--scale", "moon"], "scale is moon; accepted: smoke, laptop, paper"),
    "unknown picture": (["simulate", *FAST, "--figure", "a.xyz"], "type of the picture is .xyz"),
    "unknown option": (["train", "--width-of-sky", "3"], "--width-of-sky"),
    "word for a number": (["simulate", "--steps", "ten"], "steps"),
    "unknown command": (["dance"], "dance"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(
    case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, words = BAD[case]
    code, out, err = run(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert words in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "words"), [(b"\x80\x02}", "data_batch_3"), (pickle.dumps(Importer()), "refused")]
)
def test_bad_data_files_are_one_line_and_exit_code_2(
    content: bytes,
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "train", "--data-dir", cifar_folder(tmp_path, content))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert [path.name for path in tmp_path.iterdir()] == [CIFAR_FOLDER]


def test_simulate_prints_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "simulate", *FAST, "--widths", "3,inf", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["coords"]["width"]["data"] == [3.0, "inf"]
    assert set(document["data_vars"]) >= {"loss", "sharpness", "diverged_step"}
    assert document["attrs"]["versions"]["superconsistency"]


def test_simulate_prints_a_table_and_keeps_what_it_is_told_to(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    record, picture = tmp_path / "run.nc", tmp_path / "run.png"
    code, out, _ = run(capsys, "simulate", *FAST, "--output", str(record), "--figure", str(picture))
    assert code == 0
    assert "log-log slope on width" in out
    assert load_record(record)["loss"].shape == (2, 1, 2, 5)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_simulate_reports_divergence_as_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "simulate", *FAST, "--steps", "40", "--learning-rate", "90")
    assert code == 0
    assert "4 of 4 runs diverged" in out


def test_paths_are_shown_as_they_are(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "simulate", *FAST, "--output", "[red]x[/x].nc")
    assert code == 0
    assert "written: [red]x[/x].nc" in out


def test_no_arguments_print_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    assert "simulate" in out


def test_an_interrupted_rerun_keeps_the_complete_record(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "run.nc"
    command = ["train", *FAST, "--output", str(record)]
    assert run(capsys, *command)[0] == 0
    before = record.read_bytes()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(network_model, "train_grid", interrupted)
    code, _, err = run(capsys, *command)
    assert code == 130
    assert "run.runs. Rerun the same command to resume." in err
    assert record.read_bytes() == before
    assert (tmp_path / "run.runs").is_dir()


def test_train_keeps_a_record_named_after_its_configuration(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for rate in ("0.1", "0.2"):
        code, out, _ = run(capsys, "train", *FAST, "--learning-rate", rate, "--json")
        assert code == 0
        assert json.loads(out)["attrs"]["configuration"]["data"] == "digits"
    kept = list((tmp_path / "results").glob("train-mup-*.nc"))
    assert len(kept) == 2
    assert np.isfinite(load_record(kept[0])["sharpness"]).all()


def test_a_killed_training_keeps_what_it_had(tmp_path: Path) -> None:
    record = tmp_path / "run.nc"
    command = [sys.executable, "-m", "superconsistency", "train", "--widths", "2", "--steps", "100000"]
    with subprocess.Popen([*command, "--every", "1", "--seeds", "1", "--output", record]) as process:
        deadline = time.monotonic() + 120
        underway = tmp_path / "run.runs" / "underway"
        while not list(underway.glob("[!.]*.checkpoint")) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    assert not record.exists()
    assert not open_results(tmp_path / "run.runs")["completed"].any()
    (checkpoint,) = underway.glob("[!.]*.checkpoint")
    (kept,) = torch.load(checkpoint, weights_only=True)["state"]["record"]
    assert int(torch.isfinite(kept["loss"]).sum()) >= 1


def test_verify_prints_the_ledger_and_its_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few quick claims stand for the room."""
    chosen = {"lemma-5.2-ntk", "corollary-5.4", "eq-11-order", "sp-laws", "wishart-start", "ntp-frozen"}
    monkeypatch.setattr(claims, "CLAIMS", [claim for claim in claims.CLAIMS if claim.id in chosen])
    ledger = tmp_path / "ledger.json"
    code, out, _ = run(capsys, "verify", "--only", "theory", "--json", "--output", str(ledger))
    document = json.loads(out)
    assert code == 0
    assert document == json.loads(ledger.read_text())
    verdicts = [claim["verdict"] for claim in document["claims"]]
    assert len(verdicts) == len(chosen)
    assert set(verdicts) == {"proved", "verified", "corrected"}
    corrections = [claim["evidence"]["correction"] for claim in document["claims"]]
    assert [bool(correction) for correction in corrections] == [
        verdict == "corrected" for verdict in verdicts
    ]
    keys = {"id", "source", "kind", "verdict", "evidence", "statement", "method", "seconds", "room"}
    assert all(set(claim) == keys for claim in document["claims"])


def test_verify_prints_a_table_with_every_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "verify", "--only", "corollary-5.4")
    assert code == 0
    assert "proved" in out
    assert "1 claims: 1 proved" in out
    assert "checking corollary-5.4" in err


def test_a_single_claim_is_printed_with_its_correction_and_its_figures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = run(capsys, "verify", "--only", "proposition-5.3")
    assert code == 0
    for words in (
        "published: lambda = 2/eta0 +-",
        "instead: lambda = 2/eta0 exactly",
        "eta0 / edge",
        "0.9995",
    ):
        assert words in out


def test_the_ledger_is_written_as_a_page_where_the_file_is_called_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "ledger.md"
    run(capsys, "verify", "--only", "eq-11-order", "--output", str(page))
    text = page.read_text()
    assert text.startswith("# Ledger of 1 claims: 1 corrected\n")
    assert "| `eq-11-order` |" in text
    assert "**instead**" in text


def test_a_derivation_is_printed_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "derive", "exact-sharpness")
    assert code == 0
    assert "10. Call that matrix B_λ" in out
    assert out.rstrip().endswith("steps checked by computation; nothing is left over in any.")


def test_a_derivation_is_latex_or_json_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "derive", "5.1", "--latex")
    assert code == 0
    assert out.startswith(r"\paragraph{")
    document = json.loads(run(capsys, "derive", "5.1", "--json")[1])
    assert document["holds"]
    assert len(document["steps"]) == out.count(r"\item")


def test_the_derivations_are_listed_without_a_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of them: that each holds is tested where they are."""
    names = ("5.1", "exact-sharpness", "congruence")
    monkeypatch.setattr(symbolic, "DERIVATIONS", {name: symbolic.DERIVATIONS[name] for name in names})
    code, out, _ = run(capsys, "derive", "--json")
    listed = json.loads(out)
    assert code == 0
    assert tuple(entry["name"] for entry in listed) == names
    assert all(entry["holds"] for entry in listed)


def test_a_derivation_that_fails_says_where_and_is_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(published_formulas.PUBLISHED_FORMULAS, "5.3-sharpness", lambda eta0: 1 / eta0)
    code, out, _ = run(capsys, "derive", "5.3")
    assert code == 1
    assert "[FAILS: left over 1/eta_0]" in " ".join(out.split())
    assert "NOT all of them hold" in out


def test_an_unknown_derivation_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "derive", "6.6")
    assert (code, out) == (2, "")
    assert err.startswith("error: derivation is 6.6; accepted: 5.1, 5.2")
    assert err.count("\n") == 1


@pytest.mark.parametrize("options", [["--latex"], ["5.1", "--latex", "--json"]])
def test_latex_needs_one_name_and_no_other_form(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "derive", *options)
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_wishart_starts_reach_widths_that_no_weights_do(capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "--widths",
        "64,1e12",
        "--dim",
        "3",
        "--steps",
        "4",
        "--seeds",
        "2",
        "--start",
        "wishart",
        "--json",
    ]
    code, out, _ = run(capsys, "simulate", *options)
    assert code == 0
    assert json.loads(out)["coords"]["width"]["data"] == [64.0, 1e12]


def test_a_refuted_claim_is_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    formula = published_formulas.theorem_5_1_formula

    def with_a_wrong_sign(state: Any, target: Any, eta0: Any, coupling: Any) -> Any:
        return formula(state, target, -eta0, coupling)

    monkeypatch.setitem(published_formulas.PUBLISHED_FORMULAS, "5.1", with_a_wrong_sign)
    derivation_of.cache_clear()
    code, out, _ = run(capsys, "verify", "--only", "theorem-5.1-w", "--json")
    assert code == 1
    assert json.loads(out)["claims"][0]["verdict"] == "refuted"
    derivation_of.cache_clear()


def test_a_figure_is_written_with_what_produced_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = run(capsys, "figure", "10", "--scale", "smoke", "--output", str(tmp_path), "--json")
    document = json.loads(out)
    assert code == 0
    assert [Path(file).suffix for file in document["files"]] == [".pdf", ".png", ".json"]
    beside = json.loads((tmp_path / "figure-10.json").read_text())
    assert beside["verdict"] == document["verdict"]
    assert beside["versions"]["superconsistency"]


@pytest.mark.parametrize("command", ["verify", "simulate", "train", "figure"])
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert "Example: superconsistency" in out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--version")
    assert code == 0
    assert out.strip().count(".") == 2
