"""Models of the transformers library are measured by one command each, without a wrapper."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from superconsistency.cli import main
from superconsistency.neural.loading import DataReading, build_model, load_batch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from .user_code import slope_and_matrix

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Draw = random.Random

pytest.importorskip("transformers")

WORDS = 9
"""Different words in the text, and outputs of language models."""
TIME, CLASSES, SIDE = 5, 3, 8
READING = DataReading(sequence=TIME, level="word", vocabulary=WORDS)

FACTORIES = """
import json
import numpy as np
import torch
import transformers

SETTINGS = json.loads({settings!r})

def gpt2():
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**SETTINGS))

def llama():
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SETTINGS))

def bert():
    return transformers.BertForSequenceClassification(transformers.BertConfig(**SETTINGS))

def vit():
    return transformers.ViTForImageClassification(transformers.ViTConfig(**SETTINGS))

def sentences():
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, 6, (8, 1), generator=generator)
    mask = (torch.arange(5) < lengths).long()
    tokens = torch.randint(1, 9, (8, 5), generator=generator) * mask
    return {{"input_ids": tokens, "attention_mask": mask, "labels": torch.arange(8) % 3}}
"""


def _dropout(draw: Draw) -> float:
    return draw.choice((0.0, 0.0, 0.2))


def _gpt2(draw: Draw) -> dict[str, Any]:
    rate = _dropout(draw)
    return {
        "vocab_size": WORDS, "n_positions": TIME, "n_embd": 4, "n_layer": draw.choice((1, 2)),
        "n_head": draw.choice((1, 2)), "n_inner": draw.choice((4, 6)), "initializer_range": 0.4,
        "activation_function": draw.choice(("gelu_new", "silu", "tanh")), "resid_pdrop": rate,
        "embd_pdrop": rate, "attn_pdrop": rate, "tie_word_embeddings": draw.choice((True, False)),
        "scale_attn_by_inverse_layer_idx": draw.choice((True, False)), "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip


def _llama(draw: Draw) -> dict[str, Any]:
    heads = draw.choice((2, 4))
    return {
        "vocab_size": WORDS, "hidden_size": 2 * heads, "num_attention_heads": heads,
        "num_key_value_heads": draw.choice((1, 2) if heads == 4 else (1,)), "intermediate_size": 6,
        "num_hidden_layers": draw.choice((1, 2)), "max_position_embeddings": 8, "initializer_range": 0.4,
        "tie_word_embeddings": draw.choice((True, False)), "attention_bias": draw.choice((True, False)),
    }  # fmt: skip


def _bert(draw: Draw) -> dict[str, Any]:
    rate = _dropout(draw)
    return {
        "vocab_size": WORDS, "hidden_size": 4, "num_attention_heads": draw.choice((1, 2)),
        "num_hidden_layers": draw.choice((1, 2)), "intermediate_size": 6, "max_position_embeddings": TIME,
        "num_labels": CLASSES, "initializer_range": 0.4, "hidden_act": draw.choice(("gelu", "relu", "silu")),
        "hidden_dropout_prob": rate, "attention_probs_dropout_prob": rate,
    }  # fmt: skip


def _vit(draw: Draw) -> dict[str, Any]:
    return {
        "hidden_size": 4, "num_attention_heads": draw.choice((1, 2)), "intermediate_size": 6,
        "num_hidden_layers": draw.choice((1, 2)), "image_size": SIDE, "patch_size": 4, "num_labels": CLASSES,
        "initializer_range": 0.4, "hidden_dropout_prob": _dropout(draw), "num_channels": 3,
        "qkv_bias": draw.choice((True, False)),
    }  # fmt: skip


class Family(NamedTuple):
    """Models of one kind."""

    settings: Callable[[Draw], dict[str, Any]]
    data: str
    options: tuple[str, ...] = ()
    reading: DataReading = DataReading()
    error: float = 1e-8
    """Largest relative error, and tolerance of the sharpness."""


TEXT = ("--sequence", str(TIME), "--level", "word", "--vocabulary", str(WORDS))

FAMILIES = {
    "gpt2": Family(_gpt2, "book.txt", TEXT, READING),
    "llama": Family(_llama, "book.txt", TEXT, READING, 1e-5),  # its RMSNorm computes in float32
    "bert": Family(_bert, "models.py:sentences"),
    "vit": Family(_vit, "images", ("--side", str(SIDE)), DataReading(side=SIDE)),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a text and images in it."""
    draw = random.Random(0)  # noqa: S311
    words = [f"word{draw.randrange(WORDS + 2)}" for _ in range(12 * TIME + 1)]
    (tmp_path / "book.txt").write_text(" ".join(words))
    generator = np.random.default_rng(0)
    for label in range(CLASSES):
        place = tmp_path / "images" / f"class{label}"
        place.mkdir(parents=True)
        for index in range(3):
            pixels = generator.integers(256, size=(SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What `superconsistency curvature` prints."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["curvature", *arguments, "--json"])
    out, err = capsys.readouterr()
    assert stop.value.code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def expected(factory: str, family: Family) -> dict[str, float]:
    """What the same model has on the same examples, from its dense Hessian."""
    model = build_model(factory).model.double()
    inputs, targets = load_batch(family.data, seed=0, reading=family.reading).batch
    inputs = inputs.double() if isinstance(inputs, torch.Tensor) and inputs.is_floating_point() else inputs
    with sdpa_kernel(SDPBackend.MATH), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        logits = (model(**inputs) if isinstance(inputs, dict) else model(inputs)).logits
        loss = functional.cross_entropy(logits.flatten(0, -2), targets.flatten())
        slope, matrix = slope_and_matrix(loss, model.parameters())
    values = torch.linalg.eigvalsh(0.5 * (matrix + matrix.T))
    return {
        "loss": float(loss.detach()),
        "gradient_norm": float(slope.norm()),
        "sharpness": float(values[-1]),
        "hessian_trace": float(matrix.trace()),
        "parameters": len(slope),
    }


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", FAMILIES)
def test_a_random_transformer_is_measured_in_one_command(
    name: str,
    seed: int,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    family = FAMILIES[name]
    settings = family.settings(random.Random(seed))  # noqa: S311
    (folder / "models.py").write_text(FACTORIES.format(settings=json.dumps(settings)))
    true = expected(f"models.py:{name}", family)
    quantities = [one for one in true if one != "parameters"]
    found = command(
        capsys, f"models.py:{name}", "--data", family.data, *family.options, "--double", "--quantities",
        ",".join(quantities), "--tolerance", str(family.error), "--trace-products", "4000",
    )  # fmt: skip
    assert found["parameters"] == true["parameters"]
    kinds = {one: found["estimates"][one]["kind"] for one in quantities}
    assert kinds["sharpness"] == "certified", found["estimates"]["sharpness"]
    assert kinds["hessian_trace"] == "exact"
    errors = {one: abs(found["estimates"][one]["value"] / true[one] - 1) for one in quantities}
    record_property(
        "measured",
        f"{name} of {true['parameters']} parameters, largest relative error {max(errors.values()):.1e}",
    )
    assert max(errors.values()) <= family.error, errors


def test_the_loss_that_a_model_returns_is_that_of_its_labels(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = _bert(random.Random(1))  # noqa: S311
    (folder / "models.py").write_text(FACTORIES.format(settings=json.dumps(settings)))
    arguments = ("models.py:bert", "--data", "models.py:sentences", "--double", "--quantities")
    own = command(capsys, *arguments, "loss,gradient_norm,sharpness", "--loss", "model")
    named = command(capsys, *arguments, "loss,gradient_norm,sharpness")
    for one, estimate in named["estimates"].items():
        assert own["estimates"][one]["value"] == pytest.approx(estimate["value"], rel=1e-9)
