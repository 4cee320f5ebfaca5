from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from superconsistency.errors import InputError
from superconsistency.neural.data import Augmentation, AugmentationDraws

BLACK = -1.0


def pictures(examples: int, side: int, channels: int = 3) -> torch.Tensor:
    """Images without two equal pixels."""
    count = examples * channels * side**2
    values = torch.randperm(count, generator=torch.Generator().manual_seed(count)) / count
    shape = (examples, channels, side, side)
    return values.reshape(shape).contiguous(memory_format=torch.channels_last)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(
    rows: list[int] | None = None,
    columns: list[int] | None = None,
    flip: list[bool] | None = None,
    angle: list[float] | None = None,
) -> AugmentationDraws:
    """Draws written out, nothing for what is left open."""
    count = next(len(values) for values in (rows, columns, flip, angle) if values is not None)
    nothing = [0] * count
    return AugmentationDraws(
        torch.tensor(rows or nothing),
        torch.tensor(columns or nothing),
        torch.tensor(flip or nothing, dtype=torch.bool),
        torch.tensor(angle or nothing, dtype=torch.float64),
    )


def cropped_and_flipped(
    image: NDArray[np.float32], padding: int, row: int, column: int, *, flip: bool
) -> NDArray[np.float32]:
    """The first two steps, by slicing; shape (channels, side, side)."""
    side = image.shape[-1]
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)), constant_values=BLACK)
    top, left = padding + row, padding + column
    crop = padded[:, top : top + side, left : left + side]
    return crop[:, :, ::-1] if flip else crop


def rotated(image: NDArray[np.float32], degrees: float) -> NDArray[np.float32]:
    """The last step, by SciPy; NaN where an angle a hair larger or smaller takes another pixel."""

    def turn(angle: float) -> NDArray[Any]:
        turned: NDArray[Any] = ndimage.rotate(
            image, angle, axes=(2, 1), reshape=False, order=0, mode="grid-constant", cval=BLACK
        )
        return turned

    less, more = turn(degrees - 0.01), turn(degrees + 0.01)
    return np.where(less == more, less, np.nan)


@given(
    side=st.integers(1, 12),
    channels=st.integers(1, 3),
    padding=st.integers(0, 5),
    flip=st.booleans(),
    data=st.data(),
)
def test_without_a_rotation_the_result_is_that_of_padding_slicing_and_reversing(
    side: int, channels: int, padding: int, flip: bool, data: st.DataObject
) -> None:
    images = pictures(4, side, channels)
    batch = data.draw(st.integers(1, 6))
    augmentation = Augmentation(padding, flip, 0.0)
    drawn = augmentation.draw(batch, seeded(data.draw(st.integers(0, 99))))
    rows = torch.tensor(data.draw(st.lists(st.integers(0, 3), min_size=batch, max_size=batch)))
    found = augmentation.apply(images, rows, drawn)
    for index in range(batch):
        row, column = int(drawn.row_shift[index]), int(drawn.column_shift[index])
        original = images[rows[index]].numpy()
        expected = cropped_and_flipped(original, padding, row, column, flip=bool(drawn.flip[index]))
        np.testing.assert_array_equal(found[index].numpy(), expected)


@given(
    side=st.integers(1, 16),
    padding=st.integers(0, 4),
    flip=st.booleans(),
    angle=st.floats(-180, 180),
    data=st.data(),
)
def test_the_result_is_that_of_the_three_steps_one_after_the_other(
    side: int, padding: int, flip: bool, angle: float, data: st.DataObject
) -> None:
    images = pictures(1, side)
    row, column = (data.draw(st.integers(-padding, padding)) for _ in range(2))
    found = Augmentation(padding, flip=True, degrees=180.0).apply(
        images, torch.tensor([0]), draws([row], [column], [flip], [angle])
    )
    expected = rotated(cropped_and_flipped(images[0].numpy(), padding, row, column, flip=flip), angle)
    sure = np.isfinite(expected)
    np.testing.assert_array_equal(found[0].numpy()[sure], expected[sure])


@given(
    side=st.integers(1, 16),
    row=st.integers(-4, 4),
    column=st.integers(-4, 4),
    flip=st.booleans(),
    angle=st.floats(-180, 180) | st.integers(-6, 6).map(lambda part: 30.0 * part),
)
def test_one_map_gives_the_same_bits_as_three_where_two_pixels_are_equally_near(
    side: int, row: int, column: int, flip: bool, angle: float
) -> None:
    images, first = pictures(1, side), torch.tensor([0])
    turned = draws(angle=[angle])
    at_once = Augmentation(4, flip=True, degrees=180.0).apply(
        images, first, AugmentationDraws(*draws([row], [column], [flip])[:3], turned.angle)
    )
    cropped = Augmentation(4, flip=False, degrees=0.0).apply(images, first, draws([row], [column]))
    flipped = Augmentation(0, flip=True, degrees=0.0).apply(cropped, first, draws(flip=[flip]))
    assert torch.equal(at_once, Augmentation(0, flip=False, degrees=180.0).apply(flipped, first, turned))


@pytest.mark.parametrize("side", [16, 33])
def test_the_comparison_with_the_three_steps_leaves_out_few_pixels(side: int) -> None:
    sure = [np.isfinite(rotated(pictures(1, side)[0].numpy(), angle)).mean() for angle in range(-179, 180, 7)]
    assert np.mean(sure) > 0.95


@pytest.mark.parametrize("quarters", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize("side", [1, 2, 5, 8, 33])
def test_a_quarter_turn_is_counterclockwise_and_exact(side: int, quarters: int) -> None:
    images = pictures(2, side)
    found = Augmentation(0, flip=False, degrees=180.0).apply(
        images, torch.arange(2), draws(angle=[90.0 * quarters] * 2)
    )
    assert torch.equal(found, torch.rot90(images, quarters, (2, 3)))


@pytest.mark.parametrize("side", [1, 2, 7, 32, 257])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("settings", [(4, True, 10.0), (0, True, 10.0), (4, False, 0.0), (0, False, 0.0)])
def test_draws_of_nothing_change_nothing(side: int, channels: int, settings: tuple[int, bool, float]) -> None:
    images = pictures(3, side, channels)
    rows = torch.tensor([2, 0, 2])
    found = Augmentation(*settings).apply(images, rows, draws([0, 0, 0]))
    assert torch.equal(found, images[rows])
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found.data_ptr() != images.data_ptr()


def test_what_left_the_picture_does_not_come_back() -> None:
    images = pictures(1, 4)
    down = Augmentation(4, flip=True, degrees=180.0).apply(
        images, torch.tensor([0]), draws([4], [0], [False], [180.0])
    )
    assert (down == BLACK).all()
    half = Augmentation(2, flip=False, degrees=180.0).apply(
        images, torch.tensor([0]), draws([2], [0], [False], [180.0])
    )
    assert torch.equal(half[0, :, 2:], images[0, :, 2:].flip(1, 2))
    assert (half[0, :, :2] == BLACK).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_keep_their_precision(dtype: torch.dtype) -> None:
    images = pictures(5, 6).to(dtype)
    augmentation = Augmentation()
    found = augmentation.apply(images, torch.arange(5), augmentation.draw(5, seeded()))
    assert found.dtype == dtype
    assert set(found.flatten().tolist()) <= {*images.flatten().tolist(), BLACK}


@pytest.mark.parametrize("count", [1, 2, 128])
def test_the_same_seed_gives_the_same_bits(count: int) -> None:
    images, rows, augmentation = pictures(7, 9), torch.arange(count) % 7, Augmentation()
    first, again, other = (
        augmentation.apply(images, rows, augmentation.draw(count, seeded(seed))) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_draws_are_uniform_and_within_the_settings() -> None:
    drawn = Augmentation(2, flip=True, degrees=15.0).draw(20_000, seeded())
    for shift in (drawn.row_shift, drawn.column_shift):
        share = (shift + 2).bincount(minlength=5) / len(shift)
        torch.testing.assert_close(share, torch.full((5,), 0.2), atol=0.02, rtol=0)
    assert float(drawn.flip.double().mean()) == pytest.approx(0.5, abs=0.02)
    assert float(drawn.angle.abs().max()) <= 15
    assert float(drawn.angle.std()) == pytest.approx(30 / math.sqrt(12), rel=0.02)
    assert float(drawn.angle.mean()) == pytest.approx(0, abs=0.3)
    both = torch.stack((drawn.row_shift.double(), drawn.column_shift.double(), drawn.angle))
    torch.testing.assert_close(torch.corrcoef(both), torch.eye(3).double(), atol=0.03, rtol=0)


def test_what_is_switched_off_is_neither_drawn_nor_applied() -> None:
    generator = seeded()
    before = generator.get_state()
    off = Augmentation(0, flip=False, degrees=0.0)
    drawn = off.draw(3, generator)
    assert torch.equal(generator.get_state(), before)
    assert not any(values.any() for values in drawn)
    images = pictures(3, 5)
    everything = draws([1, 2, -1], [1, 1, 1], [True] * 3, [30.0] * 3)
    assert torch.equal(off.apply(images, torch.arange(3), everything), images)
    only_flip = Augmentation(0, flip=True, degrees=0.0)
    assert torch.equal(only_flip.apply(images, torch.arange(3), everything), images.flip(3))


def test_nothing_is_read_back_from_the_device() -> None:
    """Tensors of the meta device have no values, so that reading one fails."""
    images = pictures(6, 8).to("meta")
    augmentation = Augmentation()
    found = augmentation.apply(images, torch.arange(4), augmentation.draw(4, seeded()))
    assert found.shape == (4, 3, 8, 8)
    assert found.device.type == "meta"


@pytest.mark.parametrize(
    "settings",
    [
        {"padding": -1},
        {"padding": 1.5},
        {"padding": 10**6},
        {"degrees": -1},
        {"degrees": 181},
        {"degrees": math.nan},
    ],
)
def test_settings_out_of_range_are_refused_at_construction(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        Augmentation(**settings)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 4, 5), "shape"),
        (torch.zeros(2, 3, 4), "shape"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), "uint8"),
        (torch.zeros(2, 3, 4, 4), "not channels last"),
        (torch.zeros(1, 1, 1, 1).expand(1, 1, 2**15, 2**15), "32768 pixels wide|not channels last"),
    ],
)
def test_images_of_another_form_are_refused(images: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Augmentation().apply(images, torch.tensor([0]), draws([0]))


def test_draws_and_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="draws is 2; accepted: 3"):
        Augmentation().apply(pictures(4, 4), torch.arange(3), draws([0, 0]))
    with pytest.raises(InputError, match="images to augment is 0"):
        Augmentation().draw(0, seeded())


def test_more_pixels_at_once_than_can_be_numbered_are_refused() -> None:
    images = torch.empty(1, 1, 2**14, 2**14, device="meta").to(memory_format=torch.channels_last)
    with pytest.raises(InputError, match="images at once is 8"):
        Augmentation().apply(images, torch.zeros(8, dtype=torch.int64), draws([0] * 8))
