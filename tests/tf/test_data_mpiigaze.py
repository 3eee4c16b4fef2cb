"""MPIIGaze's files, made here in its layout: signs, scale, binning, bad entries."""

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from mggr_edge.errors import DataError
from mggr_edge.geometry.angles import Gaze, unit_vectors
from mggr_tf.data import mpiigaze
from mggr_tf.data.listing import samples_of
from refusals import refusal

# Corners of the right eye, outer and inner, in the data set's face model, millimetres.
RIGHT_EYE_MM = np.array([[-45.0968, -0.4838, 2.3970], [-21.3129, 0.4838, -2.3970]])


def looking(x, y):
    """A unit vector towards the camera and so far to its right and down."""
    vector = np.array([x, y, -1.0])
    return vector / np.linalg.norm(vector)


def turned_to_image_right(yaw_deg, *, up_deg=0.0):
    """The rotation vector that brings a face from the camera to there, by what it does.

    A face looks along -z of its own; it shall look along `unit_vectors` of the
    angles, whose y and z are the camera's reversed.
    """
    face = unit_vectors([up_deg, yaw_deg]) * [1, -1, -1]
    start = np.array([0.0, 0.0, -1.0])
    axis = np.cross(start, face)
    angle = np.arccos(np.clip(start @ face, -1, 1))
    return axis / max(np.linalg.norm(axis), 1e-12) * angle


def eye_picture(x=30, y=18):
    """[36, 60] of a dark iris on a bright, textured eye."""
    noise = np.random.default_rng(0).integers(0, 60, (36, 60))
    picture = (150 + noise).astype(np.uint8)
    cv2.circle(picture, (x, y), 8, 20, -1)
    return picture


def write_day(file, *, images, gazes, poses, other=None):
    eye = {"image": np.stack(images), "gaze": np.stack(gazes), "pose": np.stack(poses)}
    names = np.array([f"{i:04d}.jpg" for i in range(len(images))], dtype=object)
    file.parent.mkdir(parents=True, exist_ok=True)
    savemat(file, {"data": {"left": other or eye, "right": eye}, "filenames": names[:, None]})


def test_a_gaze_vector_has_our_signs():
    assert mpiigaze.direction(looking(0, 0)) == Gaze(0, 0)
    right_of_image = mpiigaze.direction(looking(np.tan(np.radians(10)), 0))
    assert right_of_image.yaw_deg == pytest.approx(10)
    up = mpiigaze.direction(looking(0, -np.tan(np.radians(10))))
    assert up.pitch_deg == pytest.approx(10)
    both = looking(0.3, 0.2)
    np.testing.assert_allclose(
        unit_vectors(mpiigaze.direction(both).array()), both * [1, -1, -1], atol=1e-6
    )


def test_a_head_pose_has_our_signs(tmp_path):
    poses = [turned_to_image_right(20), turned_to_image_right(0, up_deg=15), np.zeros(3)]
    write_day(
        tmp_path / "p00" / "day01.mat",
        images=[eye_picture()] * 3,
        gazes=[looking(0, 0)] * 3,
        poses=poses,
    )
    heads = [label.head.array() for label in mpiigaze.scan(tmp_path).labels if label.side == "left"]
    np.testing.assert_allclose(heads, [[0, 20], [15, 0], [0, 0]], atol=1e-4)


def test_a_nose_goes_where_the_pose_says():
    """The tip stands out of the face, at negative z of the head."""
    tip = cv2.Rodrigues(turned_to_image_right(20, up_deg=10))[0] @ [0.0, 0.0, -1.0]
    assert tip[0] > 0  # to the image's right
    assert tip[1] < 0  # up


@pytest.mark.parametrize("yaw_deg", [-30, 0, 30])
def test_the_square_is_laid_around_the_models_corners(yaw_deg):
    pose = turned_to_image_right(yaw_deg, up_deg=5)
    turned = RIGHT_EYE_MM @ cv2.Rodrigues(pose)[0].T
    seen = turned - turned.mean(axis=0) + [0, 0, 600]
    pixels = 960 * seen[:, :2] / seen[:, 2:] + [30, 18]
    centre, radius = cv2.minEnclosingCircle(pixels.astype(np.float32))
    square = mpiigaze.eye_square(pose, "right")
    assert square.width_px == pytest.approx(3.4 * radius, rel=0.005)
    np.testing.assert_allclose(square.centre, centre, atol=0.3)
    assert square.roll_deg == 0


def test_left_and_right_eyes_of_a_frontal_face_are_as_wide():
    right, left = (mpiigaze.eye_square(np.zeros(3), side) for side in ("right", "left"))
    assert right.width_px == pytest.approx(left.width_px) == pytest.approx(64.7, abs=0.05)


def test_the_eye_is_centred_and_borders_are_repeated(tmp_path):
    write_day(
        tmp_path / "p00" / "day01.mat",
        images=[eye_picture()],
        gazes=[looking(0, 0)],
        poses=[np.zeros(3)],
    )
    patch = mpiigaze.scan(tmp_path).images[0].astype(int)
    dark = np.argwhere(patch[..., 0] < 60)
    np.testing.assert_allclose(dark.mean(axis=0), [31.5, 31.5], atol=0.6)
    assert np.abs(patch[0] - patch[12]).max() == 0
    assert np.abs(patch[63] - patch[51]).max() == 0
    assert (patch[..., 0] == patch[..., 2]).all()


def test_right_eyes_stay_and_left_ones_are_mirrored(tmp_path):
    write_day(
        tmp_path / "Data" / "Normalized" / "p03" / "day01.mat",
        images=[eye_picture(x=38)],
        gazes=[looking(0.2, -0.1)],
        poses=[turned_to_image_right(20)],
    )
    samples = samples_of(mpiigaze.scan(tmp_path), source=tmp_path)
    middle = [np.argwhere(image[..., 0] < 60)[:, 1].mean() - 31.5 for image in samples.images]
    (left, right), (left_head, right_head) = samples.gaze_deg, samples.head_deg
    assert middle[0] < -5
    assert middle[1] > 5
    assert left[1] < 0 < right[1]
    assert left[0] == right[0] > 0
    assert left_head[1] == pytest.approx(-20, abs=1e-3)
    assert right_head[1] == pytest.approx(20, abs=1e-3)
    assert samples.subjects == ("p03",)
    assert "CC BY-NC-SA" in samples.licence


def test_pairs_share_a_head_pose_to_within_a_bin(tmp_path):
    poses = [turned_to_image_right(yaw) for yaw in (-2, 0, 2, 3, 7)]
    write_day(
        tmp_path / "p00" / "day01.mat",
        images=[eye_picture()] * 5,
        gazes=[looking(0, 0)] * 5,
        poses=poses,
    )
    samples = samples_of(mpiigaze.scan(tmp_path), source=tmp_path)
    right = samples.group[5:] - samples.group[5]
    np.testing.assert_array_equal(right, [0, 0, 0, 1, 1])
    np.testing.assert_allclose(samples.head_deg[5:, 1], [-2, 0, 2, 3, 7], atol=1e-3)
    assert not set(samples.group[:5]) & set(samples.group[5:])


def test_bad_entries_are_named_and_left_out(tmp_path):
    blank = np.full((36, 60), 90, np.uint8)
    nan = np.full(3, np.nan)
    write_day(
        tmp_path / "p00" / "day01.mat",
        images=[eye_picture(), blank, *[eye_picture()] * 4],
        gazes=[looking(0, 0), looking(0, 0), nan, np.zeros(3), -looking(0, 0), looking(0, 0)],
        poses=[np.zeros(3)] * 5 + [np.array([0, np.pi, 0])],
    )
    scanned = mpiigaze.scan(tmp_path)
    assert {bad.name: bad.reason for bad in scanned.bad if "left" in bad.name} == {
        "day01.mat left 2": "blank",
        "day01.mat left 3": "gaze is not a unit vector or pose is not finite",
        "day01.mat left 4": "gaze is not a unit vector or pose is not finite",
        "day01.mat left 5": "gaze or face points away from the camera",
        "day01.mat left 6": "gaze or face points away from the camera",
    }
    assert len(samples_of(scanned, source=tmp_path)) == 2


def test_subjects_are_folders(tmp_path):
    for person in ("p00", "p01"):
        write_day(
            tmp_path / "Normalized" / person / "day01.mat",
            images=[eye_picture()],
            gazes=[looking(0, 0)],
            poses=[np.zeros(3)],
        )
    assert mpiigaze.scan(tmp_path, subjects=("p01",)).subjects == ("p01",)
    assert len(mpiigaze.scan(tmp_path).labels) == 4


@pytest.mark.parametrize(
    ("change", "code", "fields"),
    [
        (
            {"image": np.zeros((1, 60, 36), np.uint8)},
            "mat-array-invalid",
            {"field": "data.left.image", "found": "uint8 [1, 60, 36]"},
        ),
        (
            {"image": np.zeros((1, 36, 60))},
            "mat-array-invalid",
            {"field": "data.left.image", "found": "float64 [1, 36, 60]"},
        ),
        (
            {"gaze": np.zeros((2, 3))},
            "mat-array-invalid",
            {"field": "data.left.gaze", "expected": [1, 3], "found": [2, 3]},
        ),
        ({"pose": None}, "mat-unreadable", {"reason": "no field of name pose"}),
    ],
)
def test_another_layout_is_refused(tmp_path, change, code, fields):
    eye = {"image": eye_picture()[None], "gaze": looking(0, 0)[None], "pose": np.zeros((1, 3))}
    spoilt = {name: value for name, value in {**eye, **change}.items() if value is not None}
    write_day(
        tmp_path / "p00" / "day01.mat",
        images=eye["image"],
        gazes=eye["gaze"],
        poses=eye["pose"],
        other=spoilt,
    )
    with refusal(DataError, code, path=tmp_path / "p00" / "day01.mat", **fields):
        mpiigaze.scan(tmp_path)


def test_a_mat_file_without_the_data_is_refused(tmp_path):
    file = tmp_path / "p00" / "day01.mat"
    file.parent.mkdir()
    savemat(file, {"other": np.zeros(3)})
    with refusal(DataError, "mat-field-missing", path=file, field="data"):
        mpiigaze.scan(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no mat file", b"MATLAB 7.3 MAT-file" + bytes(600)])
def test_what_is_no_mat_file_is_refused(tmp_path, content):
    (tmp_path / "p00").mkdir()
    (tmp_path / "p00" / "day01.mat").write_bytes(content)
    with refusal(DataError, "mat-unreadable", path=tmp_path / "p00" / "day01.mat"):
        mpiigaze.scan(tmp_path)


def test_a_damaged_mat_file_is_refused(tmp_path):
    file = tmp_path / "p00" / "day01.mat"
    write_day(file, images=[eye_picture()], gazes=[looking(0, 0)], poses=[np.zeros(3)])
    file.write_bytes(file.read_bytes()[:400])
    with refusal(DataError, "mat-unreadable", path=file):
        mpiigaze.scan(tmp_path)
