"""Data sets as they come from foreign disks, file servers and notebooks."""

import shutil

import cv2
import numpy as np
import pytest

from mggr_edge.common.progress import no_progress
from mggr_edge.errors import DataError
from mggr_tf.config.files import load_config
from mggr_tf.data import mpiigaze
from mggr_tf.data.columbia import parse_photo_name
from mggr_tf.data.crop_eyes import find_photos
from mggr_tf.data.source import open_samples, scan_source
from packs import SUBJECTS, opened, pack, put_patches
from refusals import refusal

JUNK = b"\0\5\x16\7\0\2\0\0Mac OS X"


def litter(folder):
    """Puts beside every file what systems put there, and into folders of the system copies."""
    for file in [file for file in folder.rglob("*") if file.is_file()]:
        (file.parent / f"._{file.name}").write_bytes(JUNK)
        for system in (".ipynb_checkpoints", "@eaDir", "__MACOSX"):
            (file.parent / system).mkdir(exist_ok=True)
            shutil.copy(file, file.parent / system / file.name)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(JUNK)
    return folder


def counted(source):
    scanned = scan_source(source)
    return len(scanned.labels), scanned.subjects, scanned.bad


def test_patches_and_packs(tmp_path):
    clean = counted(put_patches(tmp_path / "eyes"))
    assert clean[1] == SUBJECTS
    assert counted(litter(tmp_path / "eyes")) == clean
    pack(tmp_path / "eyes", tmp_path / "packed")
    assert counted(litter(tmp_path / "packed")) == clean
    assert len(opened(tmp_path / "packed")) == clean[0]


def test_a_pack_in_a_folder_that_a_file_server_watches(tmp_path, monkeypatch):
    from mggr_tf.data.packed import pack as packing

    finish = packing._finish

    def watched(folder, *arguments):
        (folder / "@eaDir").mkdir()
        (folder / "@eaDir" / "thumb.jpg").write_bytes(JUNK)
        return finish(folder, *arguments)

    monkeypatch.setattr(packing, "_finish", watched)
    pack(put_patches(tmp_path / "eyes"), tmp_path / "packed")
    assert not (tmp_path / "packed" / "@eaDir").exists()


def test_a_table_with_patches(tmp_path):
    put_patches(tmp_path / "eyes", subjects=("0001",))
    names = sorted(file.name for file in (tmp_path / "eyes").iterdir())
    rows = ["file,subject,side,pitch_deg,yaw_deg", *(f"{n},anna maria,left,0,1" for n in names)]
    (tmp_path / "eyes" / "eyes.csv").write_text("\n".join(rows))
    clean = counted(tmp_path / "eyes")
    assert counted(litter(tmp_path / "eyes")) == clean
    config = load_config("mggr-edge")
    how = {"config": config, "progress": no_progress, "notify": print}
    named = open_samples(str(tmp_path / "eyes"), subjects=("anna maria",), **how)
    assert named.subjects == ("anna maria",)


def test_mpiigaze(tmp_path):
    io = pytest.importorskip("scipy.io")
    person = tmp_path / "Data" / "Normalized" / "p00"
    person.mkdir(parents=True)
    eyes = {
        "image": np.random.default_rng(0).integers(0, 256, (2, 36, 60), np.uint8),
        "gaze": np.array([[0.0, 0.0, -1.0]] * 2),
        "pose": np.zeros((2, 3)),
    }
    io.savemat(person / "day01.mat", {"data": {"left": eyes, "right": eyes}})
    clean = counted(tmp_path)
    assert clean[:2] == (4, ("p00",))
    litter(tmp_path)
    assert counted(tmp_path) == clean
    assert mpiigaze.recognises(tmp_path)
    (person / "day01.mat").rename(person / "day01.MAT")
    assert counted(tmp_path) == clean


def test_photographs(tmp_path):
    photos = tmp_path / "photos"
    (photos / "anna").mkdir(parents=True)
    for name in ("one.jpg", "anna/TWO.JPEG", "anna/three.Png"):
        (photos / name).write_bytes(b"a picture, some day")
    clean = {photo.file for photo in find_photos(photos)}
    assert len(clean) == 3
    assert {photo.file for photo in find_photos(litter(photos))} == clean
    # Folders above the one that is read do not count.
    hidden = shutil.copytree(photos, tmp_path / ".hidden" / "photos")
    assert len(find_photos(hidden)) == 3


@pytest.mark.parametrize("suffix", [".JPG", ".JPEG", ".jpeg", ".png", ".Png", ".bmp"])
def test_patches_of_any_suffix(tmp_path, suffix):
    clean = counted(put_patches(tmp_path / "eyes"))
    for file in (tmp_path / "eyes").iterdir():
        if suffix.lower() in (".png", ".bmp"):
            encoded = cv2.imencode(suffix.lower(), cv2.imread(str(file)))[1]
            file.write_bytes(encoded.tobytes())
        file.rename(file.with_suffix(suffix))
    assert counted(tmp_path / "eyes") == clean


def test_a_picture_beside_patches_is_left_out_with_a_reason(tmp_path):
    clean = counted(put_patches(tmp_path / "eyes"))
    cv2.imwrite(str(tmp_path / "eyes" / "overview.png"), np.zeros((9, 9, 3), np.uint8))
    *found, bad = counted(tmp_path / "eyes")
    assert tuple(found) == clean[:2]
    assert [(one.name, one.fatal) for one in bad] == [("overview.png", False)]
    alone = tmp_path / "alone"
    alone.mkdir()
    (tmp_path / "eyes" / "overview.png").rename(alone / "overview.png")
    with refusal(DataError, "folder-unrecognised", path=alone) as caught:
        scan_source(alone)
    assert "1 .png" in caught.value.fields["found"]


def test_photographs_of_any_kind_carry_their_labels():
    for suffix in (".jpg", ".JPG", ".jpeg", ".png", ".webp"):
        assert parse_photo_name(f"0001_2m_-15P_10V_-10H{suffix}").subject == "0001"
    assert parse_photo_name("0001_2m_-15P_10V_-10H.txt") is None


def test_one_patch_in_two_files_is_refused(tmp_path):
    folder = put_patches(tmp_path / "eyes")
    file = sorted(folder.iterdir())[0]
    shutil.copy(file, file.with_suffix(".JPG"))
    twins = {"first": file.with_suffix(".JPG").name, "second": file.name}
    with refusal(DataError, "patch-in-two-files", **twins):
        scan_source(folder)


def test_what_no_reader_takes_is_named(tmp_path):
    folder = put_patches(tmp_path / "eyes")
    with refusal(DataError, "patches-in-subfolder", path=tmp_path) as caught:
        scan_source(tmp_path)
    assert str(folder) in caught.value.fields["found"]
    for file in folder.iterdir():
        file.rename(file.with_suffix(".raw"))
    with refusal(DataError, "folder-unrecognised", path=folder) as caught:
        scan_source(folder)
    assert "60 .raw" in caught.value.fields["found"]
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / ".DS_Store").write_bytes(JUNK)
    with refusal(DataError, "folder-empty", path=empty):
        scan_source(empty)
