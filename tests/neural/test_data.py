from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural.data import digits, from_pixels, read_cifar10
from superconsistency.neural.data.cifar import (
    CIFAR_FOLDER,
    TEST_FILE,
    TRAINING_FILES,
    read_batch,
)


def official(examples: int, seed: int) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    return {
        "batch_label": "training batch",
        "labels": [int(label) for label in generator.integers(0, 10, examples)],
        "data": generator.integers(0, 256, (examples, 3072), dtype=np.uint8),
        "filenames": [f"image_{index}.png" for index in range(examples)],
    }


def write_folder(root: Path) -> Path:
    """CIFAR-10 with seven images a file."""
    folder = root / CIFAR_FOLDER
    folder.mkdir(parents=True)
    for seed, name in enumerate((*TRAINING_FILES, TEST_FILE)):
        (folder / name).write_bytes(pickle.dumps(official(7, seed), protocol=3))
    return root


def python_2_pickle(pixels: np.ndarray[Any, Any], label: int) -> bytes:
    """One image as Python 2 pickled the official files: byte strings, NumPy's old module names."""
    raw = pixels.tobytes()
    return b"".join(
        (
            b"\x80\x02}(U\x06labels]K" + bytes([label]) + b"aU\x04data",
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R",
            b"(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R",
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
            b"\x89T" + len(raw).to_bytes(4, "little") + raw + b"tbu.",
        )
    )


def test_a_file_written_by_python_2_is_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3072), dtype=np.uint8)
    (tmp_path / "batch").write_bytes(python_2_pickle(pixels, 7))
    batch = read_batch(tmp_path / "batch")
    np.testing.assert_array_equal(batch.pixels, pixels)
    assert batch.labels.tolist() == [7]


class Caller:
    """A pickle that runs a command when it is loaded."""

    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


@pytest.mark.parametrize("inside", [True, False])
def test_cifar_is_read_from_its_folder_or_the_one_above(tmp_path: Path, inside: bool) -> None:
    root = write_folder(tmp_path)
    images = read_cifar10(root / CIFAR_FOLDER if inside else root)
    assert images.inputs.shape == (35, 3, 32, 32)
    first = official(7, 0)
    expected = torch.from_numpy(first["data"].reshape(7, 3, 32, 32)).float() / 127.5 - 1
    torch.testing.assert_close(images.inputs[:7].contiguous(), expected)
    assert images.targets[:7].tolist() == first["labels"]
    assert images.inputs.is_contiguous(memory_format=torch.channels_last)


def test_the_test_split_is_the_test_file(tmp_path: Path) -> None:
    images = read_cifar10(write_folder(tmp_path), split="test")
    assert images.name == "cifar-10 (test)"
    assert images.targets.tolist() == official(7, len(TRAINING_FILES))["labels"]
    with pytest.raises(InputError, match="split of CIFAR-10 is valid; accepted: train, test"):
        read_cifar10(tmp_path, split="valid")


def test_a_pickle_that_imports_os_is_refused_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "batch").write_bytes(pickle.dumps(official(3, 0) | {"labels": Caller()}))
    with pytest.raises(InputError, match=r"(posix|nt|os)\.system', which is refused"):
        read_batch(tmp_path / "batch")
    assert [path.name for path in tmp_path.iterdir()] == ["batch"]


HOSTILE = {
    "objects instead of pixels": official(3, 0) | {"data": np.array([object()] * 3, dtype=object)[:, None]},
    "floats instead of pixels": official(3, 0) | {"data": np.zeros((3, 3072))},
    "wrong pixel count": official(3, 0) | {"data": np.zeros((3, 3071), dtype=np.uint8)},
    "too few labels": official(3, 0) | {"labels": [1, 2]},
    "labels that are no whole numbers": official(3, 0) | {"labels": [1.9, "7", 2]},
    "label out of range": official(3, 0) | {"labels": [1, 2, 10]},
    "no images": official(0, 0),
    "no data": {"labels": [1]},
    "a list": [1, 2, 3],
}


@pytest.mark.parametrize("content", [pytest.param(value, id=name) for name, value in HOSTILE.items()])
def test_what_is_no_batch_is_refused_in_one_line(tmp_path: Path, content: Any) -> None:
    class Plain(pickle.Pickler):
        def reducer_override(self, value: Any) -> Any:
            return (int, ()) if type(value) is object else NotImplemented

    buffer = io.BytesIO()
    Plain(buffer, protocol=3).dump(content)
    (tmp_path / "batch").write_bytes(buffer.getvalue())
    with pytest.raises(InputError) as caught:
        read_batch(tmp_path / "batch")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("named", ["numpy.core.multiarray\n_reconstruct", "numpy\nndarray", "numpy\ndtype"])
@pytest.mark.parametrize(
    "state",
    [
        b"}U\x08__name__U\x05pwnedsb",
        b"N}U\x07__new__cnumpy\ndtype\ns\x86b",
        b"N}U\x08__call__cnumpy\ndtype\ns\x86b",
        b"N}U\x0c__setstate__cnumpy\ndtype\ns\x86b",
    ],
)
def test_a_file_cannot_change_what_it_may_name(named: str, state: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"\x80\x02c" + named.encode() + b"\n" + state + b".")
    with pytest.raises(InputError):
        read_batch(tmp_path / "bad")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3072), dtype=np.uint8)
    (tmp_path / "good").write_bytes(python_2_pickle(pixels, 7))
    np.testing.assert_array_equal(read_batch(tmp_path / "good").pixels, pixels)


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "batch").write_bytes(b"\x80\x02c\x1b[31m" + b"m" * 5000 + b"\nname\n.")
    with pytest.raises(InputError) as caught:
        read_batch(tmp_path / "batch")
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("length", [0, 1, 100, 15_000])
def test_a_truncated_file_is_refused(tmp_path: Path, length: int) -> None:
    root = write_folder(tmp_path)
    path = root / CIFAR_FOLDER / TRAINING_FILES[2]
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match="data_batch_3"):
        read_cifar10(root)


def test_a_missing_folder_or_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="data folder"):
        read_cifar10(tmp_path / "nowhere")
    root = write_folder(tmp_path)
    (root / CIFAR_FOLDER / TRAINING_FILES[4]).unlink()
    with pytest.raises(InputError, match="it is missing"):
        read_cifar10(root)


def test_digits_need_no_folder() -> None:
    images = digits()
    assert images.inputs.shape == (1797, 3, 32, 32)
    assert images.inputs.min() == -1
    assert images.inputs.max() == pytest.approx(1.0)
    assert torch.equal(images.inputs[:, 0], images.inputs[:, 2])
    assert images.targets.bincount().min() > 170


@pytest.mark.parametrize("side", [1, 5, 64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("last", [False, True])
def test_pixels_of_any_side_and_strides_become_the_same_images(side: int, channels: int, last: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, channels, side, side), dtype=np.uint8)
    given = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if last else pixels
    images = from_pixels("noise", given, np.arange(4), 4)
    expected = torch.from_numpy((pixels / 255 - 0.5) / 0.5).float()
    torch.testing.assert_close(images.inputs.contiguous(), expected, rtol=0, atol=1e-6)
    assert images.inputs.is_contiguous(memory_format=torch.channels_last)
    assert images.hash == from_pixels("noise", pixels, np.arange(4), 4).hash


def test_the_hash_tells_data_sets_apart(tmp_path: Path) -> None:
    assert digits().hash == digits().hash != read_cifar10(write_folder(tmp_path)).hash
