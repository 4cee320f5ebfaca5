"""Every kind of data that a user may have, read without a wrapper, or refused in one line."""

from __future__ import annotations

import random
from collections import UserDict
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from superconsistency.errors import InputError
from superconsistency.neural import Batch
from superconsistency.neural.loading import DEFAULT_EXAMPLES, load_batch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset

X = torch.arange(60.0).reshape(20, 3)
Y = torch.arange(20) % 4
PAIRS = TensorDataset(X, Y)


class Dictionaries(Dataset[dict[str, Any]]):
    """Tokenized text as `datasets` gives it: plain lists and numbers."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": [index, index + 1, 2], "attention_mask": [1, 1, 0], "labels": index % 4}


class Indexed:
    """A data set of nobody's class, which only ends."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if index >= self.length:
            raise IndexError
        return X[index], int(Y[index])


class Endless(IterableDataset[tuple[torch.Tensor, int]]):
    """Examples without an end."""

    def __iter__(self) -> Any:
        index = 0
        while True:
            yield X[index % 20], int(Y[index % 20])
            index += 1


def batches(size: int = 8) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(X[begin : begin + size], Y[begin : begin + size]) for begin in range(0, 20, size)]


SOURCES: dict[str, Any] = {
    "loader": lambda: DataLoader(PAIRS, batch_size=8),
    "loader of examples": lambda: DataLoader(PAIRS, batch_size=None),
    "loader of an iterable": lambda: DataLoader(Endless(), batch_size=8),
    "data set": lambda: PAIRS,
    "iterable data set": Endless,
    "foreign data set": lambda: Indexed(20),
    "list of batches": batches,
    "generator of batches": lambda: iter(batches()),
    "generator of lists": lambda: ([x, y] for x, y in batches()),
    "list of examples": lambda: [(x, int(y)) for x, y in zip(X, Y, strict=True)],
    "list of NumPy examples": lambda: [(x.numpy(), np.int32(y)) for x, y in zip(X, Y, strict=True)],
}


@pytest.mark.parametrize("source", sorted(set(SOURCES) - {"data set"}))
@pytest.mark.parametrize("examples", [1, 8, 13, 20])
def test_sources_with_an_order_give_their_first_examples(source: str, examples: int) -> None:
    drawn = load_batch(SOURCES[source](), examples)
    assert torch.equal(drawn.batch.inputs, X[:examples])
    assert torch.equal(drawn.batch.targets, Y[:examples])
    assert drawn.batch.targets.dtype == torch.int64
    assert drawn.first


@pytest.mark.parametrize("source", sorted(set(SOURCES) - {"loader of an iterable", "iterable data set"}))
def test_all_examples_are_taken_where_there_are_few_and_more_are_refused(source: str) -> None:
    drawn = load_batch(SOURCES[source]())
    assert (drawn.batch.examples, drawn.available) == (20, 20)
    for wanted in (0, 21, -1, 2.5, True):
        with pytest.raises(InputError, match=f"examples is {wanted}; accepted:") as caught:
            load_batch(SOURCES[source](), wanted)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


def test_the_default_of_endless_data_is_512_examples() -> None:
    drawn = load_batch(Endless())
    assert (drawn.batch.examples, drawn.available) == (DEFAULT_EXAMPLES, None)


class Pair(NamedTuple):
    """With the targets first."""

    label: torch.Tensor
    image: torch.Tensor


STRUCTURES: dict[str, tuple[Any, Any, Any]] = {
    "pair": ((X, Y), X, Y),
    "list of two": ([X, Y], X, Y),
    "arrays": ((X.numpy(), Y.numpy()), X, Y),
    "lists": ((X.tolist(), Y.tolist()), X.double(), Y),
    "three": ((X, 2 * X, Y), (X, 2 * X), Y),
    "nested": (((X, {"mask": X > 3}), Y), (X, {"mask": X > 3}), Y),
    "batch": (Batch(X, Y), X, Y),
    "inputs and targets": ({"inputs": X, "targets": Y}, X, Y),
    "labels": ({"input_ids": Y, "mask": Y > 0, "labels": Y}, {"input_ids": Y, "mask": Y > 0}, Y),
    "label": ({"image": X, "label": Y}, {"image": X}, Y),
    "target": ({"x": X, "target": Y}, {"x": X}, Y),
    "x and y": ({"x": X, "y": Y}, {"x": X}, Y),
    "y beside labels": ({"y": X, "labels": Y}, {"y": X}, Y),
    "user's mapping": (UserDict({"x": X, "labels": Y}), {"x": X}, Y),
    "named tuple": (Pair(Y, X), {"image": X}, Y),
    "mask of all": ((X, torch.ones(3, 3).bool(), Y), (X, torch.ones(3, 3).bool()), Y),
    "plain values": ({"x": X, "scale": 2.0, "z": None, "label": Y}, {"x": X, "scale": 2.0, "z": None}, Y),
    "two targets": ((X, {"a": Y, "b": X}), X, {"a": Y, "b": X}),
    "additive mask": ((X, X.masked_fill(X > 3, -torch.inf), Y), (X, X.masked_fill(X > 3, -torch.inf)), Y),
    "complex": ((torch.complex(X, X), Y), torch.complex(X, X), Y),
}  # fmt: skip


def assert_same(found: Any, expected: Any) -> None:
    """Structures, types and values are equal."""
    assert type(found) is type(expected)
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, (tuple, list)):
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


@pytest.mark.parametrize("case", STRUCTURES)
def test_batches_of_any_structure_are_inputs_and_targets(case: str) -> None:
    content, inputs, targets = STRUCTURES[case]
    drawn = load_batch(content, 20)
    assert_same(drawn.batch.inputs, inputs)
    assert_same(drawn.batch.targets, targets)
    assert not drawn.first


@pytest.mark.parametrize("case", STRUCTURES)
def test_batches_of_any_structure_are_joined_row_by_row(case: str) -> None:
    content, inputs, targets = STRUCTURES[case]
    whole = load_batch(content, 20).batch
    parts = [whole.rows(0, 8), whole.rows(8, 20)]
    drawn = load_batch([tuple(part) for part in parts], 15)
    expected = Batch(inputs, targets).rows(0, 15)
    assert_same(drawn.batch.inputs, expected.inputs)
    assert_same(drawn.batch.targets, expected.targets)


def test_arrays_are_drawn_at_random_with_their_rows_together() -> None:
    drawn = load_batch({"a": X, "b": 2 * X, "shared": torch.ones(7), "labels": torch.arange(20)}, 6, seed=3)
    rows = drawn.batch.targets.tolist()
    assert rows == sorted(rows)
    assert rows != list(range(6))
    assert torch.equal(drawn.batch.inputs["a"], X[rows])
    assert torch.equal(drawn.batch.inputs["b"], 2 * X[rows])
    assert torch.equal(drawn.batch.inputs["shared"], torch.ones(7))


def test_a_data_set_of_known_length_is_drawn_from_as_arrays_are() -> None:
    for examples in (1, 8, 20):
        drawn, rows = load_batch(PAIRS, examples, seed=3), load_batch((X, Y), examples, seed=3)
        assert torch.equal(drawn.batch.inputs, rows.batch.inputs)
        assert torch.equal(drawn.batch.targets, rows.batch.targets)
        assert (drawn.available, drawn.first) == (20, False)


def test_plain_lists_in_a_data_set_become_rows() -> None:
    for source in (Dictionaries(), [Dictionaries()[index] for index in range(20)]):
        drawn = load_batch(source, 20)
        assert drawn.batch.inputs["input_ids"].tolist() == [[index, index + 1, 2] for index in range(20)]
        assert drawn.batch.targets.tolist() == [index % 4 for index in range(20)]
        assert drawn.targets_name == "labels"


@pytest.mark.parametrize(
    "kind", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, ">i4"]
)
def test_labels_and_tokens_of_any_width_are_int64(kind: Any) -> None:
    labels = np.arange(20).astype(kind)
    pairs = [(np.arange(20).astype(kind), labels)]
    if labels.dtype.isnative:
        pairs.append((torch.from_numpy(labels), torch.from_numpy(labels)))  # type: ignore[arg-type]
    for inputs, targets in pairs:
        batch = load_batch((inputs, targets), 20).batch
        assert batch.inputs.dtype == batch.targets.dtype == torch.int64
        assert batch.targets.tolist() == list(range(20))


def test_8_bit_images_are_numbers_from_0_to_1_and_8_bit_targets_stay_labels() -> None:
    pixels = (np.arange(2 * 4 * 5 * 3) % 256).astype(np.uint8).reshape(2, 4, 5, 3)
    for images in (pixels, torch.from_numpy(pixels), pixels[..., 0]):
        batch = load_batch((images, pixels[..., 0]), 2).batch
        assert batch.inputs.dtype == torch.float32
        expected = torch.from_numpy(np.asarray(images).astype(np.float32)) / 255
        assert torch.equal(batch.inputs, expected)
        assert batch.targets.dtype == torch.int64
        assert batch.targets.tolist() == pixels[..., 0].tolist()
    assert load_batch((pixels[:, 0, :, 0], pixels[:, 0, 0, 0]), 2).batch.inputs.dtype == torch.int64


def states(own: torch.Generator) -> tuple[Any, ...]:
    """The states of every generator of random numbers."""
    kept = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), own.get_state().tolist(), str(kept), random.getstate()


def test_shuffling_follows_the_seed_and_random_states_stay() -> None:
    own = torch.Generator().manual_seed(5)
    made: list[Any] = [
        DataLoader(PAIRS, batch_size=4, shuffle=True),
        DataLoader(PAIRS, batch_size=4, shuffle=True, generator=own),
        DataLoader(PAIRS, batch_size=4, sampler=RandomSampler(PAIRS, generator=own)),
        [(X + np.random.rand(), Y) for _ in range(1)],  # noqa: NPY002
    ]
    for loader in made:
        before = states(own)
        first, again = (load_batch(loader, 6, seed=1).batch for _ in range(2))
        assert torch.equal(first.inputs, again.inputs)
        assert states(own) == before
    one, other = (load_batch(made[0], 6, seed=seed).batch for seed in (1, 2))
    assert not torch.equal(one.inputs, other.inputs)


BAD: dict[str, tuple[Any, str]] = {
    "nothing": ((), "it gave tuple of 0"),
    "one": ((X,), "it gave inputs without targets"),
    "tensor": (X, "it gave a tensor of torch.float32"),
    "number": (3, "it gave int"),
    "no targets": ({"input_ids": Y, "mask": Y}, "it has no targets, only input_ids, mask"),
    "no inputs": ({"labels": Y}, "it has no inputs"),
    "twice targets": ({"x": X, "labels": Y, "targets": Y}, "it has targets and labels"),
    "different lengths": ((X, Y[:4]), "20 inputs and 4 targets"),
    "empty": ((X[:0], Y[:0]), "0 inputs and 0 targets"),
    "words": ({"text": ["a"] * 20, "labels": Y}, "its inputs 'text' 0 hold str"),
    "objects": ((np.array([{}] * 20), Y), "its inputs are an array of object"),
    "ragged": (([[1, 2], [3]], [0, 1]), "its inputs are lists of different lengths"),
    "NaN": ((X.masked_fill(X == 3, torch.nan), Y), "its inputs hold NaN or infinity"),
    "infinity": ((X.masked_fill(X == 3, torch.inf), X, Y), "its inputs 0 hold NaN or infinity"),
    "NaN among several": ((X, X.masked_fill(X == 3, torch.nan), Y), "its inputs 1 hold NaN or infinity"),
    "huge labels": ((X, np.full(20, 2**64 - 1, dtype=np.uint64)), "beyond 2\\^63"),
    "one number": ((torch.tensor(1.0), torch.tensor(1)), "its inputs are one number"),
    "no tensor": ((None, Y), "its inputs are NoneType"),
    "meta": ((X.to("meta"), Y), "without plain numbers"),
    "nested tensor": (
        (torch.nested.nested_tensor([X[0], X[1]], layout=torch.jagged), Y), "without plain numbers"),
    "empty list": ([], "it has no examples"),
    "empty loader": (DataLoader(TensorDataset(X[:0], Y[:0])), "it has no examples"),
    "empty data set": (TensorDataset(X[:0], Y[:0]), "it has no examples"),
    "batches of many lengths": (
        [(torch.ones(4, length), Y[:4]) for length in (3, 5)], r"examples of shapes \(3,\) and \(5,\)"),
    "batches of many kinds": ([(X, Y), {"x": X, "labels": Y}], "its batches have tensors of different types"),
    "batches of many entries": (
        [{"x": X, "labels": Y}, {"z": X, "labels": Y}], "its batches have different entries"),
    "batches of many structures": ([((X, X), Y), ((X, X, X), Y)], "its batches have different structures"),
    "batches of many values": ([(X, 1.0, Y), (X, 2.0, Y)], "different plain values, such as 1.0"),
    "batches of many masks": ([(X, X[:3], Y), (X, X[3:6], Y)], "tensors of other lengths"),
    "examples of many lengths": (
        [(torch.ones(2), 0), (torch.ones(3), 0)], "its examples do not make a batch"),
    "images without a transform": (
        [(Image.new("RGB", (2, 2)), 0)], "its examples do not make a batch: TypeError.*PIL"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("case", BAD)
def test_what_is_no_data_is_one_line(case: str) -> None:
    content, words = BAD[case]
    with pytest.raises(InputError, match=words) as caught:
        load_batch(content)
    assert str(caught.value).startswith("data is ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [ValueError("two\nlines"), SystemExit(3), StopIteration(), IndexError("x")])
def test_data_that_fail_are_one_line(error: BaseException) -> None:
    class Failing(Dataset[Any]):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Any:
            raise error

    def generate() -> Any:
        yield X, Y
        raise error

    for source in (Failing(), DataLoader(Failing()), DataLoader(Failing(), num_workers=1), generate()):
        if isinstance(error, SystemExit) and isinstance(source, DataLoader) and source.num_workers:
            continue  # which ends the worker's process
        with pytest.raises(InputError, match=r"data is .* raised|data is .* no examples") as caught:
            load_batch(source)
        assert "\n" not in str(caught.value)
