"""A bundle that is replaced while it is in use: a good one is taken, a bad one is reported."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.errors import MggrError, UsageError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.installed import bundle_path
from mggr_edge.pipeline.gaze_correction import NO_CORRECTION, GazeCorrection, constant_correction
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.service import hot_reload as replacing
from mggr_edge.runs.service.hot_reload import BundleReloader

TARGET = Gaze(0, 12)


@pytest.fixture
def portrait() -> NDArray[np.uint8]:
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[:300, 60:380])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A float bundle that may be replaced; looked at twenty times a second."""
    monkeypatch.setattr(replacing, "LOOK_S", 0.05)
    try:
        Bundle.open("default").model("face_mesh")
    except MggrError as error:
        pytest.skip(str(error))
    return Path(shutil.copytree(bundle_path("default"), tmp_path / "bundle"))


class Running:
    """A picture that goes through again and again."""

    def __init__(
        self, place: Path, picture: NDArray[np.uint8], correction_of=lambda bundle: NO_CORRECTION
    ):
        self.said: list[str] = []
        self._picture, self._time_s = picture, 0.0
        redirector = Redirector(Bundle.open(place), target=TARGET)
        self._process = BundleReloader(
            redirector.process,
            redirector,
            place,
            correction_of=correction_of,
            notify=self.said.append,
        )

    def frame(self) -> FrameResult:
        self._time_s += 0.5  # eased in, and steady, after a few
        return self._process(self._picture, time_s=self._time_s)

    def frames_until(self, happened: Callable[[], bool]) -> Iterator[FrameResult]:
        ends_s = time.monotonic() + 20
        while not happened():
            assert time.monotonic() < ends_s, self.said
            yield self.frame()


def is_taken(text: str, place: Path) -> bool:
    """Whether a message reports that the new bundle at this place is in use."""
    return text.startswith(f"{place} was replaced") and text.endswith("new bundle is in use")


def is_refused(text: str, place: Path) -> bool:
    """Whether a message reports that the new bundle at this place is invalid."""
    return text.startswith(f"{place} was replaced") and "old bundle stays in use: " in text


def gaze_of(result: FrameResult) -> Gaze:
    gaze = result.faces[0].eyes[0].gaze_before
    assert gaze is not None
    return gaze


def put_in_place(new: Path, place: Path) -> None:
    """As an installer does it: the old one aside, the new one in."""
    place.rename(place.with_name("old"))
    shutil.copytree(new, place)
    shutil.rmtree(place.with_name("old"))


def test_a_good_one_is_used_from_the_next_frame_on(
    place: Path, portrait: NDArray[np.uint8]
) -> None:
    running = Running(place, portrait, correction_of=lambda bundle: constant_correction(Gaze(0, 6)))
    before = [running.frame() for _ in range(6)][-1]
    put_in_place(bundle_path("default-int8"), place)
    during = list(running.frames_until(lambda: bool(running.said)))
    assert all(len(result.faces) == 1 for result in during)
    assert [is_taken(text, place) for text in running.said] == [True]
    after = [running.frame() for _ in range(3)][-1]
    assert [face.identity for face in after.faces] == [face.identity for face in before.faces]
    # What is taken off its estimates came with it.
    assert gaze_of(before).yaw_deg - gaze_of(after).yaw_deg == pytest.approx(6, abs=1.5)


def test_a_bad_one_is_told_once_and_the_old_one_goes_on(
    place: Path, portrait: NDArray[np.uint8]
) -> None:
    running = Running(place, portrait)
    before = [running.frame() for _ in range(6)][-1]
    content = bytearray((place / "models" / "redirector.tflite").read_bytes())
    content[1000] ^= 1
    (place / "models" / "redirector.tflite").write_bytes(content)
    (place / "contract.json").touch()
    for result in running.frames_until(lambda: bool(running.said)):
        assert len(result.faces) == 1
    for _ in range(10):
        after = running.frame()
        time.sleep(0.02)
    (text,) = running.said
    assert is_refused(text, place)
    assert "models/redirector.tflite" in text
    assert "checksum" in text
    assert gaze_of(after).angle_to(gaze_of(before)) < 0.1


def test_one_that_is_copied_slowly_is_used_when_it_is_whole(
    place: Path, portrait: NDArray[np.uint8]
) -> None:
    running, new = Running(place, portrait), bundle_path("default-int8")
    shutil.rmtree(place / "models")
    for name in ("contract.json", "SHA256SUMS", "LICENCES.txt"):
        shutil.copyfile(new / name, place / name)
    list(running.frames_until(lambda: bool(running.said)))
    assert is_refused(running.said[0], place)
    assert re.search(r"models/\w+\.\w+ is missing", running.said[0])
    shutil.copytree(new / "models", place / "models")
    list(running.frames_until(lambda: len(running.said) == 2))
    assert is_taken(running.said[1], place)


def test_one_that_is_gone_is_no_reason_to_stop(place: Path, portrait: NDArray[np.uint8]) -> None:
    running = Running(place, portrait)
    shutil.rmtree(place)
    for _ in range(10):
        assert len(running.frame().faces) == 1
        time.sleep(0.02)
    assert running.said == []
    shutil.copytree(bundle_path("default-int8"), place)
    list(running.frames_until(lambda: bool(running.said)))
    assert [is_taken(text, place) for text in running.said] == [True]


def test_one_whose_profile_does_not_fit_is_not_taken(
    place: Path, portrait: NDArray[np.uint8]
) -> None:
    def refuse(bundle: Bundle) -> GazeCorrection:
        raise UsageError("the profile is of another model")

    running = Running(place, portrait, correction_of=refuse)
    put_in_place(bundle_path("default-int8"), place)
    list(running.frames_until(lambda: bool(running.said)))
    (text,) = running.said
    assert is_refused(text, place)
    assert text.endswith(": the profile is of another model")
