"""The command that measures a user's own network."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from superconsistency.cli import main
from superconsistency.cli.curvature import _known
from superconsistency.neural.curvature import (
    CURVATURE_QUANTITIES,
    NOT_CONVERGED,
    CurvatureEstimate,
    Measurements,
    Metric,
    Objective,
)
from superconsistency.neural.curvature.estimates import CERTIFIED
from superconsistency.neural.loading import build_model, load_batch

from .user_file import USER_FILE

MODELS = f"""{USER_FILE}
def sgd():
    made = model()
    groups = [{{"params": made[0].parameters(), "lr": 0.2}}, {{"params": made[2].parameters(), "lr": 0.05}}]
    return made, torch.optim.SGD(groups, momentum=0.5)

def others():
    return model(), torch.optim.SGD(model().parameters(), lr=0.1)

def part():
    made = model()
    return made, torch.optim.SGD(made[2].parameters(), lr=0.1)

def half():
    return model().bfloat16()

def adam():
    made = model()
    return made, torch.optim.Adam(made.parameters(), lr=0.01)

def stepped():
    made, optimizer = adam()
    inputs, targets = data()
    nn.functional.cross_entropy(made(inputs.double()), targets).backward()
    optimizer.step()
    return made, optimizer

def small_language():
    return Language(100)

class Leaving(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x):
        raise SystemExit("enough")

def leaving():
    return Leaving()

def leave(*arguments):
    raise SystemExit("enough")

def dropping():
    return nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3))

def diverged():
    made = model()
    with torch.no_grad():
        made[0].weight.fill_(float("inf"))
    return made

class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x):
        import time
        time.sleep(0.05)
        return self.layer(x)

def data():
    return torch.randn(20, 5), torch.arange(20) % 3

def regression():
    return torch.randn(20, 5), torch.randn(20, 3)

def loss(outputs, targets):
    return (outputs - nn.functional.one_hot(targets, 3)).pow(4).mean()
"""


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with models.py in it."""
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "book.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 20)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["curvature", *arguments])
    out, err = capsys.readouterr()
    code = stop.value.code
    return (code if isinstance(code, int) else -1), out, err


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What the command prints with --json, on the small data."""
    code, out, err = run(capsys, *arguments, "--data", "models.py:data", "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def dense(factory: str, metric: bool = False) -> torch.Tensor:
    """The dense Hessian of a factory's model, by itself or in its optimizer's metric with base rate 1."""
    built, batch = build_model(factory), load_batch("models.py:data", seed=0).batch
    objective = Objective(built.model)
    weights = torch.cat([value.detach().flatten() for value in built.model.parameters()])

    def loss(flat: torch.Tensor) -> torch.Tensor:
        pieces = torch.split(flat, [value.numel() for value in built.model.parameters()])
        leaves = {
            name: piece.view_as(value)
            for (name, value), piece in zip(built.model.named_parameters(), pieces, strict=True)
        }
        outputs = torch.func.functional_call(built.model, leaves, (batch.inputs.double(),))
        return torch.nn.functional.cross_entropy(outputs, batch.targets)

    matrix: torch.Tensor = torch.func.jacrev(torch.func.jacrev(loss))(weights)
    if metric:
        assert built.optimizer is not None
        roots = Metric.from_optimizer(built.optimizer, objective.parameters).roots
        root = torch.cat(
            [
                torch.full((value.numel(),), one, dtype=torch.float64)
                if isinstance(one, float)
                else one.flatten()
                for one, value in zip(roots, built.model.parameters(), strict=True)
            ]
        )
        matrix = root[:, None] * matrix * root
    return matrix


def test_all_quantities_are_measured_and_stdout_holds_one_document(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = document(capsys, "models.py:model", "--count", "2", "--tolerance", "1e-6")
    assert set(found["estimates"]) == {*CURVATURE_QUANTITIES, "eigenvalue_2"}
    eigenvalues = torch.linalg.eigvalsh(dense("models.py:model"))
    for name, place in (("sharpness", -1), ("eigenvalue_2", -2), ("smallest_eigenvalue", 0)):
        estimate = found["estimates"][name]
        assert estimate["kind"] == "certified"
        assert abs(estimate["value"] - float(eigenvalues[place])) <= estimate["error"]
    assert found["complete"]
    assert found["edge_of_stability"] is None
    assert len(found["data_hash"]) == len(found["weights_hash"]) == 64


@pytest.mark.parametrize(("factory", "base", "edge"), [("sgd", 0.2, 3.0), ("stepped", 0.01, 38.0)])
def test_the_optimizer_gives_metric_and_edge(
    factory: str, base: float, edge: float, capsys: pytest.CaptureFixture[str]
) -> None:
    found = document(capsys, f"models.py:{factory}", "--quantities", "sharpness", "--tolerance", "1e-6")
    expected = float(torch.linalg.eigvalsh(dense(f"models.py:{factory}", metric=True))[-1]) / base
    assert found["estimates"]["sharpness"]["value"] == pytest.approx(expected, rel=1e-6)
    assert found["edge_of_stability"] == pytest.approx(edge / base)
    plain = document(capsys, f"models.py:{factory}", "--plain", "--quantities", "sharpness")
    top = float(torch.linalg.eigvalsh(dense(f"models.py:{factory}"))[-1])
    assert plain["estimates"]["sharpness"]["value"] == pytest.approx(top, rel=1e-3)
    assert plain["optimizer"] is None


def test_the_table_says_where_the_edge_is(capsys: pytest.CaptureFixture[str]) -> None:
    common = ("--data", "models.py:data", "--quantities", "loss,sharpness")
    code, out, err = run(capsys, "models.py:model", *common, "--learning-rate", "0.5")
    assert (code, "noise" in out, "noise" in err) == (0, False, True)
    assert "at eta0 = 0.5 the edge of stability is at 4;" in out
    assert "certified: within the error, by a residual" in out
    assert "20 of 20 examples" in out
    _, out, _ = run(capsys, "models.py:model", *common)
    assert "gradient descent is stable here up to eta0 =" in out


def test_an_optimizer_of_a_part_of_the_model_is_said_to_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "models.py:part", "--data", "models.py:data", "--quantities", "sharpness")
    assert code == 0
    assert "in the metric of SGD, which trains 2 of 4 tensors" in out


def test_nothing_is_said_of_stability_from_a_sharpness_that_did_not_converge() -> None:
    known = CurvatureEstimate(1.0, 1e-3, CERTIFIED, 3)
    for kind, value in ((CERTIFIED, 1.0), (NOT_CONVERGED, None)):
        found = Measurements({"sharpness": known._replace(kind=kind)}, 8, 4, "", 3, 0.1)
        assert _known(found, "sharpness") == value


def test_losses_are_chosen_by_name_or_function(capsys: pytest.CaptureFixture[str]) -> None:
    batch = load_batch("models.py:data", seed=0).batch
    outputs = build_model("models.py:model").model(batch.inputs.double())
    errors = outputs - torch.nn.functional.one_hot(batch.targets, 3)
    for loss, expected in (
        ("mse", errors.square().mean()),
        ("models.py:loss", errors.pow(4).mean()),
    ):
        found = document(capsys, "models.py:model", "--loss", loss, "--quantities", "loss")
        assert found["estimates"]["loss"]["value"] == pytest.approx(expected.item(), rel=1e-12)


def test_evaluation_mode_and_double_precision_are_options(capsys: pytest.CaptureFixture[str]) -> None:
    common = ("models.py:dropping", "--quantities", "loss")
    training, evaluation = document(capsys, *common), document(capsys, *common, "--eval", "--double")
    assert (training["mode"], training["dtype"]) == ("training", "float32")
    assert (evaluation["mode"], evaluation["dtype"]) == ("evaluation", "float64")
    batch = load_batch("models.py:data", seed=0).batch
    outputs = build_model("models.py:dropping").model.eval()(batch.inputs)
    expected = torch.nn.functional.cross_entropy(outputs, batch.targets)
    assert evaluation["estimates"]["loss"]["value"] == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_parts_and_ways_of_differentiation_give_equal_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    common = ("models.py:model", "--quantities", "loss,sharpness,gradient_norm", "--tolerance", "1e-8")
    whole = document(capsys, *common)
    for more in (
        ("--examples-at-once", "7"),
        ("--differentiation", "forward"),
        ("--differentiation", "auto"),
    ):
        other = document(capsys, *common, *more)
        for name, estimate in whole["estimates"].items():
            assert other["estimates"][name]["value"] == pytest.approx(estimate["value"], rel=1e-7)
    assert other["differentiation"] in {"reverse", "forward"}


def test_a_diverged_network_is_a_result(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "models.py:diverged", "--figure", "spectrum.png")
    undefined = {name for name, one in found["estimates"].items() if one["kind"] == "undefined"}
    assert undefined == set(CURVATURE_QUANTITIES)
    assert found["estimates"]["sharpness"]["note"] == "the loss is not finite: the network has diverged"
    assert not (models / "spectrum.png").exists()


def test_a_picture_and_a_document_are_written(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "models.py:model", "--output", "c.json", "--figure", "spectrum.png")
    assert json.loads((models / "c.json").read_text()) == found
    assert (models / "spectrum.png").read_bytes().startswith(b"\x89PNG")


def test_a_killed_measurement_keeps_what_it_had(models: Path) -> None:
    with (models / "models.py").open("a") as file:
        file.write("\ndef slow():\n    return Slow()\n")
    begun = [sys.executable, "-m", "superconsistency", "curvature", "models.py:slow"]
    options = ["--data", "models.py:data", "--examples-at-once", "1", "--output", "kept.json"]
    process = subprocess.Popen([*begun, *options], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (models / "kept.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = json.loads((models / "kept.json").read_text())
    assert not kept["complete"]
    assert math.isfinite(kept["estimates"]["loss"]["value"])


BAD = {
    "no such file": (["nowhere.py:model"], "function is nowhere.py"),
    "no function": (["models.py"], "function is models.py"),
    "warm-up": (["models.py:warming"], "learning rate of SGD is 0 in all groups"),
    "another model's optimizer": (["models.py:others"], "optimizer is SGD; accepted: one that holds"),
    "half precision": (
        ["models.py:half"],
        "parameter 0.weight is bfloat16; accepted: trained parameters in float32, float64",
    ),
    "unknown loss": (["models.py:model", "--loss", "joy"], "loss is joy; accepted: cross-entropy, token"),
    "unknown quantity": (["models.py:model", "--quantities", "joy"], "quantity is joy"),
    "data that do not fit": (
        ["models.py:model", "--data", ""],
        "model is not to be evaluated: RuntimeError in 0",
    ),
    "targets that do not fit": (["models.py:dropping", "--data", "models.py:regression"], ""),
    "too many examples": (["models.py:model", "--examples", "21"], "examples is 21; accepted: 1 to 20"),
    "negative rate": (["models.py:model", "--learning-rate", "-1"], "learning rate is -1"),
    "no decay": (["models.py:model", "--weight-decay", "some"], "weight decay is some; accepted: auto or"),
    "negative decay": (["models.py:model", "--weight-decay", "-1"], "weight decay is -1"),
    "no output": (["models.py:model", "--output-key", "logits"], "output is logits"),
    "a setting of text": (["models.py:model", "--sequence", "5"], "sequence is 5; accepted: none"),
    "few tokens": (
        ["models.py:small_language", "--data", "book.txt"],
        "largest token of book.txt, bytes is 122; accepted: 0 to 99: word has num_embeddings=100",
    ),
    "no data": (["models.py:model", "--data", "nothing.csv"], "data is nothing.csv; accepted: an .npz"),
    "exit in the data": (["models.py:model", "--data", "models.py:leave"], "SystemExit: enough"),
    "exit in the factory": (["models.py:leave"], "SystemExit: enough"),
    "exit in the model": (["models.py:leaving"], "SystemExit in its root (Leaving)"),
    "exit in the loss": (
        ["models.py:model", "--loss", "models.py:leave"],
        "loss leave is not to be evaluated",
    ),
    "no tolerance": (["models.py:model", "--tolerance", "0"], "tolerance is 0"),
    "kernel in parts": (
        ["models.py:model", "--quantities", "ntk_sharpness", "--examples-at-once", "2"],
        "examples at once is 2",
    ),
    "unknown differentiation": (["models.py:model", "--differentiation", "up"], "reverse, forward"),
    "unknown device": (["models.py:model", "--device", "abacus"], "device is abacus"),
    "huge seed": (["models.py:model", "--seed", str(2**70)], "seed is"),
    "no checkpoint": (["models.py:model", "--checkpoint", "absent.pt"], "checkpoint is absent.pt"),
    "unwritable output": (["models.py:model", "--output", "/proc/c.json"], "output is /proc/c.json"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, words = BAD[case]
    data = [] if "--data" in arguments else ["--data", "models.py:data"]
    arguments = [one for one in arguments if one or "--data" not in arguments]
    if arguments[-1] == "--data":
        arguments.pop()
    if case == "targets that do not fit":
        arguments += ["--loss", "models.py:loss"]
    code, out, err = run(capsys, *arguments, *data)
    lines = [line for line in err.splitlines() if line != "noise on stdout"]
    assert (code, out, len(lines)) == (2, "", 1), err
    assert words in lines[0]
