from collections.abc import Mapping

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.errors import MissingPackageError
from mggr_edge.geometry.angles import unit_vectors
from mggr_edge.geometry.eye_crop import EyeCrop, crop_of_eye
from mggr_edge.models.installed import find_landmark_models
from mggr_edge.models.runtimes import TFLiteRunner
from mggr_edge.vision import face_mesh as head_pose_module
from mggr_edge.vision.detector import FaceDetector
from mggr_edge.vision.face_finder import FaceFinder
from mggr_edge.vision.face_mesh import FaceMesh, head_pose, region_of_detection


class FewCells:
    """A detector network whose answer is given: (row, column, logit, box width, shift)."""

    def __init__(self, *cells: tuple[int, int, float, float, float]) -> None:
        self._cells = cells

    def __call__(self, inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]:
        assert inputs["input"].shape == (1, 192, 192, 3)
        assert inputs["input"].dtype == np.float32
        assert np.abs(inputs["input"]).max() <= 1.0
        boxes = np.zeros((1, 2304, 16), np.float32)
        scores = np.full((1, 2304, 1), -100, np.float32)
        for row, column, logit, width, shift in self._cells:
            boxes[0, row * 48 + column] = [shift, 0, width, width] + 6 * [shift, 2.0]
            scores[0, row * 48 + column] = logit
        return {"reshaped_regressor_face_4": boxes, "reshaped_classifier_face_4": scores}


@pytest.mark.parametrize("size", [(192, 192), (720, 1280), (1920, 1080), (33, 17)])
def test_boxes_and_points_come_back_in_frame_pixels(size: tuple[int, int]) -> None:
    height, width = size
    scale = max(size) / 192
    (face,) = FaceDetector(FewCells((24, 24, 5.0, 40.0, 3.0))).detect(np.zeros((*size, 3), "uint8"))
    # The cell's centre is 2 input pixels right of and below the middle; the box 3 further right.
    x, y = width / 2 + 5 * scale, height / 2 + 2 * scale
    np.testing.assert_allclose(
        face.box, [x - 20 * scale, y - 20 * scale, x + 20 * scale, y + 20 * scale], atol=scale
    )
    np.testing.assert_allclose(face.points, np.tile([x, y + 2 * scale], (6, 1)), atol=scale)
    assert face.confidence == pytest.approx(1 / (1 + np.exp(-5.0)))


def test_overlapping_cells_are_averaged_by_score_and_separate_ones_kept() -> None:
    network = FewCells((10, 10, 3.0, 40, 0), (10, 11, 3.0, 40, 0), (40, 40, 1.0, 30, 0))
    faces = FaceDetector(network).detect(np.zeros((192, 192, 3), np.uint8))
    assert len(faces) == 2
    assert (faces[0].box[0] + faces[0].box[2]) / 2 == pytest.approx((42 + 46) / 2)
    assert faces[0].confidence > faces[1].confidence


def test_what_is_not_confident_is_no_face() -> None:
    detector = FaceDetector(FewCells((10, 10, -0.5, 40, 0)))
    assert detector.detect(np.zeros((100, 100, 3), np.uint8)) == ()


def test_the_mesh_comes_back_through_a_rotated_region() -> None:
    def network(inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]:
        assert inputs["input_1"].shape == (1, 192, 192, 3)
        points = np.zeros((1, 1, 1, 468, 3), np.float32)
        points[..., :2], points[..., 2] = 95.5, -19.2
        points[..., 0, 0] += 19.2
        return {
            "conv2d_20": points.reshape(1, 1, 1, 1404),
            "conv2d_30": np.full((1, 1, 1, 1), 3.0, np.float32),
        }

    region = EyeCrop(centre=(50.0, 40.0), width_px=60.0, roll_deg=90.0, size_px=192)
    fit = FaceMesh(network).fit(np.zeros((80, 100, 3), np.uint8), region)
    np.testing.assert_allclose(fit.landmarks[1], [50, 40, -6], atol=1e-4)
    # The region's x axis runs down the frame.
    np.testing.assert_allclose(fit.landmarks[0], [50, 46, -6], atol=1e-4)
    assert fit.confidence == pytest.approx(1 / (1 + np.exp(-3.0)))


def test_the_region_is_level_with_the_eyes() -> None:
    region = region_of_detection((10, 20, 50, 40), right_eye=(20, 20), left_eye=(30, 30))
    assert region.centre == (30, 30)
    assert region.width_px == 60
    assert region.roll_deg == pytest.approx(45)


@pytest.mark.parametrize("pitch_deg", [-20.0, 0.0, 25.0])
@pytest.mark.parametrize("yaw_deg", [-35.0, 0.0, 15.0])
@pytest.mark.parametrize("roll_deg", [0.0, 20.0])
def test_a_turned_neutral_face_points_where_it_was_turned(
    pitch_deg: float, yaw_deg: float, roll_deg: float
) -> None:
    z = unit_vectors([pitch_deg, yaw_deg])
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    axes = np.stack([x, np.cross(z, x), z], axis=1)
    roll = np.radians(roll_deg)
    tilt = [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    turned = head_pose_module._NEUTRAL @ np.asarray(tilt).T @ axes.T
    landmarks = np.zeros((468, 3), np.float32)
    # To the mesh's axes: y down, z away from the camera; any scale and place.
    landmarks[list(head_pose_module._STEADY)] = 7 * turned * (1, -1, -1) + (300, 200, 0)
    pose = head_pose(landmarks)
    assert pose.pitch_deg == pytest.approx(pitch_deg, abs=1e-3)
    assert pose.yaw_deg == pytest.approx(yaw_deg, abs=1e-3)


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    """A public-domain portrait, enlarged: she faces the camera and looks into it."""
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the portrait")
    head = data.astronaut()[:280, 90:350]
    return cv2.resize(head, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    try:
        paths = find_landmark_models()
    except MissingPackageError as error:
        pytest.skip(str(error))
    runners = {name: TFLiteRunner(path.read_bytes()) for name, path in paths.items()}
    return FaceFinder(
        detector=runners["face_detector"], mesh=runners["face_mesh"], iris=runners["iris"]
    )


def test_a_flat_frame_has_no_face(finder: FaceFinder) -> None:
    assert finder.find(np.full((300, 400, 3), 127, np.uint8)) == ()


def test_the_portrait_has_one_face_that_faces_the_camera(
    finder: FaceFinder, portrait: NDArray[np.uint8]
) -> None:
    (face,) = finder.find(portrait)
    assert face.landmarks.shape == (468, 3)
    assert face.confidence > 0.9
    assert abs(face.head_pose.yaw_deg) < 8
    assert abs(face.head_pose.pitch_deg) < 8
    for eye in face.eyes:
        assert 0.25 < eye.openness < 0.55
        assert 0.15 < eye.iris_radius_px / eye.width_px < 0.3


def test_her_left_eye_is_on_the_images_right(
    finder: FaceFinder, portrait: NDArray[np.uint8]
) -> None:
    (face,) = finder.find(portrait)
    right, left = face.eyes
    assert (right.side, left.side) == ("right", "left")
    assert right.iris_centre[0] < left.iris_centre[0]
    # Outer corners point away from the nose.
    assert right.corners[0, 0] < right.corners[1, 0] < left.corners[1, 0] < left.corners[0, 0]


def test_outlines_hold_the_irises_and_irises_are_dark(
    finder: FaceFinder, portrait: NDArray[np.uint8]
) -> None:
    (face,) = finder.find(portrait)
    for eye in face.eyes:
        assert cv2.pointPolygonTest(eye.outline, eye.iris_centre, measureDist=False) > 0
        x, y = np.rint(eye.iris_centre).astype(int)
        r = int(eye.iris_radius_px / 2)
        iris = portrait[y - r : y + r, x - r : x + r].mean()
        assert iris < 0.6 * portrait[y + 4 * r : y + 6 * r, x - r : x + r].mean()


def test_a_mirrored_picture_mirrors_everything(
    finder: FaceFinder, portrait: NDArray[np.uint8]
) -> None:
    (face,) = finder.find(portrait)
    (mirrored,) = finder.find(np.ascontiguousarray(portrait[:, ::-1]))
    assert mirrored.head_pose.yaw_deg == pytest.approx(-face.head_pose.yaw_deg, abs=5)
    assert mirrored.head_pose.pitch_deg == pytest.approx(face.head_pose.pitch_deg, abs=5)
    for eye, other in zip(face.eyes, mirrored.eyes[::-1], strict=True):
        flipped = other.outline * (-1, 1) + (portrait.shape[1] - 1, 0)
        assert np.abs(flipped - eye.outline).max() < 0.12 * eye.width_px


@pytest.mark.parametrize("angle_deg", [-30, 20])
def test_a_tilted_portrait_is_found_and_its_eyes_are_level_in_their_crops(
    finder: FaceFinder, portrait: NDArray[np.uint8], angle_deg: int
) -> None:
    height, width = portrait.shape[:2]
    (upright,) = finder.find(portrait)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -angle_deg, 1.0)
    (face,) = finder.find(cv2.warpAffine(portrait, turn, (width, height)))
    for eye, before in zip(face.eyes, upright.eyes, strict=True):
        moved = turn[:, :2] @ before.iris_centre + turn[:, 2]
        assert np.linalg.norm(moved - eye.iris_centre) < 0.1 * eye.width_px
        roll_deg = crop_of_eye(eye.crop_outline, corners=eye.crop_corners).roll_deg
        assert roll_deg == pytest.approx(angle_deg, abs=9)
    assert face.head_pose.yaw_deg == pytest.approx(upright.head_pose.yaw_deg, abs=8)


def test_a_straight_gaze_lies_where_training_patches_have_it(
    finder: FaceFinder, portrait: NDArray[np.uint8]
) -> None:
    (face,) = finder.find(portrait)
    places = []
    for eye in face.eyes:
        eye_from_frame = crop_of_eye(eye.crop_outline, corners=eye.crop_corners).eye_from_frame()
        x, y = eye_from_frame[:, :2] @ eye.iris_centre + eye_from_frame[:, 2]
        places.append((x if eye.side == "right" else 63 - x, y))
    # Medians of frontal, straight training patches, read by the same model: (32.7, 30.4).
    np.testing.assert_allclose(np.mean(places, axis=0), (32.7, 30.4), atol=1.5)


def test_at_most_the_asked_number_of_faces(finder: FaceFinder, portrait: NDArray[np.uint8]) -> None:
    pair = np.hstack([portrait, portrait])
    assert len(finder.find(pair)) == 2
    assert len(finder.find(pair, max_faces=1)) == 1
