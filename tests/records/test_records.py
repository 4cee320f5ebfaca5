from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from superconsistency.errors import InputError
from superconsistency.records import (
    array_hash,
    empty_record,
    load_record,
    record_to_json,
    require_writable,
    save_record,
    write_atomically,
)


def record(**changes: Any) -> xr.Dataset:
    settings: dict[str, Any] = {
        "widths": (2.0, math.inf),
        "learning_rates": (0.1,),
        "seeds": (0, 1),
        "steps": (0, 5),
        "quantities": ("loss",),
        "configuration": {"model": "test"},
        "producer": "superconsistency.records",
        "threshold": 2.0,
    }
    return empty_record(**(settings | changes))


def test_a_saved_record_is_read_back_whole(tmp_path: Path) -> None:
    written = record()
    written["loss"].values[...] = np.random.default_rng(0).standard_normal(written["loss"].shape)
    save_record(written, tmp_path / "deep" / "run.nc")
    assert load_record(tmp_path / "deep" / "run.nc").identical(written)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "run.nc"
    save_record(record(), path)
    before = path.read_bytes()

    def broken(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left on device"):
        write_atomically(path, broken)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [None, b"", b"not a record"])
def test_what_is_no_record_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "run.nc"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"run\.nc"):
        load_record(path)


def test_an_output_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="output"):
        require_writable(tmp_path / "file" / "run.nc")
    with pytest.raises(InputError, match="not a regular file"):
        require_writable(tmp_path)
    with pytest.raises(InputError, match="too long"):
        require_writable(tmp_path / ("a" * 300))


def test_asking_whether_a_place_is_writable_leaves_nothing_behind(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "folder" / "run.nc")
    assert not list(tmp_path.iterdir())


def test_a_pipe_is_not_replaced_and_a_link_is_followed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"):
        write_atomically(tmp_path / "pipe", lambda path: path.write_text("x"))
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_atomically(tmp_path / "link", lambda path: path.write_text("x"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "x"


def test_json_of_a_record_has_no_nan_and_unpacks_its_configuration() -> None:
    document = json.loads(json.dumps(record_to_json(record()), allow_nan=False))
    assert document["attrs"]["configuration"] == {"model": "test"}
    assert document["coords"]["width"]["data"] == [2.0, "inf"]
    assert document["data_vars"]["loss"]["data"][0][0][0][0] is None


def test_an_unknown_quantity_is_refused() -> None:
    with pytest.raises(InputError, match="recorded quantity"):
        record(quantities=("entropy",))


@pytest.mark.parametrize("axes", [{"widths": (4, 2)}, {"widths": (2, 2)}, {"learning_rates": (0.2, 0.1)}])
def test_a_record_whose_widths_or_rates_do_not_ascend_is_refused(axes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"of the record is .*; accepted: ascending values"):
        record(**axes)


def test_hashes_tell_contents_shapes_and_types_apart() -> None:
    zeros = np.zeros(6)
    hashes = {
        array_hash(array) for array in (zeros, zeros + 1, zeros.reshape(2, 3), zeros.astype(np.float32))
    }
    assert len(hashes) == 4
