"""Outputs appear whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest

from mggr_edge.common import atomic
from mggr_edge.common.atomic import atomic_file, atomic_folder, reserved_folder
from mggr_edge.errors import DiskError, OutputExistsError, UsageError
from refusals import refusal


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def write_file_and_fail(target: Path, failure: type[BaseException]) -> None:
    with atomic_file(target, force=True) as temporary:
        temporary.write_text("half")
        raise failure


def fill_folder_and_fail(target: Path, failure: type[BaseException]) -> None:
    with atomic_folder(target, force=True) as temporary:
        (temporary / "new").write_text("half")
        raise failure


def test_a_file_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    with atomic_file(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".mp4"
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert names(tmp_path) == ["clip.mp4"]
    assert target.read_bytes() == b"new"


def test_a_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    with atomic_file(tmp_path / "ours") as temporary:
        temporary.write_bytes(b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")}
    assert len(modes) == 1


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_failure_leaves_nothing_and_the_old_file_untouched(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(failure):
        write_file_and_fail(target, failure)
    assert names(tmp_path) == ["a.txt"]
    assert target.read_text() == "old"


def test_an_existing_file_is_refused_before_any_work(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with refusal(OutputExistsError, "output-exists", path=target), atomic_file(target):
        pytest.fail("the body must not run")
    with atomic_file(target, force=True) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_a_file_that_came_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"

    def write_while_another_does() -> None:
        with atomic_file(target) as temporary:
            temporary.write_text("ours")
            target.write_text("theirs")

    with pytest.raises(OutputExistsError):
        write_while_another_does()
    assert names(tmp_path) == ["a.txt"]
    assert target.read_text() == "theirs"


def test_a_folder_where_a_file_should_be_is_refused_even_by_force(tmp_path: Path) -> None:
    (tmp_path / "thing").mkdir()
    with (
        refusal(UsageError, "output-is-folder", path=tmp_path / "thing"),
        atomic_file(tmp_path / "thing", force=True),
    ):
        pass
    (tmp_path / "file").write_text("x")
    with (
        refusal(UsageError, "output-is-file", path=tmp_path / "file"),
        atomic_folder(tmp_path / "file", force=True),
    ):
        pass


@pytest.mark.parametrize("maker", [atomic_file, atomic_folder])
def test_a_missing_parent_is_named(tmp_path: Path, maker) -> None:
    with (
        refusal(UsageError, "output-folder-missing", folder=tmp_path / "nowhere"),
        maker(tmp_path / "nowhere/x"),
    ):
        pass
    assert names(tmp_path) == []


def test_a_folder_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with atomic_folder(target) as temporary:
        (temporary / "contract.json").write_text("{}")
        assert not target.exists()
    assert names(tmp_path) == ["bundle"]
    assert names(target) == ["contract.json"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failed_folder_leaves_the_old_one(tmp_path: Path, failure: type[BaseException]) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(failure):
        fill_folder_and_fail(target, failure)
    assert names(tmp_path) == ["bundle"]
    assert names(target) == ["old"]


def test_force_replaces_a_folder_whole(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(OutputExistsError), atomic_folder(target):
        pytest.fail("the body must not run")
    with atomic_folder(target, force=True) as temporary:
        (temporary / "new").write_text("new")
    assert names(tmp_path) == ["bundle"]
    assert names(target) == ["new"]


def test_the_old_folder_comes_back_if_the_new_one_cannot_move_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").write_text("old")
    rename = Path.rename

    def failing(self: Path, to: Path) -> Path:
        if (self / "new").exists():
            raise OSError("disk gone")
        return rename(self, to)

    monkeypatch.setattr(atomic.Path, "rename", failing)
    with pytest.raises(OSError, match="disk gone"), atomic_folder(target, force=True) as temporary:
        (temporary / "new").write_text("new")
    assert names(tmp_path) == ["bundle"]
    assert names(target) == ["old"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_is_said_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with (
            refusal(UsageError, "output-folder-not-writable", folder=tmp_path),
            atomic_file(tmp_path / "a"),
        ):
            pass
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("maker", [atomic_file, atomic_folder])
def test_a_full_disk_is_told_in_one_line_and_leaves_the_old(tmp_path: Path, maker) -> None:
    """The kernel's own refusal: /dev/full takes nothing."""
    target = tmp_path / "kept"
    if maker is atomic_file:
        target.write_text("old")
    else:
        target.mkdir()
        (target / "old").write_text("old")

    def fill() -> None:
        with maker(target, force=True), open("/dev/full", "wb", buffering=0) as full:
            full.write(b"more than it takes")

    with refusal(DiskError, "output-not-written", path=target, reason="no space left on device"):
        fill()
    assert names(tmp_path) == ["kept"]
    assert (target if maker is atomic_file else target / "old").read_text() == "old"


def test_other_faults_of_the_system_stay_what_they_are(tmp_path: Path) -> None:
    def look_for_what_is_not_there() -> None:
        with atomic_file(tmp_path / "a"):
            (tmp_path / "gone").read_bytes()

    with pytest.raises(FileNotFoundError):
        look_for_what_is_not_there()


@pytest.mark.parametrize("by_kernel", [True, False])
def test_what_is_made_at_the_same_time_gets_names_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_kernel: bool
) -> None:
    if not by_kernel:  # as on NFS
        monkeypatch.setattr(atomic, "_rename_by_kernel", _no_such_rename)
    moved: list[Path] = []
    with ExitStack() as both:
        for text in ("first", "second", "third"):
            file = both.enter_context(atomic_file(tmp_path / "a.txt", elsewhere=moved.append))
            file.write_text(text)
            folder = both.enter_context(atomic_folder(tmp_path / "v1.0", elsewhere=moved.append))
            (folder / "text").write_text(text)
    assert names(tmp_path) == ["a-2.txt", "a-3.txt", "a.txt", "v1.0", "v1.0-2", "v1.0-3"]
    texts = {file.read_text() for file in tmp_path.rglob("*") if file.is_file()}
    assert texts == {"first", "second", "third"}
    assert sorted(path.name for path in moved) == ["a-2.txt", "a-3.txt", "v1.0-2", "v1.0-3"]


def _no_such_rename(old: Path, new: Path) -> None:
    raise OSError(errno.EINVAL, "invalid argument")


def test_names_are_chosen_by_who_knows_them(tmp_path: Path) -> None:
    moved: list[Path] = []
    with atomic_file(
        tmp_path / "a-2.txt",
        elsewhere=moved.append,
        numbered=lambda number: tmp_path / f"a-{number}.txt",
    ) as temporary:
        temporary.write_text("ours")
        (tmp_path / "a-2.txt").write_text("theirs")
    assert moved == [tmp_path / "a-3.txt"]
    assert (tmp_path / "a-2.txt").read_text() == "theirs"


@pytest.mark.parametrize("by_kernel", [True, False])
def test_a_folder_that_came_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_kernel: bool
) -> None:
    if not by_kernel:
        monkeypatch.setattr(atomic, "_rename_by_kernel", _no_such_rename)
    target = tmp_path / "bundle"

    def fill_while_another_does() -> None:
        with atomic_folder(target):
            target.mkdir()

    with pytest.raises(OutputExistsError):
        fill_while_another_does()
    assert names(tmp_path) == ["bundle"]


def test_reserved_folders_differ_and_empty_ones_go_away(tmp_path: Path) -> None:
    with reserved_folder(tmp_path / "out") as first, reserved_folder(tmp_path / "out") as second:
        assert [first.name, second.name] == ["out", "out-2"]
        (second / "kept").write_text("x")
    assert names(tmp_path) == ["out-2"]


def test_a_numbered_name_is_never_too_long(tmp_path: Path) -> None:
    longest = tmp_path / f"{'x' * 251}.txt"
    moved: list[Path] = []
    with atomic_file(longest, elsewhere=moved.append) as temporary:
        temporary.write_text("ours")
        longest.write_text("theirs")
    assert moved[0].name == f"{'x' * 249}-2.txt"
    assert moved[0].read_text() == "ours"
