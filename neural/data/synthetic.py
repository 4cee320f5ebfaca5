"""Data whose law is known: a random linear teacher, the whitened data of Section 5, a chain of tokens."""

from __future__ import annotations

import math

import torch

from ...errors import invalid, require_whole
from ...records import array_hash
from .dataset import TOKENS, VECTORS, Dataset


def gaussian_regression(
    examples: int,
    dimension: int,
    outputs: int,
    generator: torch.Generator,
    *,
    noise: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> Dataset:
    """Draw Gaussian inputs and what a random linear teacher says of them.

    Inputs and the teacher's weights are independent standard normal numbers and the teacher divides by the
    square root of the dimension, so that targets have mean square `1 + noise^2` in expectation, whatever the
    dimension.

    Parameters
    ----------
    examples, dimension, outputs
        Inputs have shape (examples, dimension), targets (examples, outputs).
    generator
        On the CPU.
    noise
        Standard deviation of what is added to the targets.
    dtype
        Type of inputs and targets, which are always drawn in double precision.

    Raises
    ------
    InputError
        If a size is not a whole number of at least 1, or the noise is negative or not finite.
    """
    for name, value in (("examples", examples), ("dimension", dimension), ("outputs", outputs)):
        require_whole(name, value, least=1, example=64)
    if not (math.isfinite(noise) and noise >= 0):
        raise invalid(
            "noise", noise, accepted="a finite number of at least 0", remedy="pass 0.1, for example"
        )
    teacher = _normal((dimension, outputs), generator) / math.sqrt(dimension)
    inputs = _normal((examples, dimension), generator)
    targets = inputs @ teacher + noise * _normal((examples, outputs), generator)
    return _regression("gaussian regression", inputs.to(dtype), targets.to(dtype))


def markov_tokens(
    examples: int, time: int, tokens: int, generator: torch.Generator, *, successors: int = 4
) -> Dataset:
    """Draw sequences of tokens, each of which is followed by one of a few, all equally likely.

    The least mean cross-entropy that any model reaches is `log(successors)`.

    Parameters
    ----------
    examples, time, tokens
        Inputs and targets, the next tokens, have shape (examples, time); the vocabulary's size.
    generator
        On the CPU.
    successors
        How many different tokens may follow one, at most all.

    Raises
    ------
    InputError
        If a size is not a whole number of at least 1.
    """
    for name, value in (("examples", examples), ("time", time), ("tokens", tokens)):
        require_whole(name, value, least=1, example=64)
    require_whole("successors", successors, least=1, most=tokens, example=4)
    following = torch.stack([torch.randperm(tokens, generator=generator)[:successors] for _ in range(tokens)])
    choices = torch.randint(successors, (time, examples), generator=generator)
    stream = [torch.randint(tokens, (examples,), generator=generator)]
    for choice in choices:
        stream.append(following[stream[-1], choice])
    whole = torch.stack(stream, dim=1)
    inputs, targets = whole[:, :-1].contiguous(), whole[:, 1:].contiguous()
    return Dataset(
        "random tokens", TOKENS, inputs, targets, tokens, array_hash(inputs.numpy(), targets.numpy())
    )


def whitened_regression(dimension: int, target: torch.Tensor) -> Dataset:
    """Data on which the mean half-squared error of a linear map `w` is `|w - w*|^2 / 2`.

    The examples are the columns of the identity times `sqrt(D)`, which makes up for the mean over `D` of
    them, with the target map's values; the loss is that of Section 5, Noci et al. 2024, with `X = I_D`.

    Parameters
    ----------
    dimension
        `D`: examples and the dimension of each.
    target
        `w*`, floating-point, shape (D,) or (D, outputs).

    Raises
    ------
    InputError
        If the target has another shape or is not of floating-point numbers.
    """
    require_whole("dimension", dimension, least=1, example=20)
    if target.ndim not in {1, 2} or len(target) != dimension or not target.numel():
        accepted = f"({dimension},) or ({dimension}, outputs)"
        raise invalid("shape of the target", tuple(target.shape), accepted=accepted, remedy="pass as many")
    if not target.is_floating_point():
        raise invalid("target", target.dtype, accepted="floating-point numbers", remedy="convert it first")
    scale = math.sqrt(dimension)
    inputs = scale * torch.eye(dimension, dtype=target.dtype, device=target.device)
    return _regression("whitened regression", inputs, scale * target.detach().reshape(dimension, -1))


def _normal(shape: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _regression(name: str, inputs: torch.Tensor, targets: torch.Tensor) -> Dataset:
    digest = array_hash(inputs.cpu().numpy(), targets.cpu().numpy())
    return Dataset(name, VECTORS, inputs, targets, targets.shape[1], digest)
