"""Patches in the Columbia naming: names, sides, bad files."""

import cv2
import numpy as np
import pytest

from mggr_edge.angles import Gaze
from mggr_edge.errors import DataError
from mggr_tf.data import columbia
from mggr_tf.data.columbia import PatchName, parse_name
from mggr_tf.data.names import parse_subjects


@pytest.fixture
def eye():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (64, 64, 3), np.uint8)


def put(folder, name, image):
    cv2.imwrite(str(folder / name), image[..., ::-1])


def test_a_name_says_what_it_should():
    name = parse_name("0012_2m_-15P_10V_-5H_L.jpg")
    assert name == PatchName("0012", Gaze(0, -15), Gaze(10, -5), "right")
    assert name.file_name() == "0012_2m_-15P_10V_-5H_L.jpg"


@pytest.mark.parametrize(
    "bad", ["eye.jpg", "0001_2m_0P_0V_0H.jpg", "0001_2m_xP_0V_0H_L.jpg", "0001_1m_0P_0V_0H_L.jpg"]
)
def test_other_names_are_refused_with_an_example(bad):
    with pytest.raises(DataError, match="for example 0001_2m_0P_10V_-5H_L"):
        parse_name(bad)


def test_left_eyes_are_mirrored_and_their_yaws_turned(tmp_path, eye):
    put(tmp_path, "0001_2m_15P_10V_-5H_L.jpg", eye)
    put(tmp_path, "0001_2m_15P_10V_-5H_R.jpg", eye)
    samples, _ = columbia.load(tmp_path)
    np.testing.assert_array_equal(samples.images[1], samples.images[0][:, ::-1])
    np.testing.assert_array_equal(samples.gaze_deg, [[10, -5], [10, 5]])
    np.testing.assert_array_equal(samples.head_deg, [[0, 15], [0, -15]])
    assert samples.group[0] != samples.group[1]


def test_bad_patches_are_found_and_named(tmp_path, eye):
    put(tmp_path, "0001_2m_0P_0V_0H_L.jpg", eye)
    put(tmp_path, "0001_2m_0P_0V_5H_L.jpg", np.full_like(eye, 200))
    ramp = np.broadcast_to(np.linspace(60, 200, 64)[None, :, None], eye.shape).astype(np.uint8)
    put(tmp_path, "0001_2m_0P_0V_10H_L.jpg", ramp)
    put(tmp_path, "0001_2m_0P_0V_15H_L.jpg", eye[:32])
    whole = (tmp_path / "0001_2m_0P_0V_0H_L.jpg").read_bytes()
    (tmp_path / "0001_2m_0P_10V_0H_L.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "0001_2m_0P_10V_5H_L.jpg").write_bytes(b"")
    scanned = columbia.scan(tmp_path)
    assert [n.gaze for n in scanned.names] == [Gaze(0, 0)]
    assert {b.file.name: b.reason for b in scanned.bad} == {
        "0001_2m_0P_0V_5H_L.jpg": "blank",
        "0001_2m_0P_0V_10H_L.jpg": "shows no eye",
        "0001_2m_0P_0V_15H_L.jpg": "64 x 32 pixels instead of 64 x 64",
        "0001_2m_0P_10V_0H_L.jpg": "corrupt",
        "0001_2m_0P_10V_5H_L.jpg": "corrupt",
    }


def test_training_refuses_a_folder_with_corrupt_files(tmp_path, eye):
    put(tmp_path, "0001_2m_0P_0V_0H_L.jpg", eye)
    (tmp_path / "0001_2m_0P_10V_5H_L.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"10V_5H_L\.jpg: corrupt"):
        columbia.load(tmp_path)


@pytest.mark.parametrize("make", [False, True])
def test_missing_and_empty_folders_are_refused(tmp_path, make):
    folder = tmp_path / "patches"
    if make:
        folder.mkdir()
    with pytest.raises(DataError, match="patches"):
        columbia.load(folder)


def test_subject_lists():
    assert parse_subjects("0001-0003,0007") == ("0001", "0002", "0003", "0007")
    for bad in ("", "a", "3-", "0003-0001"):
        with pytest.raises(DataError, match="subjects"):
            parse_subjects(bad)
