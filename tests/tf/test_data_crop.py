"""Which photographs are cut, what their patches are called, and which square is cut."""

import itertools

import numpy as np
import pytest

from mggr_edge.errors import DataError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.vision.face_finder import Face
from mggr_edge.vision.iris import Eye
from mggr_tf.data.crop_eyes import by_size, cut_eyes, find_photos, level_crop, upright_crop
from refusals import refusal


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def eye_at(x, y, *, side="right", width=120.0, tilt_deg=0.0):
    """An eye as the iris model gives it: 16 points on an ellipse, turned by `tilt_deg`."""
    turn = np.radians(180 - np.arange(16) * 22.5)  # outer corner, lower lid, inner corner, upper
    points = np.stack([np.cos(turn), 0.35 * np.sin(turn)], 1) * width / 2
    if side == "left":
        points[:, 0] *= -1
    tilt = np.radians(tilt_deg)
    points = points @ np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    return Eye(side, (points + [x, y]).astype(np.float32), (x, y), width / 5)


def face_at(x, *, apart=300.0, width=120.0):
    eyes = (eye_at(x, 300, width=width), eye_at(x + apart, 300, side="left", width=width))
    return Face(np.zeros((468, 3), np.float32), 1.0, Gaze(1, 2), eyes)


def enclosing_circle(points):
    """The smallest circle around a few points, by trying all that two or three define."""
    candidates = [((a + b) / 2, np.linalg.norm(a - b) / 2) for a, b in pairs(points)]
    for a, b, c in itertools.combinations(points, 3):
        sides = np.array([b - a, c - a])
        if abs(np.linalg.det(sides)) > 1e-6:
            centre = a + np.linalg.solve(2 * sides, (sides**2).sum(1))
            candidates.append((centre, np.linalg.norm(centre - a)))
    around = [
        (centre, radius)
        for centre, radius in candidates
        if np.linalg.norm(points - centre, axis=1).max() <= radius + 1e-6
    ]
    return min(around, key=lambda circle: circle[1])


def pairs(points):
    return itertools.combinations(points, 2)


@pytest.mark.parametrize("tilt_deg", [0, 20])
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_square_is_the_recipes(side, tilt_deg):
    """3.4 radii of the smallest circle around six landmarks, about its centre, not rotated."""
    eye = eye_at(400.3, 250.8, side=side, tilt_deg=tilt_deg)
    assert eye.crop_outline.shape == (6, 2)
    centre, radius = enclosing_circle(eye.crop_outline.astype(float))
    crop = upright_crop(eye)
    np.testing.assert_allclose(crop.centre, centre, atol=0.02)
    assert crop.width_px == pytest.approx(3.4 * radius, rel=1e-4)
    assert (crop.roll_deg, crop.size_px) == (0.0, 64)


def test_a_patch_shows_that_square_upright():
    """In a picture whose colours are coordinates, a patch says where it was cut."""
    x, y = np.meshgrid(np.arange(1000), np.arange(600))
    squares = 255 * ((x // 24 + y // 24) % 2)  # about as large as an iris: an even ramp is no eye
    frame = np.stack([x // 4, y // 4, squares], -1).astype(np.uint8)
    face = face_at(300)
    cut, not_cut = cut_eyes(frame, [face])
    assert not_cut == []
    assert [eye.side for eye in cut] == ["right", "left"]
    for eye, patch in zip(face.eyes, cut, strict=True):
        crop = upright_crop(eye)
        inside = (np.arange(64) + 0.5) / 64 - 0.5
        columns, rows = (4 * patch.patch[..., axis].astype(float).mean(axis) for axis in (0, 1))
        np.testing.assert_allclose(columns, crop.centre[0] + crop.width_px * inside, atol=4)
        np.testing.assert_allclose(rows, crop.centre[1] + crop.width_px * inside, atol=4)
        assert patch.head == Gaze(1, 2)


def test_eyes_that_are_too_small_or_show_nothing_are_no_patches():
    blocks = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    frame = blocks.repeat(20, 0).repeat(20, 1)  # 600 x 1000; finer noise is averaged to none
    frame[:, 500:] = 128
    cut, not_cut = cut_eyes(frame, [face_at(300, apart=450), face_at(100, apart=100, width=15)])
    assert [(eye.face, eye.side) for eye in cut] == [(0, "right")]
    assert [missing.what for missing in not_cut] == [
        "face 1, left eye",
        "face 2, right eye",
        "face 2, left eye",
    ]
    assert not_cut[0].reason == "blank"
    assert "too small: a square of 2" in not_cut[1].reason


def test_faces_are_numbered_by_size():
    small, large = face_at(0, apart=50), face_at(500, apart=300)
    assert by_size([small, large]) == [large, small]


def test_labels_travel_from_the_photographs_name_to_the_patchs(tmp_path):
    put(tmp_path, "0001/0001_2m_-15P_10V_-10H.jpg", "0001/notes.txt", ".0001_2m_0P_0V_0H.jpg")
    (photo,) = find_photos(tmp_path)
    assert photo.patch_file("right", face=0) == "0001_2m_-15P_10V_-10H_L.jpg"
    assert photo.patch_file("left", face=0) == "0001_2m_-15P_10V_-10H_R.jpg"
    assert photo.subject(face=0) == "0001"


def test_other_names_stand_for_their_people(tmp_path):
    (photo,) = find_photos(put(tmp_path, "me and you.PNG") / "me and you.PNG")
    assert photo.patch_file("left", face=0) == "me and you_R.jpg"
    assert photo.patch_file("left", face=1) == "me and you-face2_R.jpg"
    assert photo.subject(face=1) == "me and you-face2"


@pytest.mark.parametrize(
    ("names", "code", "fields"),
    [
        ([], "no-photographs", {"path": "{}"}),
        (["film.mp4"], "no-photographs", {"path": "{}"}),
        (
            ["0001_2m_0P_0V_0H.jpg", "0001_2m_0P_0V.jpg"],
            "photo-names-mixed",
            {"unlabelled": "0001_2m_0P_0V.jpg", "labelled": "0001_2m_0P_0V_0H.jpg"},
        ),
        (
            ["a/me.jpg", "b/me.png"],
            "photo-names-collide",
            {"first": "{}/a/me.jpg", "second": "{}/b/me.png"},
        ),
        (["0001_2m_0P_0V_95H.jpg"], "name-angle-invalid", {"name": "0001_2m_0P_0V_95H.jpg"}),
    ],
)
def test_what_cannot_be_cut_is_refused(tmp_path, names, code, fields):
    expected = {name: value.format(tmp_path) for name, value in fields.items()}
    with refusal(DataError, code, **expected):
        find_photos(put(tmp_path, *names))


def test_what_is_not_there_is_refused(tmp_path):
    with refusal(DataError, "photos-not-found", path=tmp_path / "nowhere"):
        find_photos(tmp_path / "nowhere")


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_level_square_is_rotated_with_the_eye(side):
    eye = eye_at(400.3, 250.8, side=side, tilt_deg=20)
    crop, upright = level_crop(eye), upright_crop(eye)
    turned_deg = crop.roll_deg - level_crop(eye_at(400.3, 250.8, side=side)).roll_deg
    assert turned_deg == pytest.approx(20, abs=0.01)
    assert (crop.centre, crop.width_px) == (upright.centre, upright.width_px)


def test_a_level_patch_has_level_corners_and_a_head_pose_in_its_own_axes():
    y, x = np.mgrid[:600, :1000]
    frame = np.stack([x // 4, y // 4, 255 * ((x // 24 + y // 24) % 2)], -1).astype(np.uint8)
    eyes = (eye_at(300, 300, tilt_deg=20), eye_at(600, 300, side="left", tilt_deg=20))
    face = Face(np.zeros((468, 3), np.float32), 1.0, Gaze(0, 10), eyes)
    (right, left), _ = cut_eyes(frame, [face], level=True)
    for eye, patch in zip(eyes, (right, left), strict=True):
        crop = level_crop(eye)
        # Down the patch's middle column the frame's column changes by -sin(roll) of its width.
        columns = 4 * patch.patch[:, 31:33, 0].astype(float).mean(1)
        slope = np.polyfit(np.arange(64) / 64, columns, 1)[0] / crop.width_px
        assert slope == pytest.approx(-np.sin(np.radians(crop.roll_deg)), abs=0.03)
        assert patch.head.angle_to(face.head_pose.rolled(crop.roll_deg)) < 1e-6
        expected_deg = 10 * np.sin(np.radians(crop.roll_deg))
        assert patch.head.pitch_deg == pytest.approx(expected_deg, abs=0.2)
