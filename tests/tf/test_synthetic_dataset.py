"""Drawn data sets in a folder: labelled, seeded, whole or not there."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mggr_edge.errors import OutputExistsError, UsageError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.geometry.eye_crop import mirror_image
from mggr_tf.data import columbia
from mggr_tf.data.columbia import PICTURES_PER_SUBJECT, write_dataset
from mggr_tf.drawn_eyes import draw_subject, render_eye
from refusals import refusal


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "patches"
    assert write_dataset(out, count=50, seed=1) == 50
    return out


def test_dataset_is_read_back_by_the_columbia_loader(folder: Path) -> None:
    scanned = columbia.scan(folder)
    assert len(scanned.labels) == 50
    assert scanned.bad == ()
    assert scanned.licence == columbia.SYNTHETIC_LICENCE
    files = {f.name for f in folder.glob("*.jpg")}
    assert {columbia.parse_name(file).label() for file in files} == set(scanned.labels)
    groups = scanned.counts(lambda label: f"{label.subject} {label.head.yaw_deg} {label.side}")
    assert sorted(groups.values()) == [8, 21, 21]


def test_dataset_labels_the_eye_by_where_its_nose_is(folder: Path) -> None:
    names = [columbia.parse_name(file.name) for file in folder.glob("*.jpg")]
    person = draw_subject([1, 0])
    name = next(n for n in names if n.side == "right" and n.gaze == Gaze(10, 15))
    assert name.file_name() == "drawn-1-00000_2m_0P_10V_15H_L.jpg"
    stored = cv2.imread(str(folder / name.file_name()))[..., ::-1].astype(int)
    eye = render_eye(person, gaze=name.gaze, head_pose=name.head, side="right", seed=0)
    drawn = eye.image.astype(int)
    # Their crops err differently, by as much as this person's do from picture to picture.
    assert np.abs(stored - drawn).mean() < 0.5 * np.abs(mirror_image(stored) - drawn).mean()


def test_dataset_is_a_function_of_its_seed(folder: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "again", count=12, seed=1)
    write_dataset(tmp_path / "other", count=12, seed=2)
    for file in (tmp_path / "again").glob("*.jpg"):
        assert file.read_bytes() == (folder / file.name).read_bytes()
        other = tmp_path / "other" / file.name.replace("drawn-1-", "drawn-2-")
        assert file.read_bytes() != other.read_bytes()


def test_dataset_goes_on_with_the_next_person(tmp_path: Path) -> None:
    count = PICTURES_PER_SUBJECT + 2
    write_dataset(tmp_path / "two", count=count, seed=0)
    scanned = columbia.scan(tmp_path / "two")
    expected = {"drawn-0-00000": PICTURES_PER_SUBJECT, "drawn-0-00001": 2}
    assert scanned.counts(lambda n: n.subject) == expected


def test_progress_counts_every_patch(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_dataset(tmp_path / "few", count=3, seed=0, progress=lambda *at: seen.append(at))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "out", count=5, seed=0, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_force_replaces_a_folder_and_a_failure_keeps_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_dataset(out, count=3, seed=0)
    before = {f.name: f.read_bytes() for f in out.iterdir()}

    def fail(done: int, total: int) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_dataset(out, count=2, seed=1, progress=fail, force=True)
    assert {f.name: f.read_bytes() for f in out.iterdir()} == before
    write_dataset(out, count=2, seed=1, force=True)
    assert len(list(out.glob("*.jpg"))) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_user_mistakes_are_one_line(tmp_path: Path) -> None:
    with refusal(UsageError, "count-too-small", count=0):
        write_dataset(tmp_path / "out", count=0, seed=0)
    with refusal(UsageError, "seed-negative", seed=-1):
        write_dataset(tmp_path / "out", count=1, seed=-1)
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputExistsError):
        write_dataset(tmp_path / "taken", count=1, seed=0)
    (tmp_path / "file").write_text("in the way")
    with refusal(UsageError, "output-folder-missing", folder=tmp_path / "file"):
        write_dataset(tmp_path / "file" / "out", count=1, seed=0)
    with refusal(UsageError, "output-is-file", path=tmp_path / "file"):
        write_dataset(tmp_path / "file", count=1, seed=0, force=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "taken"]
