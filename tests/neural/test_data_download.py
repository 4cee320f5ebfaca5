from __future__ import annotations

import hashlib
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from superconsistency.errors import InputError
from superconsistency.neural.data import (
    download,
    download_cifar10,
    download_tiny_imagenet,
    download_wikitext2,
    read_cifar10,
    read_tiny_imagenet,
    read_wikitext2,
)
from superconsistency.neural.data.cifar import CIFAR_FOLDER, TEST_FILE, TRAINING_FILES

from .test_data import write_folder

NOWHERE = "http://127.0.0.1:9"
"""Where nothing answers."""


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(archive: Path) -> Iterator[tuple[str, str]]:
    """The address of an archive on loopback, and its checksum."""
    handler = partial(QuietHandler, directory=str(archive.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/{archive.name}", checksum(archive)
        http.shutdown()


def checksum(archive: Path) -> str:
    return hashlib.sha256(archive.read_bytes()).hexdigest()


def zipped(archive: Path, members: dict[str, bytes]) -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return archive


@pytest.fixture
def cifar(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """CIFAR-10's archive in the official layout, and one member that would like to be elsewhere."""
    source = write_folder(tmp_path / "source")
    archive = tmp_path / "site" / "cifar-10-python.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source / CIFAR_FOLDER, CIFAR_FOLDER)
        tar.add(source / CIFAR_FOLDER / TRAINING_FILES[0], "../escaped")
    with served(archive) as address:
        yield address


def test_a_download_is_verified_and_unpacked_by_name_only(cifar: tuple[str, str], tmp_path: Path) -> None:
    url, sha256 = cifar
    folder = download_cifar10(tmp_path / "cache", url=url, sha256=sha256, progress=True)
    assert read_cifar10(folder).inputs.shape == (35, 3, 32, 32)
    assert read_cifar10(folder, split="test").inputs.shape == (7, 3, 32, 32)
    assert sorted(path.name for path in folder.iterdir()) == [*TRAINING_FILES, TEST_FILE]
    assert not (tmp_path / "escaped").exists()


def test_a_damaged_file_of_the_cache_is_taken_from_the_archive_again(
    cifar: tuple[str, str], tmp_path: Path
) -> None:
    url, sha256 = cifar
    folder = download_cifar10(tmp_path / "cache", url=url, sha256=sha256)
    whole = (folder / TRAINING_FILES[1]).read_bytes()
    (folder / TRAINING_FILES[1]).write_bytes(whole[:50])
    assert download_cifar10(tmp_path / "cache", url=url, sha256=sha256) == folder
    assert (folder / TRAINING_FILES[1]).read_bytes() == whole


def test_an_archive_without_the_files_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(__file__, "other.py")
    with pytest.raises(InputError, match="data_batch_1"):
        download_cifar10(tmp_path, url=f"{NOWHERE}/{archive.name}", sha256=checksum(archive))


def test_a_download_with_another_checksum_is_refused(cifar: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SHA-256"):
        download_cifar10(tmp_path / "cache", url=cifar[0], sha256="0" * 64)
    assert not (tmp_path / "cache" / CIFAR_FOLDER).exists()


@pytest.mark.parametrize("fetch", [download_cifar10, download_wikitext2, download_tiny_imagenet])
def test_a_download_without_a_network_is_refused(tmp_path: Path, fetch: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="check the network") as caught:
        fetch(tmp_path / "cache", url=f"{NOWHERE}/archive.zip", sha256="0" * 64)
    assert "\n" not in str(caught.value)


TEXT = {
    f"wikitext-2/wiki.{split}.tokens": f" the {split} cat sat \n".encode() * 30
    for split in ("train", "valid", "test")
}
ESCAPES = dict.fromkeys(("../escaped", "wikitext-2/../../escaped", "/escaped", "wikitext-2/x"), b"escaped")


def test_wikitext_is_taken_out_of_its_archive_and_no_member_goes_where_it_likes(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "site" / "wikitext-2-v1.zip", TEXT | ESCAPES)
    with served(archive) as (url, sha256):
        folder = download_wikitext2(tmp_path / "deep" / "cache", url=url, sha256=sha256)
    assert {f"wikitext-2/{path.name}": path.read_bytes() for path in folder.iterdir()} == TEXT
    assert read_wikitext2(folder).name == "wikitext-2, words"
    assert not [path for path in tmp_path.rglob("*") if path.name in {"escaped", "x"}]


def test_a_damaged_text_of_the_cache_is_taken_from_the_archive_again(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "wikitext-2-v1.zip", TEXT)
    again = partial(download_wikitext2, tmp_path, url=f"{NOWHERE}/{archive.name}", sha256=checksum(archive))
    path = again() / "wiki.test.tokens"
    path.write_bytes(path.read_bytes().replace(b"cat", b"dog"))
    again()
    assert path.read_bytes() == TEXT["wikitext-2/wiki.test.tokens"]


@pytest.mark.parametrize(
    ("name", "members"),
    [
        pytest.param("wikitext-2-v1.zip", {"wikitext-2/wiki.train.tokens": b"x"}, id="a file is missing"),
        pytest.param("wikitext-2-v1.zip", {}, id="no files"),
    ],
)
def test_an_archive_of_text_without_its_files_is_refused_in_one_line(
    tmp_path: Path, name: str, members: dict[str, bytes]
) -> None:
    archive = zipped(tmp_path / name, members)
    with pytest.raises(InputError, match=r"wiki\.(train|valid)\.tokens") as caught:
        download_wikitext2(tmp_path, url=f"{NOWHERE}/{name}", sha256=checksum(archive))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fetch", [download_wikitext2, download_tiny_imagenet])
def test_what_is_no_archive_is_refused(tmp_path: Path, fetch: Callable[..., Path]) -> None:
    archive = tmp_path / "archive.zip"
    archive.write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(InputError, match="not a zip file"):
        fetch(tmp_path, url=f"{NOWHERE}/archive.zip", sha256=checksum(archive))


def test_a_member_larger_than_any_official_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LARGEST_MEMBER", 700)
    archive = zipped(tmp_path / "wikitext-2-v1.zip", TEXT | {"wikitext-2/wiki.valid.tokens": b"a" * 701})
    with pytest.raises(InputError, match=r"wiki\.valid\.tokens has more than 700 bytes"):
        download_wikitext2(tmp_path, url=f"{NOWHERE}/{archive.name}", sha256=checksum(archive))


def jpeg(path: Path, grey: int) -> bytes:
    Image.fromarray(np.full((64, 64, 3), grey, dtype=np.uint8)).save(path, "JPEG")
    return path.read_bytes()


def test_tiny_imagenet_is_taken_out_by_official_names_only(tmp_path: Path) -> None:
    picture = jpeg(tmp_path / "picture", 100)
    official = {
        "wnids.txt": b"n01\nn02\n",
        "train/n01/images/n01_0.JPEG": picture,
        "train/n02/images/n02_7.JPEG": picture,
        "val/val_annotations.txt": b"val_0.JPEG\tn02\t0\t0\t62\t62\nval_1.JPEG\tn01\t0\t0\t62\t62\n",
        "val/images/val_0.JPEG": picture,
        "val/images/val_1.JPEG": picture,
    }
    others = (
        "train/n01/n01_boxes.txt",
        "test/images/test_0.JPEG",
        "train/../../../escaped/images/escaped_1.JPEG",
        "train/n01/images/n02_0.JPEG",
        "val/images/../../../escaped.JPEG",
        "val/images/val_1.JPEG/../../../../escaped",
        "val/images/val_1.JPEG\n",
    )
    members = {
        f"tiny-imagenet-200/{name}": content
        for name, content in (official | dict.fromkeys(others, b"x")).items()
    }
    archive = zipped(tmp_path / "cache" / "tiny-imagenet-200.zip", members)
    folder = download_tiny_imagenet(archive.parent, url=f"{NOWHERE}/{archive.name}", sha256=checksum(archive))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {str(path.relative_to(folder)): path.read_bytes() for path in files} == official
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "picture"]
    assert read_tiny_imagenet(folder).targets.tolist() == [0, 1]
    assert read_tiny_imagenet(folder, split="val").targets.tolist() == [0, 1]
