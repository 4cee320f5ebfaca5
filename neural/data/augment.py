"""Random crops, flips and rotations of a batch, as one map of pixels and one gather."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from ...errors import InputError, invalid, require_whole
from .images import BLACK

_BINARY_PLACES = 16
_ONE = 1 << _BINARY_PLACES
"""Coordinates of rotated pixels are whole numbers of this part, so that every device rounds them alike."""

_LARGEST_PADDING = 4096
_LARGEST_SIDE, _LARGEST_BATCH = 2**14, 2**31


class AugmentationDraws(NamedTuple):
    """What happens to each image of a batch, every field of shape (examples,)."""

    row_shift: torch.Tensor
    """int64: the crop's first row, in pixels below the image's own first; negative ones are above it."""
    column_shift: torch.Tensor
    """int64: as `row_shift`, to the right."""
    flip: torch.Tensor
    """bool: whether left and right are exchanged."""
    angle: torch.Tensor
    """float64: rotation counterclockwise, in degrees."""


@dataclass(frozen=True)
class Augmentation:
    """Padding with a random crop, then a horizontal flip, then a rotation by the nearest pixel.

    All three only move pixels, so that together they are one map of indices, and the result is exactly what
    they give one after the other. What comes from outside the image, or from outside the crop, is black.

    Raises
    ------
    InputError
        At construction, if a setting is out of range.
    """

    padding: int = 4
    """Pixels on each side, between which the crop is drawn; 0 switches it off. Default: as is usual for
    CIFAR-10 (He et al. 2016, Section 4.2)."""
    flip: bool = True
    """Whether half of the images, at random, are flipped."""
    degrees: float = 10.0
    """Largest angle to either side; 0 switches the rotation off."""

    def __post_init__(self) -> None:
        require_whole("padding", self.padding, least=0, most=_LARGEST_PADDING, example=4)
        if not 0 <= self.degrees <= 180:
            raise invalid("degrees", self.degrees, accepted="0 to 180", remedy="pass 10, for example")

    def draw(self, count: int, generator: torch.Generator) -> AugmentationDraws:
        """Draw what happens to each of `count` images; what is switched off takes no random numbers.

        Parameters
        ----------
        count
            Examples in the batch.
        generator
            On the CPU, so that a seed means the same on every device.

        Raises
        ------
        InputError
            If the count is not a whole number of at least 1 or the generator is on another device.
        """
        require_whole("images to augment", count, least=1, example=128)
        if generator.device.type != "cpu":
            remedy = "pass torch.Generator()"
            raise invalid("device of the generator", str(generator.device), accepted="cpu", remedy=remedy)
        nothing = torch.zeros(count, dtype=torch.int64)
        rows = columns = nothing
        if self.padding:
            rows, columns = torch.randint(
                -self.padding, self.padding + 1, (2, count), generator=generator
            ).unbind()
        flip = torch.rand(count, generator=generator) < 0.5 if self.flip else nothing.bool()
        angle = nothing.double()
        if self.degrees:
            turn = torch.rand(count, generator=generator, dtype=torch.float64)
            angle = self.degrees * (2 * turn - 1)
        return AugmentationDraws(rows, columns, flip, angle)

    def apply(self, images: torch.Tensor, rows: torch.Tensor, draws: AugmentationDraws) -> torch.Tensor:
        """Take examples out of a data set, changed as drawn.

        Parameters
        ----------
        images
            The whole data set, shape (examples, channels, side, side), channels last in memory, floating-
            point numbers normalised so that black is -1.
        rows
            Which examples, int64 of shape (batch,), on any device.
        draws
            For each of them, on any device; those of operations that are switched off are not looked at.

        Returns
        -------
        torch.Tensor
            Shape (batch, channels, side, side), channels last, on the device of the images, which the host
            does not wait for.

        Raises
        ------
        InputError
            If the images are not of this form, or there are not as many draws as rows.
        """
        count = len(rows)
        _require_images(images, count)
        if len(draws.angle) != count:
            raise invalid("draws", len(draws.angle), accepted=f"{count}, one a row", remedy="draw as many")
        pixels = _black_and_pixels(images, rows.to(images.device, non_blocking=True))
        if not (self.padding or self.flip or self.degrees):
            return _as_images(pixels[1:], images, count)
        index = self._places(self._switched_on(draws), images.shape[-1], images.device)
        return _as_images(pixels.index_select(0, index.flatten().long()), images, count)

    def _switched_on(self, draws: AugmentationDraws) -> AugmentationDraws:
        """The draws, nothing in place of those of operations that are switched off."""
        on = (self.padding > 0, self.padding > 0, self.flip, self.degrees > 0)
        return AugmentationDraws(
            *(drawn if use else torch.zeros_like(drawn) for drawn, use in zip(draws, on, strict=True))
        )

    def _places(self, draws: AugmentationDraws, side: int, device: torch.device) -> torch.Tensor:
        """Number of the pixel that comes to each place, 0 for black; int32, shape (batch, side, side).

        Without a rotation the row of a pixel depends on the row alone, and the column on the column.
        """
        tables = _tables(draws, side).to(device, non_blocking=True)
        row, column = tables[0, 0, :, :, None], tables[1, 0, :, None, :]
        if self.degrees:
            row, column = row + tables[0, 1, :, None, :], column + tables[1, 1, :, :, None]
        row, column = row >> _BINARY_PLACES, column >> _BINARY_PLACES
        start = 1 + side**2 * torch.arange(len(draws.angle), dtype=torch.int32, device=device)
        place = (start[:, None, None] + row * side) + column
        if self.padding or self.degrees:
            shifts = torch.stack((draws.row_shift, draws.column_shift)).to(torch.int32)
            down, right = shifts.to(device, non_blocking=True)[:, :, None, None]
            place &= ~(_beyond(row, down, side) | _beyond(column, right, side))
        return place


def _tables(draws: AugmentationDraws, side: int) -> torch.Tensor:
    """What row and column (first axis) of a place contribute to the row and column of the pixel put there.

    The second axis is first what a coordinate does to its own kind, then what it does to the other. In parts
    of `_ONE`, int32, shape (2, 2, batch, side); sums rounded down are the nearest pixel.
    """
    centre = (side - 1) / 2
    line = torch.arange(side, dtype=torch.float64, device=draws.angle.device) - centre
    turn = torch.deg2rad(draws.angle.double())[:, None]
    own, other = (_parts(values) for values in (turn.cos() * line + (centre + 0.5), turn.sin() * line))
    flip = draws.flip[:, None]
    own_column, other_column = torch.where(flip, side * _ONE - 1 - own, own), torch.where(flip, other, -other)
    down, right = (_ONE * shift[:, None] for shift in (draws.row_shift, draws.column_shift))
    rows, columns = (own + down, other), (own_column + right, other_column)
    return torch.stack((*rows, *columns)).to(torch.int32).view(2, 2, -1, side)


def _parts(values: torch.Tensor) -> torch.Tensor:
    return values.mul_(_ONE).round_().to(torch.int64)


def _beyond(place: torch.Tensor, shift: torch.Tensor, side: int) -> torch.Tensor:
    """All ones where a row or column is outside the image now or was before the shift, else zero.

    That is the sign of its distance from either end, spread over all bits: on a CPU, comparing and choosing
    cost several times as much.
    """
    return ((place - shift.clamp(min=0)) | (shift.clamp(max=0) + (side - 1) - place)) >> 31


def _black_and_pixels(images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """A black pixel and then all those of the batch, shape (1 + batch * side^2, channels)."""
    channels, side = images.shape[1], images.shape[-1]
    whole = images.permute(0, 2, 3, 1).reshape(len(images), -1)
    pixels = images.new_empty(1 + len(rows) * side**2, channels)
    torch.index_select(whole, 0, rows, out=pixels[1:].view(len(rows), whole.shape[1]))
    pixels[0] = BLACK
    return pixels


def _as_images(pixels: torch.Tensor, images: torch.Tensor, count: int) -> torch.Tensor:
    channels, side = images.shape[1], images.shape[-1]
    return pixels.view(count, side, side, channels).permute(0, 3, 1, 2)


def _require_images(images: torch.Tensor, count: int) -> None:
    if images.ndim != 4 or images.shape[2] != images.shape[3] or not images.is_floating_point():
        raise _unfit(f"{images.dtype} of shape {tuple(images.shape)}", "make them square, one example a row")
    if not images.is_contiguous(memory_format=torch.channels_last):
        raise _unfit(
            "not channels last in memory", "call .contiguous(memory_format=torch.channels_last) once"
        )
    side = images.shape[-1]
    if side > _LARGEST_SIDE:
        raise _unfit(f"{side} pixels wide", f"make them {_LARGEST_SIDE} wide at most")
    if count * side**2 >= _LARGEST_BATCH:
        accepted = f"fewer than {_LARGEST_BATCH} pixels"
        raise invalid("images at once", count, accepted=accepted, remedy="take fewer at a time")


def _unfit(value: str, remedy: str) -> InputError:
    accepted = "floating-point numbers of shape (examples, channels, side, side), channels last"
    return invalid("images to augment", value, accepted=accepted, remedy=remedy)
