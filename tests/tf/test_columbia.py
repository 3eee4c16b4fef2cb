"""Patches in the Columbia naming: names, sides, bad files."""

import cv2
import numpy as np
import pytest

from mggr_edge.errors import DataError
from mggr_edge.geometry.angles import Gaze
from mggr_tf.data import columbia
from mggr_tf.data.columbia import PatchName, parse_name
from mggr_tf.data.listing import samples_of
from mggr_tf.data.patch_files import eyeless_reason
from mggr_tf.drawn_eyes import draw_subject, render_eye
from refusals import refusal


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


@pytest.mark.parametrize("bad", ["eye.jpg", "0001_2m_xP_0V_0H_L.jpg", "0001_1m_0P_0V_0H_L.jpg"])
def test_other_names_are_refused_with_an_example(bad):
    with refusal(DataError, "patch-name-invalid", name=bad) as caught:
        parse_name(bad)
    assert "0001_2m_0P_10V_-5H_L.jpg" in str(caught.value)


def test_left_eyes_are_mirrored_and_their_yaws_turned(tmp_path, eye):
    put(tmp_path, "0001_2m_15P_10V_-5H_L.jpg", eye)
    put(tmp_path, "0001_2m_15P_10V_-5H_R.jpg", eye)
    samples = samples_of(columbia.scan(tmp_path), source=tmp_path)
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
    assert [label.gaze for label in scanned.labels] == [Gaze(0, 0)]
    assert {bad.name: bad.reason for bad in scanned.bad} == {
        "0001_2m_0P_0V_5H_L.jpg": "blank",
        "0001_2m_0P_0V_10H_L.jpg": "shows no eye",
        "0001_2m_0P_0V_15H_L.jpg": "64 x 32 pixels instead of 64 x 64",
        "0001_2m_0P_10V_0H_L.jpg": "corrupt",
        "0001_2m_0P_10V_5H_L.jpg": "corrupt",
    }


def test_a_soft_picture_of_an_eye_is_no_wall():
    """Drawn person 2 of seed 1 has the softest camera of the first 30; a wall may be noisier."""
    person = draw_subject([1, 2])
    eye = render_eye(person, gaze=Gaze(0, 5), head_pose=Gaze(0, 0), side="right", seed=0).image
    assert eyeless_reason(eye) is None
    assert eyeless_reason(cv2.GaussianBlur(eye, (0, 0), 1)) is None
    noise = np.random.default_rng(0).normal(0, 6, (64, 64, 3))
    shaded = np.linspace(60, 200, 64)[None, :, None] + noise
    assert eyeless_reason(shaded.clip(0, 255).astype(np.uint8)) == "shows no eye"


def test_training_refuses_a_folder_with_corrupt_files(tmp_path, eye):
    put(tmp_path, "0001_2m_0P_0V_0H_L.jpg", eye)
    (tmp_path / "0001_2m_0P_10V_5H_L.jpg").write_bytes(b"")
    corrupt = tmp_path / "0001_2m_0P_10V_5H_L.jpg"
    with refusal(DataError, "patch-invalid", path=corrupt, reason="corrupt", count=1):
        samples_of(columbia.scan(tmp_path), source=tmp_path)


def test_patches_that_show_no_eye_are_left_out(tmp_path, eye):
    put(tmp_path, "0001_2m_0P_0V_0H_L.jpg", eye)
    put(tmp_path, "0001_2m_0P_0V_5H_L.jpg", np.full_like(eye, 200))
    assert len(samples_of(columbia.scan(tmp_path), source=tmp_path)) == 1
    (tmp_path / "0001_2m_0P_0V_0H_L.jpg").unlink()
    with refusal(DataError, "no-usable-patch", path=tmp_path, count=1):
        samples_of(columbia.scan(tmp_path), source=tmp_path)


def test_a_photograph_is_no_patch_and_the_error_says_what_to_do():
    name = columbia.parse_photo_name("0001_2m_-15P_10V_-10H.JPG")
    assert name == columbia.PhotoName("0001", Gaze(0, -15), Gaze(10, -10))
    assert name.patch("left").file_name() == "0001_2m_-15P_10V_-10H_R.jpg"
    assert columbia.parse_photo_name("0001_2m_-15P_10V_-10H_L.jpg") is None
    for photo in ("0001_2m_-15P_10V_-10H.jpg", "0001_2m_0P_0V_0H.jpg"):
        with refusal(DataError, "patch-name-of-photograph", name=photo) as caught:
            parse_name(photo)
        assert "mggr-tf data crop" in str(caught.value)
    with refusal(DataError, "name-angle-invalid", name="0001_2m_0P_99V_0H.jpg") as caught:
        columbia.parse_photo_name("0001_2m_0P_99V_0H.jpg")
    assert "pitch_deg" in caught.value.fields["reason"]


@pytest.mark.parametrize(
    ("extra", "licence"),
    [
        ({}, columbia.LICENCE),
        ({"SYNTHETIC": "drawn"}, columbia.SYNTHETIC_LICENCE),
        ({"licence.txt": "\ufeffCC BY 4.0,\nby me\n"}, "CC BY 4.0, by me"),
    ],
)
def test_the_licence_is_what_lies_beside_the_patches(tmp_path, eye, extra, licence):
    put(tmp_path, "0001_2m_0P_0V_0H_L.jpg", eye)
    for name, text in extra.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert columbia.scan(tmp_path).licence == licence


def test_an_empty_licence_is_refused(tmp_path, eye):
    put(tmp_path, "0001_2m_0P_0V_0H_L.jpg", eye)
    (tmp_path / "licence.txt").write_text("\n")
    with refusal(DataError, "licence-empty", path=tmp_path / "licence.txt"):
        columbia.scan(tmp_path)
