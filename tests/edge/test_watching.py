"""Faces are found again where they were; the detector looks only where it must."""

from collections.abc import Mapping

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.models.runtimes import Runner, TFLiteRunner
from mggr_edge.pipeline.tracks import LOOK_AROUND_S, MAX_GAP_S, FaceTracker
from mggr_edge.vision.face_finder import FaceFinder

STEP_S = 1 / 25


class Counted:
    """A network that counts its calls."""

    def __init__(self, network: Runner) -> None:
        self.calls = 0
        self._network = network

    def __call__(self, inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]:
        self.calls += 1
        return self._network(inputs)


@pytest.fixture
def detector(runners: dict[str, TFLiteRunner]) -> Counted:
    return Counted(runners["face_detector"])


@pytest.fixture
def finder(runners: dict[str, TFLiteRunner], detector: Counted) -> FaceFinder:
    return FaceFinder(detector=detector, mesh=runners["face_mesh"], iris=runners["iris"])


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the portrait")
    return cv2.resize(data.astronaut()[:280, 90:350], None, fx=2, fy=2)


def _moved(picture: NDArray[np.uint8], x: float, y: float) -> NDArray[np.uint8]:
    """The picture on a wide grey frame."""
    move = np.float32([[1, 0, x], [0, 1, y]])
    return cv2.warpAffine(picture, move, (1400, 700), borderValue=(90, 90, 90))


def test_a_face_that_moves_is_found_as_well_as_by_the_detector(
    finder: FaceFinder, detector: Counted, portrait: NDArray[np.uint8]
) -> None:
    watcher = FaceTracker(finder)
    for number in range(12):
        frame = _moved(portrait, 100 + 12 * number, 50 + 5 * number)
        (face,) = watcher.find(frame, number * STEP_S, max_faces=1)
        (anew,) = finder.find(frame)
        off_px = np.linalg.norm(face.landmarks[:, :2] - anew.landmarks[:, :2], axis=1)
        width_px = anew.eyes[0].width_px
        assert off_px.mean() < 0.08 * width_px
        for eye, other in zip(face.eyes, anew.eyes, strict=True):
            assert np.abs(eye.outline - other.outline).max() < 0.04 * width_px
    assert detector.calls == 1 + 12, "once by the watcher, twelve times by this test"


def test_while_there_is_room_it_looks_around_now_and_then(
    finder: FaceFinder, detector: Counted, portrait: NDArray[np.uint8]
) -> None:
    watcher = FaceTracker(finder)
    frame = _moved(portrait, 300, 50)
    for number in range(27):
        watcher.find(frame, number * STEP_S, max_faces=4)
    assert detector.calls == 3, "at 0, at 0.52 and at 1.04 seconds"


def test_somebody_who_joins_is_found_and_comes_after_who_was_there(
    finder: FaceFinder, portrait: NDArray[np.uint8]
) -> None:
    watcher = FaceTracker(finder)
    alone = _moved(portrait, 850, 50)
    together = np.where(np.arange(1400)[None, :, None] < 700, _moved(portrait, 50, 50), alone)
    (first,) = watcher.find(alone, 0.0, max_faces=4)
    waits = 0
    while len(faces := watcher.find(together, (waits + 1) * STEP_S, max_faces=4)) == 1:
        waits += 1
    assert waits * STEP_S <= LOOK_AROUND_S
    old, new = (face.landmarks[:, 0].mean() for face in faces)
    assert old == pytest.approx(first.landmarks[:, 0].mean(), abs=3)
    assert new < 700 < old


def test_a_face_that_jumps_is_found_in_the_same_frame(
    finder: FaceFinder, detector: Counted, portrait: NDArray[np.uint8]
) -> None:
    watcher = FaceTracker(finder)
    watcher.find(_moved(portrait, 20, 50), 0.0, max_faces=1)
    (face,) = watcher.find(_moved(portrait, 800, 50), STEP_S, max_faces=1)
    assert face.landmarks[:, 0].mean() > 800
    assert detector.calls == 2


def test_nobody_is_found_where_nobody_is_and_a_face_comes_back_at_once(
    finder: FaceFinder, portrait: NDArray[np.uint8]
) -> None:
    watcher = FaceTracker(finder)
    frame = _moved(portrait, 300, 50)
    empty = np.full_like(frame, 90)
    found = [len(watcher.find(f, n * STEP_S, max_faces=2)) for n, f in enumerate([frame, empty])]
    assert [*found, len(watcher.find(frame, 2 * STEP_S, max_faces=2))] == [1, 0, 1]


def test_after_a_gap_the_detector_looks_again(
    finder: FaceFinder, detector: Counted, portrait: NDArray[np.uint8]
) -> None:
    watcher = FaceTracker(finder)
    frame = _moved(portrait, 300, 50)
    watcher.find(frame, 0.0, max_faces=1)
    watcher.find(frame, MAX_GAP_S + STEP_S, max_faces=1)
    assert detector.calls == 2


def test_two_faces_that_become_one_are_one(finder: FaceFinder, portrait: NDArray[np.uint8]) -> None:
    """As when somebody passes before another: both meshes then lie on who is in front."""
    frame = _moved(portrait, 300, 50)
    (face,) = finder.find(frame)
    assert len(finder.find_again(frame, (face, face))) == 1


@pytest.fixture
def mesh(runners: dict[str, TFLiteRunner]) -> Counted:
    return Counted(runners["face_mesh"])


def test_a_mesh_is_fitted_once_for_a_new_face_and_not_for_a_known_one(
    runners: dict[str, TFLiteRunner], mesh: Counted, portrait: NDArray[np.uint8]
) -> None:
    finder = FaceFinder(detector=runners["face_detector"], mesh=mesh, iris=runners["iris"])
    frame = np.where(
        np.arange(1400)[None, :, None] < 700, _moved(portrait, 50, 50), _moved(portrait, 850, 50)
    )
    faces = finder.find_more(frame, beside=(), max_faces=4)
    assert (len(faces), mesh.calls) == (2, 2)
    (other,) = finder.find_more(frame, beside=faces[:1], max_faces=4)
    assert mesh.calls == 3
    assert other.landmarks[:, 0].mean() == pytest.approx(faces[1].landmarks[:, 0].mean(), abs=1)
    assert finder.find_more(frame, beside=faces, max_faces=4) == ()
    assert mesh.calls == 3


def test_a_video_fits_one_mesh_for_each_face_and_frame(
    runners: dict[str, TFLiteRunner], mesh: Counted, portrait: NDArray[np.uint8]
) -> None:
    finder = FaceFinder(detector=runners["face_detector"], mesh=mesh, iris=runners["iris"])
    watcher, frame = FaceTracker(finder), _moved(portrait, 300, 50)
    for number in range(30):  # the detector looks around twice
        watcher.find(frame, number * STEP_S, max_faces=4)
    assert mesh.calls == 30
