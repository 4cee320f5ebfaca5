"""The documented networks have the curvature that finite differences give."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from superconsistency.neural.curvature import Hessian
from superconsistency.neural.user_model import Choices, load_user_model

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"


def test_the_documented_resnet_has_the_curvature_of_finite_differences(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "small_resnet.py", tmp_path)
    factory = f"{tmp_path / 'small_resnet.py'}:small_resnet"
    subject = load_user_model(Choices(factory, examples=16, double=True))
    direction = torch.randn(
        subject.objective.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    direction /= torch.linalg.vector_norm(direction)
    model, step = subject.objective.model, 1e-5
    start = torch.nn.utils.parameters_to_vector(model.parameters()).detach()

    def gradient(flat: torch.Tensor) -> torch.Tensor:
        torch.nn.utils.vector_to_parameters(flat, model.parameters())
        loss = torch.nn.functional.cross_entropy(model(subject.batch.inputs), subject.batch.targets)
        return torch.cat([one.flatten() for one in torch.autograd.grad(loss, list(model.parameters()))])

    difference = (gradient(start + step * direction) - gradient(start - step * direction)) / (2 * step)
    torch.nn.utils.vector_to_parameters(start, model.parameters())
    product = Hessian(subject.objective, subject.batch)(direction)
    error = torch.linalg.vector_norm(product - difference) / torch.linalg.vector_norm(product)
    assert error < 1e-6
    assert subject.edge == pytest.approx(38.0)


def test_the_documented_language_model_has_the_curvature_of_finite_differences() -> None:
    place = EXAMPLES / "small_language_model.py"
    subject = load_user_model(
        Choices(f"{place}:bytewise", data=f"{place}:sentences", double=True, plain=True)
    )
    model, batch = subject.objective.model, subject.batch
    assert batch.inputs["attention_mask"].sum(1).tolist() == [22, 9, 8, 25]
    start = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    direction = torch.randn(len(start), dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def gradient(flat: torch.Tensor) -> torch.Tensor:
        torch.nn.utils.vector_to_parameters(flat, model.parameters())
        logits = model(batch.inputs["input_ids"], batch.inputs["attention_mask"])["logits"]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
        return torch.cat([one.flatten() for one in torch.autograd.grad(loss, list(model.parameters()))])

    step = 1e-5
    difference = (gradient(start + step * direction) - gradient(start - step * direction)) / (2 * step)
    torch.nn.utils.vector_to_parameters(start, model.parameters())
    product = Hessian(subject.objective, batch)(direction)
    error = torch.linalg.vector_norm(product - difference) / torch.linalg.vector_norm(product)
    assert error < 1e-7
