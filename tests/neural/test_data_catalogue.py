from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from superconsistency.errors import InputError
from superconsistency.neural.data import (
    DATASETS,
    catalogue,
    digits,
    load_dataset,
    load_images,
    read_cifar10,
    read_image_folder,
    read_tiny_imagenet,
    read_wikitext2,
    stratified_subset,
)
from superconsistency.neural.data.cifar import CIFAR_FOLDER, TEST_FILE
from superconsistency.neural.loading import load_batch

from .test_data import write_folder


def write_text(root: Path) -> Path:
    folder = root / "wikitext-2"
    folder.mkdir(parents=True)
    for split, text in (("train", "a b a c \n" * 40), ("valid", "a b \n" * 20), ("test", "c d \n" * 20)):
        (folder / f"wiki.{split}.tokens").write_text(text)
    return root


def write_classes(root: Path, middle: str = "") -> Path:
    for grey, name in ((50, "n01"), (150, "n02")):
        for index in (0, 1):
            path = root / name / middle / f"{index}.PNG"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8, 3), grey + index, dtype=np.uint8)).save(path)
    return root


def write_tiny(root: Path) -> Path:
    folder = root / "tiny-imagenet-200"
    write_classes(folder / "train", "images")
    (folder / "wnids.txt").write_text("n01\nn02\n")
    return root


WRITERS: dict[str, Callable[[Path], Path]] = {
    "cifar-10": write_folder,
    "wikitext-2": write_text,
    "tiny-imagenet": write_tiny,
    "image-folder": write_classes,
}
OFFICIAL = {"cifar-10": CIFAR_FOLDER, "wikitext-2": "wikitext-2", "tiny-imagenet": "tiny-imagenet-200"}
READERS: dict[str, Callable[[Path], Any]] = {
    "cifar-10": read_cifar10,
    "wikitext-2": read_wikitext2,
    "tiny-imagenet": read_tiny_imagenet,
    "image-folder": read_image_folder,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_s_layout_says_which_data_set_it_is(tmp_path: Path, name: str) -> None:
    root = WRITERS[name](tmp_path)
    expected = READERS[name](root)
    assert load_dataset(folder=root)[4:] == expected[4:]
    assert load_dataset(name, root).hash == expected.hash
    assert load_dataset(folder=root / OFFICIAL.get(name, ".")).hash == expected.hash


def test_of_several_layouts_cifar_is_taken_and_others_are_had_by_name(tmp_path: Path) -> None:
    for write in (write_text, write_tiny, write_folder):
        write(tmp_path)
    assert load_dataset(folder=tmp_path).name == "cifar-10"
    assert load_dataset("wikitext-2", tmp_path).name == "wikitext-2, words"
    assert load_dataset("tiny-imagenet", tmp_path).name == "tiny-imagenet"


def test_without_a_folder_there_are_the_digits() -> None:
    assert load_dataset().hash == load_dataset("digits").hash == load_images().hash == digits().hash


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_folder_without_a_known_layout_is_refused_with_a_list_of_layouts(
    tmp_path: Path, folder: str
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match="data folder is") as caught:
        load_dataset(folder=tmp_path / folder)
    message = str(caught.value)
    assert all(part in message for part in (CIFAR_FOLDER, "wikitext-2", "tiny-imagenet-200", "one subfolder"))


def test_splits_are_those_of_each_data_set(tmp_path: Path) -> None:
    for write in (write_text, write_tiny, write_folder):
        write(tmp_path)
    assert load_dataset("cifar-10", tmp_path, split="test").examples == 7
    assert load_dataset("wikitext-2", tmp_path, split="test").name == "wikitext-2 (test), words"
    for name, split in (("cifar-10", "val"), ("wikitext-2", "val"), ("tiny-imagenet", "test")):
        with pytest.raises(InputError, match=f"is {split}; accepted: train"):
            load_dataset(name, tmp_path, split=split)
    for name in ("digits", "random", "image-folder"):
        with pytest.raises(InputError, match=f"split of {name} is test; accepted: train"):
            load_dataset(name, tmp_path, split="test")


def test_settings_reach_the_readers(tmp_path: Path) -> None:
    text, classes, tiny = (
        write_text(tmp_path / "a"),
        write_classes(tmp_path / "b"),
        write_tiny(tmp_path / "c"),
    )
    settings: dict[str, Any] = {"sequence": 3, "vocabulary": 2}
    assert load_dataset("wikitext-2", text, **settings).hash == read_wikitext2(text, **settings).hash
    in_bytes = read_wikitext2(text, level="byte", sequence=3)
    assert load_dataset("wikitext-2-bytes", text, sequence=3).hash == in_bytes.hash
    assert load_dataset(folder=text, level="byte", sequence=3).hash == in_bytes.hash
    assert load_dataset(folder=classes, side=5, limit=1).inputs.shape == (2, 3, 5, 5)
    assert load_dataset(folder=tiny, limit=1).inputs.shape == (2, 3, 64, 64)


def test_a_number_of_examples_is_a_stratified_subset(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    expected = stratified_subset(read_cifar10(root), 12, 5)
    assert load_dataset(folder=root, examples=12, seed=5).hash == expected.hash
    assert load_dataset(examples=100).targets.bincount().tolist() == [10] * 10


def test_random_data_are_of_the_seed_and_size_asked_for() -> None:
    first, again, other = (load_dataset("random", examples=7, seed=seed) for seed in (1, 1, 2))
    assert (first.examples, first.kind) == (7, "vectors")
    assert first.hash == again.hash != other.hash
    assert load_dataset("random").examples == catalogue.RANDOM_EXAMPLES


@pytest.mark.parametrize(
    ("name", "wanted"), [("auto", "cifar-10"), *((name, name) for name in DATASETS if name in OFFICIAL)]
)
def test_a_download_is_asked_for_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, wanted: str
) -> None:
    root = WRITERS[wanted](tmp_path)
    asked: list[bool] = []

    def fetch(*, progress: bool) -> Path:
        asked.append(progress)
        return root

    source = catalogue._SOURCES[wanted]
    monkeypatch.setitem(catalogue._SOURCES, wanted, source._replace(fetch=fetch))
    assert load_dataset(name, download=True, progress=True).hash == READERS[wanted](root).hash
    assert load_dataset(name, root, download=True).hash == READERS[wanted](root).hash
    assert asked == [True]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("mnist", {}, "data set is mnist; accepted: auto, digits, cifar-10"),
        ("cifar-10", {}, "data folder is not given; accepted: that of cifar-10; .* download"),
        ("image-folder", {"download": True}, "data folder is not given; .* remedy: pass the folder$"),
        ("digits", {"download": True}, "source of the data is a download; accepted: none"),
        ("random", {"folder": Path("here")}, "source of the data is here; accepted: none"),
        ("digits", {"limit": 3}, "images of a class is 3; accepted: all of them for digits"),
        ("digits", {"examples": 5000}, "examples is 5000; accepted: 1 to 1797, as digits has"),
        ("random", {"examples": 0}, "examples is 0"),
        ("digits", {"seed": -1}, "seed is -1"),
        ("random", {"seed": 2**63}, "seed is 9223372036854775808"),
    ],
)
def test_what_does_not_go_together_is_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_dataset(name, **settings)


def test_every_data_set_has_a_reader_or_is_built_in() -> None:
    assert set(DATASETS) == {*catalogue._SOURCES, "digits", "random", "random-tokens"}


def test_images_are_asked_for_and_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data folder is .*; accepted: images"):
        load_images(write_text(tmp_path / "text"))
    assert load_images(write_classes(tmp_path / "classes")).examples == 4


@pytest.mark.parametrize("name", WRITERS)
def test_any_known_folder_gives_a_batch_to_measure(tmp_path: Path, name: str) -> None:
    root = WRITERS[name](tmp_path)
    whole = READERS[name](root)
    drawn = load_batch(root, 2, seed=1)
    assert drawn.name == whole.name
    assert drawn.available == whole.examples
    assert drawn.batch.inputs.dtype == whole.inputs.dtype
    found = [(whole.inputs == example).flatten(1).all(1).any() for example in drawn.batch.inputs]
    assert torch.tensor(found).all()


def test_the_test_file_alone_is_recognised(tmp_path: Path) -> None:
    content = (write_folder(tmp_path / "whole") / CIFAR_FOLDER / TEST_FILE).read_bytes()
    (tmp_path / TEST_FILE).write_bytes(content)
    assert load_dataset(folder=tmp_path, split="test").examples == 7
