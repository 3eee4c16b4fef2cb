"""Bundles from elsewhere: zip bombs, odd files, and what file managers and editors leave behind."""

from __future__ import annotations

import io
import os
import stat
import threading
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from forged_zips import declare
from mggr_edge.common import bounded_zip
from mggr_edge.errors import BundleError
from mggr_edge.models import bundle_archive as bundle_files
from mggr_edge.models.bundle_archive import (
    CONTRACT_FILE,
    SUMS_FILE,
    checksum_lines,
    read_bundle_files,
)
from refusals import refusal

FILES = {CONTRACT_FILE: b"{}", "models/a.tflite": b"some bytes", "LICENCES.txt": b"Apache-2.0"}
BOMB_MB = 64


def with_sums(files: dict[str, bytes]) -> dict[str, bytes]:
    return {**files, SUMS_FILE: checksum_lines(files).encode()}


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_zip(path: Path, entries: dict[str, bytes] | list[tuple[object, bytes]]) -> Path:
    pairs = list(entries.items()) if isinstance(entries, dict) else entries
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore", UserWarning)  # A name that is there twice.
        for name, content in pairs:
            archive.writestr(name, content)  # type: ignore[arg-type]
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "bundle", with_sums(FILES))


@pytest.mark.parametrize("name", ["models/a.tflite", CONTRACT_FILE, SUMS_FILE])
def test_a_zip_bomb_that_declares_ten_bytes_is_refused_and_never_inflated(
    tmp_path: Path, name: str
) -> None:
    bomb = bytes(BOMB_MB << 20)
    files = with_sums({**FILES, **({name: bomb[:10]} if name != SUMS_FILE else {})})
    path = write_zip(tmp_path / "bundle.zip", {**files, name: bomb})
    declare(path, name, 10)
    tracemalloc.start()
    with refusal(BundleError, "file-longer-than-declared", name=f"{path}: {name}", declared=10):
        read_bundle_files(path)
    peak_mb = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert peak_mb < 8


def test_a_file_that_is_shorter_than_declared_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "bundle.zip", with_sums(FILES))
    declare(path, "models/a.tflite", 1000)
    with refusal(BundleError, "file-shorter-than-declared", declared=1000, found=10):
        read_bundle_files(path)


def test_a_declared_size_beyond_the_limits_is_refused_before_reading(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "bundle.zip", with_sums({**FILES, "models/b": bytes(4 << 20)}))
    with refusal(BundleError, "bundle-too-large", path=path) as caught:
        read_bundle_files(path)
    found, limit = caught.value.fields["found"], caught.value.fields["limit"]
    assert found == sum(map(len, with_sums({**FILES, "models/b": bytes(4 << 20)}).values()))
    assert limit == 100 * path.stat().st_size


@pytest.mark.parametrize("name", [CONTRACT_FILE, SUMS_FILE])
def test_a_text_that_is_too_long_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(bundle_files, "_MOST_TEXT_BYTES", 4096)
    assert read_bundle_files(folder) == FILES
    (folder / name).write_bytes(bytes(5000))
    with refusal(BundleError, "file-too-large", file=name, found=5000, limit=4096):
        read_bundle_files(folder)


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_too_many_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(bundle_files, "_MOST_FILES", 20)
    files = with_sums({**FILES, **{f"extra/{n}": b"" for n in range(20)}})
    path = tmp_path / "bundle"
    path = write_zip(path, files) if form == "zip" else write_folder(path, files)
    with refusal(BundleError, "too-many-files", path=path, limit=20):
        read_bundle_files(path)


def test_a_vast_table_of_contents_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_zip(tmp_path / "bundle.zip", {f"{'x' * 200}{n}": b"" for n in range(300)})
    monkeypatch.setattr(bounded_zip, "_MOST_AT_ONCE_BYTES", 68_000)
    with refusal(BundleError, "zip-not-readable", path=path) as caught:
        read_bundle_files(path)
    assert "central directory" in str(caught.value.fields["reason"])


def link(name: str = "models/b", kind: int = stat.S_IFLNK) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        (("../out", b""), "file-name-unsafe"),
        (("models/../../out", b""), "file-name-unsafe"),
        (("/etc/passwd", b""), "file-name-unsafe"),
        (("models//b", b""), "file-name-unsafe"),
        (("models/b\x1b[2J", b""), "file-name-with-control-characters"),
        (("Contract.JSON", b"{}"), "file-name-duplicate"),
        (("models/a.tflite", b"other"), "file-name-duplicate"),
        ((link(), b"/etc/passwd"), "zip-has-link"),
        ((link(kind=stat.S_IFIFO), b""), "zip-has-special-file"),
        ((link(kind=stat.S_IFCHR), b""), "zip-has-special-file"),
    ],
)
def test_entries_that_do_not_belong_in_a_bundle_are_refused(
    tmp_path: Path, extra: tuple[object, bytes], code: str
) -> None:
    path = write_zip(tmp_path / "bundle.zip", [*with_sums(FILES).items(), extra])
    name = extra[0].filename if isinstance(extra[0], zipfile.ZipInfo) else extra[0]
    with refusal(BundleError, code, path=path, file=name):
        read_bundle_files(path)


def test_an_encrypted_entry_is_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "bundle.zip", with_sums(FILES))
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 4)
    content[at + 8] |= 1
    path.write_bytes(content)
    with refusal(BundleError, "zip-is-encrypted", path=path, file="models/a.tflite"):
        read_bundle_files(path)


def test_pipes_links_to_folders_and_what_becomes_a_pipe_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(folder / "pipe")
    with refusal(BundleError, "special-file", path=folder, file="pipe"):
        read_bundle_files(folder)
    (folder / "pipe").unlink()
    (folder / "elsewhere").symlink_to(folder.parent)
    with refusal(BundleError, "folder-link", path=folder, file="elsewhere"):
        read_bundle_files(folder)
    (folder / "elsewhere").unlink()
    model, real = folder / "models" / "a.tflite", bundle_files.check_names

    def replaced_after_listing(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        model.unlink()
        os.mkfifo(model)

    monkeypatch.setattr(bundle_files, "check_names", replaced_after_listing)
    done: list[BaseException] = []

    def read() -> None:
        with refusal(BundleError, "special-file", file="models/a.tflite") as raised:
            read_bundle_files(folder)
        done.append(raised.value)

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    reading.join(10)
    assert len(done) == 1, "reading a pipe waits for ever"


def test_a_pipe_in_a_bundle_s_place_is_no_bundle(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "bundle")
    with refusal(BundleError, "bundle-is-special-file", path=tmp_path / "bundle"):
        read_bundle_files(tmp_path / "bundle")


def test_a_folder_that_is_no_bundle_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_files, "_files_of_folder", None)
    with refusal(BundleError, "not-a-bundle", path=tmp_path, inner=None):
        read_bundle_files(tmp_path)


def test_a_file_that_grows_while_it_is_read_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = bundle_files.check_names

    def grow(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        with open(folder / "models" / "a.tflite", "ab") as file:
            file.truncate(1 << 40)

    monkeypatch.setattr(bundle_files, "check_names", grow)
    with refusal(BundleError, "file-longer-than-declared", declared=10):
        read_bundle_files(folder)


APPLE_DOUBLE = b"\0\5\x16\7\0\2\0\0Mac OS X"


def by_finder(root: str) -> dict[str, bytes]:
    beside = {f"__MACOSX/{root}/._{Path(name).name}": APPLE_DOUBLE for name in FILES}
    return {f"{root}/": b"", f"{root}/.DS_Store": b"\0\0\0\1Bud1", **beside}


@pytest.mark.parametrize(
    ("root", "beside"),
    [
        ("", {}),
        ("", {".DS_Store": b"x", "models/.DS_Store": b"x", "__MACOSX/._models": APPLE_DOUBLE}),
        ("my bundle/", {}),
        ("my bundle/", by_finder("my bundle")),
        ("bundle/", {"bundle/Thumbs.db": b"x", "bundle/models/desktop.ini": b"x"}),
    ],
)
def test_a_zip_of_a_file_manager_is_accepted(
    tmp_path: Path, root: str, beside: dict[str, bytes]
) -> None:
    own = {f"{root}{name}": content for name, content in with_sums(FILES).items()}
    assert read_bundle_files(write_zip(tmp_path / "bundle.zip", {**own, **beside})) == FILES


def test_a_folder_that_a_file_manager_showed_is_accepted(folder: Path) -> None:
    write_folder(folder, {".DS_Store": b"x", "models/._a.tflite": APPLE_DOUBLE, "Thumbs.db": b"x"})
    assert read_bundle_files(folder) == FILES


def test_files_of_file_managers_count_where_they_are_listed(tmp_path: Path) -> None:
    files = {**FILES, ".DS_Store": b"listed"}
    folder = write_folder(tmp_path / "bundle", with_sums(files))
    assert read_bundle_files(folder) == files
    (folder / ".DS_Store").write_bytes(b"changed")
    with refusal(BundleError, "checksum-wrong", path=folder, file=".DS_Store"):
        read_bundle_files(folder)


@pytest.mark.parametrize(
    "name", ["._hidden/x", "other.db", "__MACOSX", "notes.DS_Store", ".hidden"]
)
def test_other_files_are_refused_as_before(folder: Path, name: str) -> None:
    write_folder(folder, {name: b"x"})
    with refusal(BundleError, "file-not-listed", path=folder, file=name):
        read_bundle_files(folder)


@pytest.mark.parametrize("beside", ["other/file", "file"])
def test_a_zip_with_more_than_the_bundle_s_folder_is_refused(tmp_path: Path, beside: str) -> None:
    own = {f"bundle/{name}": content for name, content in with_sums(FILES).items()}
    path = write_zip(tmp_path / "bundle.zip", {**own, beside: b"x"})
    with refusal(BundleError, "not-a-bundle", path=path):
        read_bundle_files(path)


def test_an_unpacked_zip_names_the_bundle_within(folder: Path) -> None:
    with refusal(BundleError, "not-a-bundle", path=folder.parent, inner=folder):
        read_bundle_files(folder.parent)


def in_capitals(text: str) -> str:
    return text[:64].upper() + text[64:]


@pytest.mark.parametrize(
    ("change", "code", "fields"),
    [
        (lambda text: text.replace("\n", "\r\n").encode(), None, {}),
        (lambda text: text.replace("\n", "\r\n").removesuffix("\r\n").encode(), None, {}),
        (lambda text: text.removesuffix("\n").encode(), None, {}),
        (lambda text: in_capitals(text).encode(), "checksum-upper-case", {"line": 1}),
        (lambda text: text.replace("  ", " *").encode(), "checksum-binary-mode", {"line": 1}),
        (lambda text: text.encode("utf-8-sig"), "checksums-with-byte-order-mark", {}),
        (lambda text: text.encode("utf-16"), "checksums-not-utf8", {}),
        (lambda text: text.replace("  ", "\t").encode(), "checksum-line-invalid", {"line": 1}),
        (lambda text: f"{text}\n".encode(), "checksum-line-invalid", {"line": 4}),
        (lambda text: b"", "checksum-line-invalid", {"line": 1}),
        (lambda text: (text + text).encode(), "checksum-duplicate", {"name": "LICENCES.txt"}),
    ],
)
def test_what_editors_and_other_tools_make_of_the_checksums(
    folder: Path, change: Callable[[str], bytes], code: str | None, fields: dict[str, object]
) -> None:
    sums = folder / SUMS_FILE
    sums.write_bytes(change(sums.read_text()))
    if code is None:
        assert read_bundle_files(folder) == FILES
        return
    with refusal(BundleError, code, path=folder, file=SUMS_FILE, **fields):
        read_bundle_files(folder)


def test_a_stored_zip_is_read(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in with_sums(FILES).items():
            archive.writestr(name, content)
    (tmp_path / "bundle.zip").write_bytes(file.getvalue())
    assert read_bundle_files(tmp_path / "bundle.zip") == FILES
