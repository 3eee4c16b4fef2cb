"""Auto-calibration: looks near the lens refine the correction, looks at the screen do not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from mggr_edge.cli import main
from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline import lens_looks
from mggr_edge.pipeline import lens_looks as auto_calibration
from mggr_edge.pipeline.gaze_correction import NO_CORRECTION, GazeCorrection, constant_correction
from mggr_edge.pipeline.lens_looks import MOST_CHANGE_DEG, AutoCalibration, LensLooks
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import EyeResult, FaceResult, FrameResult
from mggr_edge.runs.profile import Profile, estimator_of, write_profile

FRAME = np.zeros((2, 2, 3), np.uint8)
SCREEN = (-12.0, 0.0)
RATE = 5


class Person:
    """A person whose estimated gazes are scripted, and what refines their correction."""

    def __init__(self, correction: GazeCorrection = NO_CORRECTION, *, roll_deg: float = 0.0):
        self.bundle: object = object()
        self.correction = correction
        self.said: list[str] = []
        self.faces = 1
        self.identity = 0
        self.head = Gaze(0, 0)
        self.time_s = 0.0
        self.changes: list[tuple[float, float]] = []
        self._estimate: Gaze | None = Gaze(0, 0)
        self._roll_deg = roll_deg
        self.refining = AutoCalibration(self, self, notify=self.said.append)  # type: ignore[arg-type]

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        gaze = self._estimate
        if gaze is not None:
            gaze = self.correction.corrected(gaze, head_pose=self.head).rolled(-self._roll_deg)
        x, y = np.cos(np.radians(self._roll_deg)), np.sin(np.radians(self._roll_deg))
        right, left = (
            EyeResult(
                side,  # type: ignore[arg-type]
                np.full((16, 2), (30 * sign * x, 30 * sign * y), np.float32),
                gaze,
                Gaze(0, 0),
                0.0,
                None,
            )
            for side, sign in (("right", -1), ("left", 1))
        )
        head = self.head.rolled(-self._roll_deg)
        face = FaceResult(self.identity, np.zeros((468, 3), np.float32), head, (right, left))
        return FrameResult(frame, (face,) * self.faces)

    def look(self, estimate: ArrayLike | None) -> None:
        """One frame."""
        self._estimate = None if estimate is None else Gaze.from_array(estimate)
        self.time_s += 1 / RATE
        self.refining(FRAME, time_s=self.time_s)
        self.changes.append(self.refining.change_deg)

    @property
    def change(self) -> NDArray[np.float64]:
        return np.array(self.refining.change_deg)


def estimates(
    rng: np.random.Generator,
    *,
    error: ArrayLike,
    lens_share: float,
    minutes: float,
    screen: ArrayLike = SCREEN,
) -> Iterator[NDArray[np.float64]]:
    """Gazes of a call: looks of half a second to three, at the lens or around the screen."""
    frames = 0
    while frames < minutes * 60 * RATE:
        at_lens = rng.random() < lens_share
        gaze = np.zeros(2) if at_lens else np.asarray(screen) + rng.normal(0, (1.0, 3.0))
        for _ in range(int(RATE * rng.uniform(0.5, 3))):
            frames += 1
            yield gaze + np.asarray(error) + rng.normal(0, 1.5, 2)


@pytest.mark.parametrize("error", [(1.5, -1.5), (2.2, 0.0), (-2.0, 0.5)])
@pytest.mark.parametrize("roll_deg", [0.0, pytest.param(20.0, marks=pytest.mark.extended)])
def test_it_converges_to_the_looks_at_the_lens_and_not_to_the_mean(
    error: tuple[float, float], roll_deg: float
) -> None:
    base = GazeCorrection((3.0, -1.0), ((0.2, 0.0), (0.0, 0.1)), (0, 0), (-9, 9), (-9, 9))
    person = Person(base, roll_deg=roll_deg)
    person.head = Gaze(4.0, -5.0)
    of_profile = base.offsets_deg((4.0, -5.0))
    rng = np.random.default_rng(0)
    for gaze in estimates(rng, error=of_profile + error, lens_share=0.4, minutes=8):
        person.look(gaze)
    # The mean of all looks is 7 degrees lower.
    assert np.linalg.norm(person.change - error) < 0.4
    assert person.correction == base.moved(person.change)
    assert person.refining.facts()["looks"] == "near"
    assert 0.25 < person.refining.near_lens_s / (8 * 60) < 0.45
    assert len(person.said) >= 2


@pytest.mark.parametrize("screen", [(-12.0, 0.0), (-7.0, 0.0)])
def test_without_looks_at_the_lens_nothing_changes_and_that_is_reported(
    screen: tuple[float, float],
) -> None:
    person = Person(constant_correction(Gaze(1, 2)))
    rng = np.random.default_rng(0)
    for gaze in estimates(rng, error=(1, 2), lens_share=0.0, minutes=4, screen=screen):
        person.look(gaze)
    assert np.linalg.norm(person.change) < 0.3
    assert person.refining.facts()["looks"] in ("few", "far")
    assert len(person.said) >= 1
    assert "near the lens" in person.said[-1]


@settings(max_examples=10)
@given(
    seed=st.integers(0, 2**32 - 1),
    pitch=st.floats(-12, 12),
    yaw=st.floats(-12, 12),
    share=st.floats(0, 1),
    down=st.floats(-15, 0),
)
def test_the_change_is_bounded_whatever_is_looked_at(
    seed: int, pitch: float, yaw: float, share: float, down: float
) -> None:
    person = Person()
    looks = estimates(
        np.random.default_rng(seed),
        error=(pitch, yaw),
        lens_share=share,
        minutes=1,
        screen=(down, 0),
    )
    for gaze in looks:
        person.look(gaze)
    assert np.linalg.norm(person.changes, axis=1).max() <= MOST_CHANGE_DEG + 1e-9


@given(
    st.lists(
        st.tuples(st.floats(-90, 90), st.floats(-90, 90), st.floats(0.01, 400)),
        max_size=20,
    )
)
def test_a_mode_is_within_bounds_or_there_is_none(looks: list[tuple[float, float, float]]) -> None:
    gathered = LensLooks()
    assert gathered.cluster().found == "few"
    for pitch, yaw, seconds in looks:
        gathered.add((pitch, yaw), seconds)
    cluster = gathered.cluster()
    assert np.linalg.norm(cluster.gaze_deg) <= MOST_CHANGE_DEG
    assert 0 <= cluster.share <= 1 + 1e-9
    if cluster.found != "near":
        assert cluster.gaze_deg == (0.0, 0.0)


def test_a_mode_is_that_of_the_nearer_cluster() -> None:
    rng = np.random.default_rng(0)
    looks = LensLooks()
    for _ in range(1000):
        near = rng.random() < 0.3
        centre = (1.5, 1.0) if near else (-6.0, 1.0)
        looks.add(np.array(centre) + rng.normal(0, 1.2, 2), 0.1)
    found = looks.cluster()
    assert found.found == "near"
    assert found.gaze_deg == pytest.approx((1.5, 1.0), abs=0.4)
    assert found.share == pytest.approx(0.3, abs=0.06)


def test_old_looks_are_forgotten() -> None:
    looks = LensLooks()
    for centre in (2.0, -2.0):
        for _ in range(int(6 * lens_looks.MEMORY_S)):
            looks.add((centre, 0), 1.0)
    assert looks.cluster().gaze_deg == pytest.approx((-2.0, 0), abs=0.1)


def _seconds_used(person: Person, **changes: object) -> float:
    before = person.refining.facts()["used_s"]
    for name, value in changes.items():
        setattr(person, name, value)
    for _ in range(2 * RATE):
        person.look((0.5, 0.5))
    return float(person.refining.facts()["used_s"]) - float(before)


def test_only_steady_frames_of_one_face_with_open_eyes_are_used() -> None:
    person = Person()
    assert _seconds_used(person) == pytest.approx(2 - 1 / RATE, abs=0.1)
    assert _seconds_used(person, faces=2) == 0.0
    assert _seconds_used(person, faces=0) == 0.0
    assert _seconds_used(person, faces=1) == pytest.approx(2 - 1 / RATE, abs=0.1)
    assert _seconds_used(person, identity=5) == pytest.approx(2 - 1 / RATE, abs=0.1)
    for _ in range(5):
        person.look(None)
    person.time_s += 100  # A gap.
    used = person.refining.facts()["used_s"]
    person.look((0, 0))
    assert person.refining.facts()["used_s"] == used
    for n in range(RATE):
        person.head = Gaze(0, 5.0 * n)  # 25 degrees per second.
        person.look((0, 0))
    assert person.refining.facts()["used_s"] == pytest.approx(used + 1 / RATE, abs=0.1)
    person.time_s -= 50
    person.look((0, 0))
    person.refining(FRAME)  # A picture.
    assert person.refining.facts()["used_s"] == pytest.approx(used + 1 / RATE, abs=0.1)


def test_a_new_bundle_and_another_video_start_from_their_own_correction() -> None:
    first, second = constant_correction(Gaze(1, 0)), constant_correction(Gaze(-3, 2))
    person = Person(first)

    def look_for(seconds: float, error: ArrayLike) -> None:
        for _ in range(int(seconds * RATE)):
            person.look(np.asarray(error))

    look_for(120, (2.0, 0.0))
    assert person.change == pytest.approx((0.8, 0.0), abs=0.2)
    person.refining.reset()
    assert (person.correction, person.refining.change_deg) == (first, (0.0, 0.0))
    look_for(120, (2.0, 0.0))
    person.bundle, person.correction = object(), second  # As `Redirector.take` does.
    person.look((-3.0, 2.0))
    assert (person.correction, person.refining.change_deg) == (second, (0.0, 0.0))
    look_for(120, (-3.0, 4.0))
    assert person.change[1] > 1.0
    assert person.correction == second.moved(person.change)


def _written_video(path: Path, picture: NDArray[np.uint8], frames: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(10))
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())


@pytest.mark.extended
def test_a_run_refines_and_reports(
    bundle: Bundle, portrait: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lens_looks, "LEAST_S", 0.5)
    monkeypatch.setattr(auto_calibration, "TIME_CONSTANT_S", 0.2)
    (face,) = Redirector(bundle, strength=0.0).process(portrait).faces
    gaze = face.eyes[0].gaze_before
    assert gaze is not None
    error = gaze.rolled(face.roll_deg).array()
    left = np.array([1.0, 1.0])  # What the profile leaves.
    correction = constant_correction(Gaze.from_array(error - left))
    write_profile(
        Path("me.json"), Profile(estimator_of(bundle.contract), correction, 30), force=True
    )
    _written_video(Path("call.mp4"), portrait, 40)
    asked = ["run", "call.mp4", "null://", "--profile", "me.json", "--estimate-only", "--stats"]
    plain = CliRunner().invoke(main, [*asked, "--metrics", "plain.jsonl"])
    assert plain.exit_code == 0, plain.output
    refined = CliRunner().invoke(main, [*asked, "--metrics", "auto.jsonl", "--auto-calibrate"])
    assert refined.exit_code == 0, refined.output
    plain_lines, auto_lines = (
        [json.loads(line) for line in Path(name).read_text().splitlines()]
        for name in ("plain.jsonl", "auto.jsonl")
    )
    assert "auto_calibration" not in plain_lines[-1]
    facts = auto_lines[-1]["auto_calibration"]
    assert set(facts) == {"change_deg", "near_lens_s", "used_s", "looks"}
    assert facts["looks"] == "near"
    assert facts["used_s"] == pytest.approx(3.9, abs=0.2)
    # The frames of a video are compressed, so the remaining error differs a little from `left`.
    remaining = Gaze(*plain_lines[-1]["faces"][0]["eyes"][0]["gaze_deg"]).rolled(face.roll_deg)
    np.testing.assert_allclose(remaining.array(), left, atol=1)
    np.testing.assert_allclose(facts["change_deg"], remaining.array(), atol=0.6)

    def off_deg(lines: list[dict]) -> float:
        return Gaze(*lines[-1]["faces"][0]["eyes"][0]["gaze_deg"]).angle_to(Gaze(0, 0))

    assert off_deg(auto_lines) < 0.7 * off_deg(plain_lines)
    assert "auto-calibration" not in plain.output
    # In the statistics and in the summary.
    assert refined.output.count("auto-calibration changed the offset by") >= 2


def test_a_live_run_refines_and_reports(
    bundle: Bundle,
    portrait: NDArray[np.uint8],
    scripted: Callable[[SimpleNamespace], SimpleNamespace],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    left = iter([portrait] * 12)

    def read() -> NDArray[np.uint8] | None:
        time.sleep(0.05)
        return next(left, None)

    scripted(SimpleNamespace(read=read, close=lambda: None))
    asked = ["run", "/dev/video0", "null://", "--profile", "none", "--auto-calibrate"]
    ended = CliRunner().invoke(main, [*asked, "--metrics", "auto.jsonl", "--stats-every", "0.01"])
    assert ended.exit_code == 0, ended.output
    lines = [json.loads(line) for line in Path("auto.jsonl").read_text().splitlines()]
    assert lines[-1]["auto_calibration"]["change_deg"] == [0.0, 0.0]
    assert ended.output.count("auto-calibration changed the offset by") >= 3
