"""What is recorded once and replayed, with a stand-in for CUDA's graphs that runs the recording again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural import Grid, TrainingConfig, load_dataset, train_grid
from superconsistency.neural.training import graphs
from superconsistency.theory import parametrization


class Stream:
    def wait_stream(self, _other: Stream) -> None:
        """There is one."""


class Graph:
    """Replays by calling again and writing into the recorded results."""

    def __init__(self) -> None:
        self.call: Callable[[], Any] = lambda: None
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        self.call()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """Every graph that is recorded."""
    found: list[Graph] = []

    def new() -> Graph:
        found.append(Graph())
        return found[-1]

    @contextmanager
    def recording(graph: Graph) -> Iterator[None]:
        yield
        assert graph is found[-1]

    monkeypatch.setattr(torch.cuda, "CUDAGraph", new)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _stream: nullcontext())
    return found


def replaying(recorded: graphs.Recorded, graph: Graph) -> None:
    """Let a replay do what the device would: the same operations, into the kept results."""

    def again() -> None:
        losses, gradients = recorded.function(recorded.inputs, recorded.targets)
        recorded.results[0].copy_(losses)
        for kept, new in zip(recorded.results[1], gradients, strict=True):
            kept.copy_(new)

    graph.call = again


def test_a_replay_sees_the_new_batch_and_gives_what_the_function_gives(made: list[Graph]) -> None:
    weight = torch.tensor([2.0, 3.0], requires_grad=True)

    def function(
        inputs: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        loss = ((inputs @ weight - targets) ** 2).mean()
        return loss.detach(), torch.autograd.grad(loss, [weight])

    recorded = graphs.Recorded(function)
    generator = torch.Generator().manual_seed(0)
    recorded(torch.ones(4, 2), torch.zeros(4))
    replaying(recorded, made[0])
    for _ in range(3):
        batch = torch.randn(4, 2, generator=generator), torch.randn(4, generator=generator)
        losses, gradients = recorded(*batch)
        expected, slopes = function(*batch)
        assert torch.equal(losses, expected)
        assert torch.equal(gradients[0], slopes[0])
    assert len(made) == 1
    assert made[0].replays == 4


def test_graphs_are_refused_without_a_cuda_device() -> None:
    grid = Grid(TrainingConfig(parametrization("mup"), steps=1, batch_size=8), (2,), (0.1,), (0,))
    with pytest.raises(InputError, match="cuda graphs is cpu; accepted: a CUDA device"):
        train_grid(grid, load_dataset("digits", examples=32), cuda_graphs=True)
