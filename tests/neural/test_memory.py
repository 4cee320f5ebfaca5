from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from superconsistency.neural import Dataset, Grid, TrainingConfig, memory, train_grid
from superconsistency.neural.memory import freed_memory_kept
from superconsistency.neural.precision import full_precision
from superconsistency.theory import parametrization

from .cases import examples, small

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
"""Numbers that glibc's malloc.h gives to its options."""


class Library:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.options: dict[int, int] = {}
        self.trimmed = 0

    def mallopt(self, option: int, value: int) -> int:
        self.options[option] = value
        return 1

    def malloc_trim(self, pad: int) -> int:
        assert pad == 0
        self.trimmed += 1
        return 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    found = Library()
    monkeypatch.setattr(memory, "_glibc", lambda: found)
    return found


def require_kept(library: Library) -> None:
    """No mapping for single allocations, and nothing given back."""
    assert library.options[MMAP_MAX] == 0
    assert library.options[TRIM_THRESHOLD] >= 2**30


def require_given_back(library: Library, times: int) -> None:
    """What the manual of mallopt has, and a threshold that it can reach by itself."""
    assert library.options[MMAP_MAX] == 65536
    assert library.options[TOP_PAD] == 0
    assert 128 * 1024 <= library.options[TRIM_THRESHOLD] <= 2**26
    assert library.trimmed == times


def test_freed_memory_is_kept_inside_and_given_back_afterwards(library: Library) -> None:
    assert not library.options
    for times in (1, 2):
        with freed_memory_kept():
            require_kept(library)
            assert library.trimmed == times - 1
        require_given_back(library, times)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_an_exception_passes_and_memory_is_given_back(library: Library, error: type[BaseException]) -> None:
    with pytest.raises(error), freed_memory_kept():
        raise error
    require_given_back(library, 1)


def test_after_nested_use_memory_is_given_back(library: Library) -> None:
    with freed_memory_kept(), freed_memory_kept():
        require_kept(library)
    require_given_back(library, library.trimmed)
    assert library.trimmed


def test_training_keeps_freed_memory_and_full_precision_and_ends_with_neither(
    library: Library, settings: Callable[[], tuple[str, ...]]
) -> None:
    architecture = small("mlp")
    data: Dataset = examples(architecture, 4)
    config = TrainingConfig(parametrization("mup"), architecture, steps=1, batch_size=4, quantities=())
    seen: list[tuple[int, tuple[str, ...]]] = []
    before = settings()
    train_grid(
        Grid(config, (2,), (0.1,), (0,)),
        data,
        on_progress=lambda *_: seen.append((library.options[MMAP_MAX], settings())),
    )
    assert seen == [(0, FULL)]
    require_given_back(library, 1)
    assert settings() == before


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_than_on_linux_nothing_happens(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: pytest.fail("a library is opened"))
    with freed_memory_kept():
        pass


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    with freed_memory_kept():
        pass


PROGRAM = """
import resource
import torch
from superconsistency.neural.memory import freed_memory_kept

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)  # more than the library ever keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

new_pages()
before = new_pages()
with freed_memory_kept():
    for _ in range(4):  # what is left where can leave too little room the first times
        new_pages()
    inside = new_pages()
print(before, inside, new_pages())
"""


@pytest.mark.skipif(memory._glibc() is None, reason="only with glibc")
def test_inside_a_large_tensor_needs_no_new_pages_once_there_is_room() -> None:
    """In a process of its own, whose heap nothing else has cut up; pages are what it touches first."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    before, inside, after = map(int, done.stdout.split())
    assert before > 16
    assert inside < 0.1 * before
    assert after > 0.5 * before


@pytest.mark.skipif(memory._glibc() is None, reason="only with glibc")
def test_in_a_further_thread_memory_is_kept_if_threads_share_one_arena() -> None:
    lines = PROGRAM.strip().splitlines()
    begin = lines.index("new_pages()")
    work = "\n".join(f"    {line}" for line in lines[begin:])
    start = "import threading\nthread = threading.Thread(target=work)\nthread.start()\nthread.join()"
    program = "\n".join([*lines[:begin], "def work():", work, start])
    environment = os.environ | {"MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    before, inside, _ = map(int, done.stdout.split())
    assert inside < 0.1 * before


BACKENDS: Any = torch.backends
OPERATIONS = (
    BACKENDS.cuda.matmul,
    BACKENDS.cudnn.conv,
    BACKENDS.mkldnn.matmul,
    BACKENDS.mkldnn.conv,
)
FULL = ("ieee",) * len(OPERATIONS)


@pytest.fixture
def settings() -> Iterator[Callable[[], tuple[str, ...]]]:
    """What PyTorch is told of single precision, which is put back afterwards."""

    def now() -> tuple[str, ...]:
        return tuple(operation.fp32_precision for operation in OPERATIONS)

    before = now()
    yield now
    for operation, value in zip(OPERATIONS, before, strict=True):
        operation.fp32_precision = value


def by_older_names() -> None:
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.allow_tf32 = True


def by_newer_names() -> None:
    for operation in OPERATIONS[:2]:
        operation.fp32_precision = "tf32"


@pytest.mark.parametrize("choose", [lambda: None, by_older_names, by_newer_names])
def test_precision_is_full_inside_and_as_before_afterwards(
    choose: Callable[[], None], settings: Callable[[], tuple[str, ...]]
) -> None:
    choose()
    before = settings()
    for error in (None, ValueError, KeyboardInterrupt):
        with contextlib.suppress(ValueError, KeyboardInterrupt), full_precision():
            assert settings() == FULL
            with full_precision():
                assert settings() == FULL
            assert settings() == FULL
            if error is not None:
                raise error
        assert settings() == before


def test_what_is_changed_inside_is_undone(settings: Callable[[], tuple[str, ...]]) -> None:
    before = settings()
    with full_precision():
        by_newer_names()
    assert settings() == before
