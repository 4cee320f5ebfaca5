from __future__ import annotations

import io
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.neural.loading import (
    DEFAULT_EXAMPLES,
    build_model,
    load_batch,
    load_checkpoint,
    load_factory,
)
from torch import nn

MODELS = """
import torch
from torch import nn
import sibling

def model():
    return nn.Linear(sibling.WIDTH, 2)

def pair():
    made = nn.Linear(3, 2)
    return made, torch.optim.Adam(made.parameters())

def data():
    return torch.randn(6, 3), torch.arange(6)

def number():
    return 3

def wrong_pair():
    return nn.Linear(3, 2), 0.1

def failing():
    raise KeyError("no\\nsuch thing")

def stopping():
    raise SystemExit(3)

def needing(width):
    return nn.Linear(width, 2)

CONSTANT = 5
"""


class Runner:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of factories, with a module beside it that it imports."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "sibling.py").write_text("WIDTH = 3\n")
    (tmp_path / "code" / "models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "sibling", raising=False)
    return "code/models.py"


def test_a_model_is_built_from_a_file_that_imports_its_neighbours(models: str) -> None:
    before = list(sys.path)
    built = build_model(f"{models}:model")
    assert isinstance(built.model, nn.Linear)
    assert built.optimizer is None
    assert sys.path == before


def test_a_model_is_built_from_a_module_in_the_current_folder(
    models: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(models).parent)
    built = build_model("models:pair")
    sys.modules.pop("models")
    assert isinstance(built.optimizer, torch.optim.Adam)


def test_a_seed_fixes_initialisation_and_random_data_and_leaves_the_random_state(models: str) -> None:
    before = torch.random.get_rng_state()
    first, same, other = (build_model(f"{models}:model", seed).model for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = [next(model.parameters()) for model in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    drawn = [load_batch(f"{models}:data", 4, seed=3).batch.hash for _ in range(2)]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("models.py", "colon"),
        (":model", "colon"),
        ("nowhere.py:model", "there is no such file"),
        ("{}:absent", "has no absent"),
        ("{}:CONSTANT", "CONSTANT is of type int"),
        ("{}:number", "it returned int, not an nn.Module"),
        ("{}:wrong_pair", "beside the model it returned float"),
        ("{}:failing", "KeyError"),
        ("{}:stopping", "SystemExit: 3"),
        ("{}:needing", "missing 1 required positional argument"),
        ("no_such_package.models:model", "there is no module no_such_package"),
        ("os.path.nothing:model", "os.path"),
    ],
)
def test_a_function_that_cannot_be_used_is_one_line(models: str, spec: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        build_model(spec.format(models))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_whose_import_fails_is_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    for text, words in (("import no_such_thing", "no_such_thing"), ("1 +", "SyntaxError"), ("1 / 0", "Zero")):
        broken.write_text(text)
        with pytest.raises(InputError, match=words):
            load_factory(f"{broken}:model")


def saved(folder: Path, kind: str) -> Path:
    """Five examples in a file of a kind."""
    inputs, targets = np.arange(15.0).reshape(5, 3), np.arange(5, dtype=np.uint8)
    path = folder / f"data.{kind}"
    if kind == "npz":
        np.savez(path, inputs=inputs.astype(">f8"), targets=targets)
    else:
        torch.save({"inputs": torch.tensor(inputs), "targets": torch.tensor(targets)}, path)
    return path


@pytest.mark.parametrize("kind", ["npz", "pt"])
def test_files_of_arrays_give_their_examples(kind: str, tmp_path: Path) -> None:
    drawn = load_batch(saved(tmp_path, kind))
    assert drawn.available == 5
    assert drawn.batch.inputs.tolist() == np.arange(15.0).reshape(5, 3).tolist()
    assert drawn.batch.targets.dtype == torch.int64


def test_the_default_is_the_digits() -> None:
    drawn = load_batch(None)
    assert (drawn.name, drawn.batch.examples, drawn.available) == ("digits", DEFAULT_EXAMPLES, 1797)


@given(examples=st.integers(1, 30), seed=st.integers(0, 2**63 - 1))
def test_examples_are_drawn_without_repetition_in_their_own_order(examples: int, seed: int) -> None:
    digits = load_batch(None, 1797).batch.inputs[:, 0].flatten(1)
    drawn = load_batch(None, examples, seed).batch.inputs[:, 0].flatten(1)
    places = [int((digits == one).all(1).nonzero()[0]) for one in drawn]
    assert places == sorted(set(places))
    assert len(places) == examples


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"inputs": np.zeros((3, 2))}, "no targets"),
        ({"inputs": np.zeros((3, 2)), "targets": np.zeros(2)}, "3 inputs and 2 targets"),
        ({"inputs": np.zeros((0, 2)), "targets": np.zeros(0)}, "0 inputs and 0 targets"),
        ({"inputs": np.full((2, 2), np.nan), "targets": np.zeros(2)}, "NaN"),
        ({"inputs": np.array(["a", "b"]), "targets": np.zeros(2)}, "inputs are an array of <U1"),
        ({"inputs": np.array([{}, {}]), "targets": np.zeros(2)}, "allow_pickle"),
        ({"inputs": np.float64(1), "targets": np.float64(1)}, "one number"),
    ],
)
def test_arrays_that_are_no_examples_are_one_line(
    content: dict[str, Any], words: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "data.npz", **content)
    with pytest.raises(InputError, match=words):
        load_batch(tmp_path / "data.npz")


def test_more_examples_than_there_are_and_unknown_kinds_of_data_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, "pt")
    for examples in (0, 6):
        with pytest.raises(InputError, match=f"examples is {examples}; accepted: 1 to 5"):
            load_batch(path, examples)
    with pytest.raises(InputError, match=r"data is data\.csv"):
        load_batch("data.csv")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(InputError, match="data is"):
        load_batch(tmp_path / "cut.npz")


def zipped(header: bytes, flags: int = 0) -> bytes:
    """An archive with one array of this header, marked with these flags."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        member = zipfile.ZipInfo("inputs.npy")
        file.writestr(member, b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    content = bytearray(buffer.getvalue())
    content[content.index(b"PK\x01\x02") + 8] |= flags
    content[6] |= flags
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\x93NUMPY\x01\x00\x46\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}"
                     .ljust(69) + b"\n" + bytes(8), id="one array"),
        pytest.param(zipped(b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999,)}\n"),
                     id="vast"),
        pytest.param(zipped(b"{'descr': (((\n"), id="no header"),
        pytest.param(zipped(b"{}\n", flags=1), id="encrypted"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_archive_of_arrays_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(InputError, match="data is") as caught:
        load_batch(tmp_path / "data.npz")
    assert "\n" not in str(caught.value)


def test_files_cannot_run_code(tmp_path: Path, models: str) -> None:
    mark, hostile = tmp_path / "mark", tmp_path / "hostile.pt"
    torch.save(Runner(mark), hostile)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Runner(mark)))
    built = build_model(f"{models}:model")
    for path in (hostile, tmp_path / "plain.pt"):
        with pytest.raises(InputError, match="data is"):
            load_batch(path)
        with pytest.raises(InputError, match="checkpoint is"):
            load_checkpoint(path, built)
    assert not mark.exists()


def test_a_checkpoint_gives_weights_and_the_optimizers_state(models: str, tmp_path: Path) -> None:
    trained = build_model(f"{models}:pair", seed=1)
    assert trained.optimizer is not None
    trained.model(torch.ones(1, 3)).sum().backward()
    trained.optimizer.step()
    torch.save(
        {"model": trained.model.state_dict(), "optimizer": trained.optimizer.state_dict()}, tmp_path / "c.pt"
    )
    torch.save(trained.model.state_dict(), tmp_path / "weights.pt")
    for name in ("c.pt", "weights.pt"):
        fresh = build_model(f"{models}:pair", seed=2)
        load_checkpoint(tmp_path / name, fresh)
        assert fresh.optimizer is not None
        assert all(
            torch.equal(a, b)
            for a, b in zip(fresh.model.parameters(), trained.model.parameters(), strict=True)
        )
        assert bool(fresh.optimizer.state) == (name == "c.pt")


def test_a_checkpoint_that_does_not_fit_is_one_line(models: str, tmp_path: Path) -> None:
    built = build_model(f"{models}:model")
    path = tmp_path / "c.pt"
    for content in (nn.Linear(4, 2).state_dict(), {"model": {"weight": 3}}, [1, 2], {}):
        torch.save(content, path)
        with pytest.raises(InputError, match=r"checkpoint is .*the state of this Linear") as caught:
            load_checkpoint(path, built)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="checkpoint is"):
        load_checkpoint(tmp_path / "absent.pt", built)
