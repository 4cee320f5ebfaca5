from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from superconsistency.errors import InputError
from superconsistency.neural.data import Dataset, folders, read_image_folder, read_tiny_imagenet


def noise(height: int, width: int, seed: int = 0, channels: int = 3) -> NDArray[np.uint8]:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: NDArray[Any], kind: str = "PNG", **settings: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, kind, **settings)
    return path


def pixels_of(data: Dataset) -> NDArray[np.float64]:
    """Eight-bit values, shape (examples, side, side, 3)."""
    return ((data.inputs.double() * 0.5 + 0.5) * 255).permute(0, 2, 3, 1).numpy()


def test_classes_and_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = ["b/2.png", "b/10.png", "a/z.png", "C/x.png"]
    for seed, name in enumerate(names):
        save(tmp_path / name, noise(8, 8, seed))
    (tmp_path / "README.txt").write_text("not a class")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a" / ".DS_Store").write_text("not an image")
    data = read_image_folder(tmp_path, side=8)
    order = [names.index(name) for name in sorted(names)]
    assert data.targets.tolist() == [0, 1, 2, 2]
    np.testing.assert_allclose(pixels_of(data), [noise(8, 8, seed) for seed in order], atol=1e-4)
    assert (data.kind, data.outputs) == ("images", 3)
    assert data.name == f"image-folder {tmp_path.name}"
    assert data.inputs.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("height", "width", "side"),
    [(8, 8, 8), (8, 8, 4), (8, 12, 8), (12, 8, 4), (4, 6, 8), (40, 20, 8), (1, 3, 4), (3, 1, 1), (6, 4, 8)],
)
def test_the_shorter_side_is_resized_and_the_middle_kept(
    tmp_path: Path, height: int, width: int, side: int
) -> None:
    original = Image.open(save(tmp_path / "class" / "image.png", noise(height, width)))
    columns, rows = (length * side // min(height, width) for length in (width, height))
    left, top = (columns - side) // 2, (rows - side) // 2
    resized = original.resize((columns, rows), Image.Resampling.BILINEAR)
    expected = np.asarray(resized)[top : top + side, left : left + side]
    np.testing.assert_allclose(pixels_of(read_image_folder(tmp_path, side=side))[0], expected, atol=1.01)


@pytest.mark.parametrize(("height", "width"), [(5, 7), (7, 5), (1, 2), (33, 100), (1, 1)])
def test_images_of_any_size_become_squares(tmp_path: Path, height: int, width: int) -> None:
    save(tmp_path / "class" / "image.png", np.full((height, width, 3), 200, dtype=np.uint8))
    data = read_image_folder(tmp_path, side=6)
    assert data.inputs.shape == (1, 3, 6, 6)
    np.testing.assert_allclose(pixels_of(data), 200, atol=1e-4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_grey_images_of_any_format_get_three_equal_channels(tmp_path: Path, kind: str) -> None:
    grey = np.full((6, 6), 77, dtype=np.uint8)
    save(tmp_path / "class" / "image", grey, kind)
    found = pixels_of(read_image_folder(tmp_path, side=6))
    np.testing.assert_allclose(found, 77, atol=2)
    assert np.array_equal(found[..., 0], found[..., 2])


def test_sixteen_bits_become_eight_without_being_cut_off(tmp_path: Path) -> None:
    save(tmp_path / "class" / "deep.png", np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8))
    found = pixels_of(read_image_folder(tmp_path, side=8))
    np.testing.assert_allclose(found[0, ..., 0], np.arange(0, 256, 4).reshape(8, 8), atol=1e-4)


def test_transparency_and_palettes_are_read_without_a_warning(tmp_path: Path) -> None:
    palette = Image.fromarray(noise(8, 8)).quantize(8)
    (tmp_path / "class").mkdir()
    palette.save(tmp_path / "class" / "a.png", transparency=b"\x00\x80\xff")
    save(tmp_path / "class" / "b.png", noise(8, 8, channels=4))
    assert read_image_folder(tmp_path, side=8).inputs.shape == (2, 3, 8, 8)


def test_a_limit_keeps_the_first_images_of_each_class(tmp_path: Path) -> None:
    for name, count in (("a", 3), ("b", 1)):
        for index in range(count):
            save(tmp_path / name / f"{index}.png", np.full((4, 4, 3), 10 * index, dtype=np.uint8))
    data = read_image_folder(tmp_path, side=4, limit=2)
    assert data.targets.tolist() == [0, 0, 1]
    np.testing.assert_allclose(pixels_of(data)[:, 0, 0, 0], [0, 10, 0], atol=1e-4)


def truncated(path: Path) -> None:
    content = save(path, noise(40, 40)).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def truncated_jpeg(path: Path) -> None:
    content = save(path, noise(40, 40), "JPEG").read_bytes()
    path.write_bytes(content[: len(content) // 2])


def floats(path: Path) -> None:
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(path, "TIFF")


def postscript(path: Path) -> None:
    save(path, noise(4, 4), "EPS")


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("hello"), "it is in no format that Pillow reads"),
    "empty": (Path.touch, "it is in no format that Pillow reads"),
    "a truncated PNG": (truncated, "runcated"),
    "a truncated JPEG": (truncated_jpeg, "truncated"),
    "a folder": (Path.mkdir, "it is a folder"),
    "a pipe": (os.mkfifo, "it is not a file"),
    "a broken link": (lambda path: path.symlink_to("nowhere"), "it is not a file"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "it "),
    "values without a range": (floats, "no largest value"),
    "a program": (postscript, "Pillow decodes EPS by another program"),
}


@pytest.mark.parametrize(("spoil", "why"), [pytest.param(*case, id=name) for name, case in SPOILED.items()])
def test_what_is_no_image_is_refused_in_one_line_that_names_it(
    tmp_path: Path, spoil: Callable[[Path], object], why: str
) -> None:
    save(tmp_path / "class" / "a.png", noise(4, 4))
    spoil(tmp_path / "class" / "b.png")
    with pytest.raises(InputError, match=why) as caught:
        read_image_folder(tmp_path, side=4)
    assert str(caught.value).startswith("data file is class/b.png; accepted: an image")
    assert "\n" not in str(caught.value)


def test_links_out_of_the_folder_are_refused_and_links_inside_are_followed(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "secret.png", noise(4, 4))
    root = tmp_path / "data"
    inside = save(root / "a" / "1.png", noise(4, 4))
    (root / "a" / "2.png").symlink_to(inside)
    (root / "b").symlink_to(root / "a")
    assert read_image_folder(root, side=4).examples == 4
    (root / "a" / "3.png").symlink_to("../../elsewhere/secret.png")
    with pytest.raises(InputError, match=r"a/3\.png; .*leads outside the folder"):
        read_image_folder(root, side=4)
    (root / "a" / "3.png").unlink()
    (root / "c").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="accepted: a folder inside the data folder"):
        read_image_folder(root, side=4)


@pytest.mark.parametrize("pixels", [600, 100])
def test_decompression_bombs_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: int
) -> None:
    save(tmp_path / "class" / "bomb.png", noise(30, 30))
    monkeypatch.setattr(folders, "LARGEST_IMAGE", pixels)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(InputError, match=r"class/bomb\.png") as caught:
        read_image_folder(tmp_path)
    assert "900 pixels" in str(caught.value) or f"30 x 30 pixels, more than {pixels}" in str(caught.value)


def test_a_long_strip_costs_no_more_than_a_square(tmp_path: Path) -> None:
    save(tmp_path / "class" / "strip.png", noise(1, 60_000))
    assert read_image_folder(tmp_path, side=256).inputs.shape == (1, 3, 256, 256)


def test_folders_without_classes_or_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data folder is .*nowhere"):
        read_image_folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="one subfolder of images a class"):
        read_image_folder(tmp_path)
    save(tmp_path / "a" / "1.png", noise(4, 4))
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match=r"/b; accepted: at least one image in each class"):
        read_image_folder(tmp_path)


@pytest.mark.parametrize("settings", [{"side": 0}, {"side": 10**9}, {"limit": 0}, {"limit": 1.5}])
def test_sizes_out_of_range_are_refused(tmp_path: Path, settings: dict[str, int]) -> None:
    save(tmp_path / "a" / "1.png", noise(4, 4))
    with pytest.raises(InputError):
        read_image_folder(tmp_path, **settings)


def test_control_characters_of_a_name_do_not_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "class\x1b[31m").mkdir()
    (tmp_path / "class\x1b[31m" / "a\x1b]0;b.png").write_text("hello")
    with pytest.raises(InputError) as caught:
        read_image_folder(tmp_path)
    assert str(caught.value).isprintable()


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Tiny-ImageNet with three classes, listed out of order, and two images of each."""
    root = tmp_path / "tiny-imagenet-200"
    lines = []
    for seed, name in enumerate(("n03", "n01", "n02")):
        for index in (0, 1):
            grey = np.full((64, 64), 40 * seed + 10 * index, dtype=np.uint8)
            save(root / "train" / name / "images" / f"{name}_{index}.JPEG", grey, "JPEG")
            save(root / "val" / "images" / f"val_{2 * seed + index}.JPEG", grey + 100, "JPEG")
            lines.append(f"val_{2 * seed + index}.JPEG\t{name}\t0\t0\t62\t62\n")
        (root / "train" / name / f"{name}_boxes.txt").write_text("not an image")
    (root / "wnids.txt").write_text("n03\nn01\nn02\n")
    (root / "val" / "val_annotations.txt").write_text("".join(reversed(lines)))
    return root


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(("split", "lighter"), [("train", 0), ("val", 100)])
def test_tiny_imagenet_is_read_in_the_order_of_its_classes(
    tiny: Path, inside: bool, split: str, lighter: int
) -> None:
    data = read_tiny_imagenet(tiny if inside else tiny.parent, split=split)
    assert data.inputs.shape == (6, 3, 64, 64)
    assert data.targets.tolist() == [0, 0, 1, 1, 2, 2]
    greys = pixels_of(data)[:, 32, 32, 0] - lighter
    np.testing.assert_allclose(greys, [40, 50, 80, 90, 0, 10], atol=2)
    assert data.outputs == 3
    assert data.name == ("tiny-imagenet" if split == "train" else "tiny-imagenet (val)")


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_limit_keeps_the_first_images_of_tiny_imagenet(tiny: Path, split: str) -> None:
    data, part = (read_tiny_imagenet(tiny, split=split, limit=limit) for limit in (None, 1))
    assert torch.equal(part.inputs, data.inputs[::2])
    assert part.targets.tolist() == [0, 1, 2]


def rewrite(path: str, content: str) -> Callable[[Path], object]:
    return lambda root: (root / path).write_text(content)


ANNOTATIONS = "val/val_annotations.txt"
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no list of classes": (lambda root: (root / "wnids.txt").unlink(), "it is missing"),
    "an empty list": (rewrite("wnids.txt", "\n"), "it is empty"),
    "a class that is a path": (rewrite("wnids.txt", "n01\n../../etc\n"), r"it has '\.\./\.\./etc'"),
    "a class twice": (rewrite("wnids.txt", "n01\nn01\n"), "different values"),
    "a class without a folder": (rewrite("wnids.txt", "n01\nn02\nn04\n"), "n04"),
    "a file that is a path": (rewrite(ANNOTATIONS, "../x.JPEG\tn01\n"), r"it has '\.\./x\.JPEG'"),
    "an unknown class": (rewrite(ANNOTATIONS, "val_0.JPEG\tn09\n"), r"'n09' is not in wnids\.txt"),
    "no tabs": (rewrite(ANNOTATIONS, "val_0.JPEG n01\n"), "plain names"),
    "a class without images": (rewrite(ANNOTATIONS, "val_0.JPEG\tn01\n"), "n02; accepted: at least one"),
    "a missing image": (lambda root: (root / "val/images/val_0.JPEG").unlink(), r"val/images/val_0\.JPEG"),
}


@pytest.mark.parametrize(("spoil", "why"), [pytest.param(*case, id=name) for name, case in BROKEN.items()])
def test_a_broken_tiny_imagenet_is_refused_in_one_line(
    tiny: Path, spoil: Callable[[Path], object], why: str
) -> None:
    spoil(tiny)
    with pytest.raises(InputError, match=why) as caught:  # noqa: PT012 - whichever split shows it
        read_tiny_imagenet(tiny)
        read_tiny_imagenet(tiny, split="val")
    assert "\n" not in str(caught.value)


def test_tiny_imagenet_has_no_labelled_test_images(tiny: Path) -> None:
    with pytest.raises(InputError, match="accepted: train, val"):
        read_tiny_imagenet(tiny, split="test")
    with pytest.raises(InputError, match=r"data folder is .*nowhere"):
        read_tiny_imagenet(tiny / "nowhere")
