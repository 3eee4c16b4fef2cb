"""The synthetic eyes are reproducible, labelled by geometry, and where their labels say."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mggr_edge.errors import OutputExistsError, UsageError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.geometry.eye_crop import DEFAULT_CROP_FACTOR, mirror_image
from mggr_tf.drawn_eyes import (
    RenderedEye,
    Subject,
    draw_subject,
    label_eye,
    render_eye,
    write_contact_sheet,
)
from mggr_tf.drawn_eyes.flow import IRIS, SCLERA
from mggr_tf.drawn_eyes.lids import LOWER, UPPER, lid_curves
from mggr_tf.drawn_eyes.preview import COLUMNS, contact_sheet
from mggr_tf.drawn_eyes.subject import Camera, Light
from refusals import refusal

FRONTAL = Gaze(0, 0)


def draw(
    gaze: Gaze,
    *,
    subject: Subject,
    head: Gaze = FRONTAL,
    side: str = "right",
    seed: int = 0,
    roll_deg: float = 0.0,
    size_px: int = 64,
) -> RenderedEye:
    return render_eye(
        subject,
        gaze=gaze,
        head_pose=head,
        side=side,
        seed=seed,
        roll_deg=roll_deg,
        size_px=size_px,
    )


@pytest.fixture(scope="module")
def plain() -> Subject:
    """A wide-open pale eye without glints, lashes or noise: its pupil is the one dark thing."""
    person = draw_subject(3)
    return dataclasses.replace(
        person,
        lids=dataclasses.replace(
            person.lids, width_mm=30.0, upper_mm=11.0, lower_mm=11.0, nasal_mm=0.0, tilt_deg=0.0
        ),
        eyeball=dataclasses.replace(
            person.eyeball, iris=(0.16, 0.2, 0.24), pupil_mm=2.6, fibres=0.0, limbus=0.0
        ),
        hair=dataclasses.replace(
            person.hair, brow_density=0.0, lash_strength=0.0, lower_lash_strength=0.0
        ),
        makeup=dataclasses.replace(person.makeup, shadow=0.0, liner=0.0),
        glasses=None,
        light=dataclasses.replace(unmirrored(person.light), shadow_strength=0.0, ambient=0.6),
        camera=dataclasses.replace(exact(person.camera), noise=0.0, blur_px=0.3, exposure=0.4),
    )


def exact(camera: Camera) -> Camera:
    """The same camera with a crop that does not err."""
    return dataclasses.replace(
        camera,
        zoom=1.0,
        shift_px=(0.0, 0.0),
        follow=(0.0, 0.0),
        jitter_px=0.0,
        zoom_jitter=0.0,
        resolution=1.0,
        jpeg=0,
    )


def unmirrored(light: Light) -> Light:
    """The same light that no cornea mirrors."""
    emitters = tuple(dataclasses.replace(e, mirrored=0.0) for e in light.emitters)
    return dataclasses.replace(light, emitters=emitters)


def measured_pupil(eye: RenderedEye) -> tuple[float, float]:
    """Centroid of the dark blob within the eyeball's disc: nothing here knows the gaze."""
    rows, columns = np.mgrid[: eye.image.shape[0], : eye.image.shape[1]]
    x, y = eye.eyeball_centre
    inside = (columns - x) ** 2 + (rows - y) ** 2 < (0.8 * eye.eyeball_radius_px) ** 2
    grey = eye.image.mean(axis=2)
    # Opening by 3 x 3 removes the lid's thin dark line and keeps the pupil.
    blob = cv2.morphologyEx(
        (inside & (grey < 60)).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)
    )
    dark = np.clip(60.0 - grey, 0, None) * cv2.dilate(blob, np.ones((3, 3), np.uint8))
    assert dark.sum() > 100, "no pupil in sight"
    return float((dark * columns).sum() / dark.sum()), float((dark * rows).sum() / dark.sum())


@pytest.mark.extended
def test_equal_seeds_give_equal_bytes() -> None:
    one = draw(Gaze(5, -7), subject=draw_subject([4, 2]), head=Gaze(3, 20), seed=9)
    two = draw(Gaze(5, -7), subject=draw_subject([4, 2]), head=Gaze(3, 20), seed=9)
    assert one.image.shape == (64, 64, 3)
    assert one.image.dtype == np.uint8
    np.testing.assert_array_equal(one.image, two.image)


def test_seed_changes_noise_alone() -> None:
    subject = draw_subject(4)
    subject = dataclasses.replace(subject, camera=exact(subject.camera))
    one, two = (draw(FRONTAL, subject=subject, seed=s).image.astype(int) for s in (1, 2))
    difference = np.abs(one - two)
    assert difference.max() > 0
    assert difference.mean() < 2 * subject.camera.noise


def test_other_seeds_give_other_people() -> None:
    people = [draw_subject([0, i]) for i in range(60)]
    assert len(set(people)) == 60
    melanin = [p.skin.melanin for p in people]
    assert min(melanin) < 0.5
    assert max(melanin) > 1.6


@pytest.mark.parametrize(
    ("gaze", "head"),
    [(Gaze(0, 12), FRONTAL), (Gaze(-20, 25), Gaze(8, 30)), (Gaze(9, -25), Gaze(-5, -30))],
)
def test_mirrored_calls_give_mirrored_pictures(gaze: Gaze, head: Gaze) -> None:
    subject = draw_subject(8)
    right = draw(gaze, subject=subject, head=head, side="right", seed=3)
    left = draw(gaze.mirrored(), subject=subject, head=head.mirrored(), side="left", seed=3)
    np.testing.assert_array_equal(left.image, mirror_image(right.image))
    assert left.iris.centre == (63 - right.iris.centre[0], right.iris.centre[1])
    assert left.eyeball_centre[0] == 63 - right.eyeball_centre[0]
    np.testing.assert_array_equal(left.outline[:, 0], 63 - right.outline[:, 0])
    assert left.gaze == gaze.mirrored()
    assert left.openness == right.openness


@pytest.mark.parametrize("pitch", [-20, -8, 0, 8, 20])
@pytest.mark.parametrize("yaw", [-25, -10, 0, 10, 25])
@pytest.mark.parametrize("head", [FRONTAL, Gaze(-10, 30)])
def test_iris_centre_follows_the_gazemaps_formula(pitch: int, yaw: int, head: Gaze) -> None:
    eye = draw(Gaze(pitch, yaw), subject=draw_subject(5), head=head)
    p, y = np.radians([pitch, yaw])
    reach = eye.eyeball_radius_px * np.cos(np.radians(30))
    expected = np.add(eye.eyeball_centre, reach * np.array([np.sin(y) * np.cos(p), -np.sin(p)]))
    np.testing.assert_allclose(eye.iris.centre, expected, atol=1e-6)


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_iris_ellipse_parts_iris_from_sclera(side: str) -> None:
    """The label map traces lines of sight, the ellipse is laid round by its axes."""
    rows, columns = np.mgrid[:256, :256]
    for gaze in (Gaze(4, 24), Gaze(-12, -18), Gaze(10, 15)):
        eye = draw(gaze, subject=draw_subject(5), side=side, size_px=256)
        labels = label_eye(eye)
        along = np.radians(eye.iris.angle_deg)
        x, y = columns - eye.iris.centre[0], rows - eye.iris.centre[1]
        major = (x * np.cos(along) + y * np.sin(along)) / eye.iris.major_px
        minor = (y * np.cos(along) - x * np.sin(along)) / eye.iris.minor_px
        inside = major**2 + minor**2 < 1
        assert (labels == IRIS).sum() > 1500
        assert (labels == SCLERA).sum() > 1500
        assert inside[labels == IRIS].mean() > 0.995
        assert inside[labels == SCLERA].mean() < 0.005


def test_a_leaning_head_takes_lids_along_and_leaves_the_gaze() -> None:
    subject = draw_subject(5)

    def slant(roll: float) -> float:
        # Straight ahead is straight ahead in a head that leans, too; lids follow other gazes.
        eye = draw(FRONTAL, subject=subject, roll_deg=roll)
        across = eye.outline[24] - eye.outline[0]
        return float(np.degrees(np.arctan2(across[1], across[0])))

    assert slant(12) == pytest.approx(slant(0) + 12, abs=0.05)
    assert slant(-12) == pytest.approx(slant(0) - 12, abs=0.05)
    leaning = draw(Gaze(3, 8), subject=subject, roll_deg=12)
    p, y = np.radians([3, 8])
    reach = leaning.eyeball_radius_px * np.cos(np.radians(30))
    expected = np.add(leaning.eyeball_centre, reach * np.array([np.sin(y) * np.cos(p), -np.sin(p)]))
    np.testing.assert_allclose(leaning.iris.centre, expected, atol=1e-6)
    twin = draw(Gaze(3, -8), subject=subject, side="left", roll_deg=-12)
    np.testing.assert_array_equal(twin.image, mirror_image(leaning.image))


@pytest.mark.parametrize("side", ["right", "left"])
def test_iris_centre_moves_right_with_yaw_and_up_with_pitch(side: str) -> None:
    subject = draw_subject(6)
    subject = dataclasses.replace(subject, camera=exact(subject.camera))
    ahead, right, up = (
        draw(gaze, subject=subject, side=side).iris.centre
        for gaze in (FRONTAL, Gaze(0, 10), Gaze(10, 0))
    )
    assert right[0] > ahead[0] + 1
    assert up[1] < ahead[1] - 1


def test_crops_follow_an_eye_up_and_down_as_landmarks_do() -> None:
    """Landmarks sit on lids, and lids go with the eye: so do crops that are laid by them."""

    def rise(subject: Subject) -> float:
        up, down = (draw(Gaze(p, 0), subject=subject).iris.centre[1] for p in (10, -10))
        return down - up

    people = [draw_subject([9, number]) for number in range(24)]
    still = [dataclasses.replace(p, camera=exact(p.camera)) for p in people]
    assert min(map(rise, still)) > 2.8
    assert np.mean([rise(p) for p in people]) < 0.5 * np.mean([rise(p) for p in still])


def test_crops_follow_the_eye_in_its_head_and_no_head() -> None:
    """A nod that takes the gaze along moves neither lids nor landmarks on the face."""
    subject = draw_subject(6)
    subject = dataclasses.replace(
        subject, camera=dataclasses.replace(exact(subject.camera), follow=(0.2, 0.7))
    )
    still = dataclasses.replace(subject, camera=exact(subject.camera))
    for gaze, head in ((Gaze(10, 0), Gaze(10, 0)), (Gaze(0, 12), FRONTAL), (Gaze(9, 0), FRONTAL)):
        followed, laid = (
            np.array(draw(gaze, subject=s, head=head).moment.sight) for s in (subject, still)
        )
        way = np.array(draw(gaze, subject=still, head=head).iris.centre) - laid[1:]
        if gaze == head:
            np.testing.assert_allclose(followed, laid, atol=1e-9)
        else:
            np.testing.assert_allclose(followed[1:], laid[1:] - way * [0.2, 0.7], atol=1e-9)


def in_head_mm(eye: RenderedEye, point: tuple[float, float]) -> np.ndarray:
    """(x, y up) mm of a patch point from where the eyeball's centre is straight ahead; frontal."""
    sight = eye.moment.sight
    return (np.array(point) - [sight.eye_x, sight.eye_y]) * [1, -1] / sight.px_per_mm


def test_the_eyeball_sinks_as_it_looks_up_and_turns_sideways_about_its_centre() -> None:
    subject = draw_subject(6)
    subject = dataclasses.replace(
        subject, eyeball=dataclasses.replace(subject.eyeball, pivot_mm=0.9)
    )
    for pitch, yaw in ((10, 0), (-10, 0), (0, 15), (8, -12)):
        eye = draw(Gaze(pitch, yaw), subject=subject)
        sunk = in_head_mm(eye, eye.eyeball_centre)
        np.testing.assert_allclose(sunk, [0, -0.9 * np.sin(np.radians(pitch))], atol=1e-9)


def test_corners_and_lids_go_with_the_gaze() -> None:
    """Ways on the face in shares of the way of the eyeball's front; inner corners keep their y."""
    subject = draw_subject(6)
    lids, radius = subject.lids, subject.eyeball.radius_mm
    assert min(lids.corner_follow, lids.slide, lids.lower_follow) > 0.04
    up, ahead, right = (
        np.array([in_head_mm(eye, p) for p in eye.landmarks()[2:6]])
        for eye in (draw(g, subject=subject) for g in (Gaze(10, 0), FRONTAL, Gaze(0, 10)))
    )
    raised = (up - ahead)[:, 1] / (radius * np.sin(np.radians(10)))
    shares = [lids.corner_follow, 0, lids.follow, lids.lower_follow]
    np.testing.assert_allclose(raised, shares, atol=0.04)
    slid = (right - ahead)[:, 0] / (radius * np.sin(np.radians(10)))
    np.testing.assert_allclose(slid, lids.slide, atol=1e-5)


@pytest.mark.parametrize(
    "gaze", [FRONTAL, Gaze(0, 20), Gaze(0, -20), Gaze(15, 0), Gaze(-15, 0), Gaze(12, -18)]
)
@pytest.mark.parametrize("head", [FRONTAL, Gaze(0, 20), Gaze(5, -20)])
def test_dark_pupil_is_drawn_where_the_label_says(plain: Subject, gaze: Gaze, head: Gaze) -> None:
    for side in ("right", "left"):
        eye = draw(gaze, subject=plain, head=head, side=side)
        np.testing.assert_allclose(measured_pupil(eye), eye.iris.centre, atol=0.3)


def test_changes_of_gaze_show_in_ordinary_people_too() -> None:
    """Iris against sclera, found by darkness alone, moves with yaw in nearly everybody."""
    moved = []
    for number in range(24):
        subject = draw_subject([17, number])
        centres = []
        for yaw in (-15, 15):
            eye = draw(Gaze(0, yaw), subject=subject)
            mask = np.zeros((64, 64), np.uint8)
            cv2.fillPoly(mask, [np.round(eye.outline).astype(np.int32)], 1)
            mask = cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0
            grey = eye.image.mean(axis=2)
            dark = mask & (grey < np.median(grey[mask]))
            centres.append(np.nonzero(dark)[1].mean())
        moved.append(centres[1] - centres[0])
    assert np.median(moved) > 4
    assert np.mean(np.array(moved) > 1.5) > 0.9


def test_crop_is_laid_round_the_outline() -> None:
    for number in range(8):
        subject = draw_subject(number)
        subject = dataclasses.replace(subject, camera=exact(subject.camera))
        for pitch, yaw in ((0, -30), (10, 0), (-10, 30)):
            eye = draw(Gaze(pitch, yaw), subject=subject, head=Gaze(0, yaw))
            centre, radius = cv2.minEnclosingCircle(eye.outline)
            np.testing.assert_allclose(centre, 31.5, atol=0.05)
            assert radius == pytest.approx(64 / DEFAULT_CROP_FACTOR, rel=2e-3)


def test_upper_lid_follows_the_pitch_within_the_head() -> None:
    subject = draw_subject(2)
    down, ahead, up = (draw(Gaze(p, 0), subject=subject).openness for p in (-15, 0, 15))
    assert down < ahead < up
    nodding = draw(Gaze(-10, 0), subject=subject, head=Gaze(-10, 0))
    assert nodding.openness == pytest.approx(ahead)


@pytest.mark.parametrize("closure", [0.0, 0.5, 1.0])
def test_lids_never_cross(closure: float) -> None:
    for number in range(30):
        person = draw_subject(number)
        for pitch in (-30, 0, 25):
            curves = lid_curves(
                person.lids,
                person.eyeball,
                gaze=Gaze(pitch, 10),
                head=np.eye(3),
                closure=closure,
            )
            gap = curves[:, UPPER] - curves[:, LOWER]
            assert gap.min() >= 0
            assert (gap.max() > 0.5) == (closure < 1)


def test_closing_covers_the_iris(plain: Subject) -> None:
    fair = dataclasses.replace(plain, skin=dataclasses.replace(plain.skin, melanin=0.3, blood=0.2))

    def dark(closure: float) -> int:
        eye = render_eye(
            fair, gaze=FRONTAL, head_pose=FRONTAL, side="right", seed=0, closure=closure
        )
        return int((eye.image.mean(axis=2) < 50).sum())

    opened, closed = dark(0.0), dark(1.0)
    assert opened > 8
    assert closed == 0
    eye = render_eye(plain, gaze=FRONTAL, head_pose=FRONTAL, side="right", seed=0, closure=1.0)
    assert eye.openness == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match=r"closure must lie in \[0, 1\]"):
        draw_closed_too_far(plain)


def draw_closed_too_far(subject: Subject) -> RenderedEye:
    return render_eye(subject, gaze=FRONTAL, head_pose=FRONTAL, side="right", seed=0, closure=1.5)


def test_angles_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="gaze must lie within"):
        draw(Gaze(0, 50), subject=draw_subject(0))
    with pytest.raises(ValueError, match="head pose must lie within"):
        draw(FRONTAL, subject=draw_subject(0), head=Gaze(0, 50))


def test_lamp_stands_still_when_the_other_eye_is_drawn() -> None:
    subject = draw_subject(12)
    lamp = dataclasses.replace(subject.light.emitters[0], azimuth_deg=0.0, mirrored=0.0)
    light = dataclasses.replace(
        subject.light,
        emitters=(lamp,),
        ambient=0.2,
        shadow_strength=0.8,
        shadow_angle_deg=0.0,
        shadow_offset=0.0,
    )
    subject = dataclasses.replace(subject, light=light, glasses=None)
    plain = dataclasses.replace(
        subject, light=dataclasses.replace(light, shadow_strength=0.0), glasses=None
    )
    for side in ("right", "left"):
        shadowed, clear = (
            draw(FRONTAL, subject=p if side == "right" else p.other_eye(), side=side).image
            for p in (subject, plain)
        )
        # A shadow of angle 0 lies on the image's right for either eye.
        assert shadowed[:, -12:].mean() < 0.8 * clear[:, -12:].mean()
        assert shadowed[:, :12].mean() > 0.95 * clear[:, :12].mean()
    assert subject.other_eye().other_eye() == subject


@pytest.mark.extended
def test_contact_sheet_is_drawn_whole_or_not_at_all(tmp_path: Path) -> None:
    sheet = contact_sheet(seed=3, people=2)
    assert sheet.shape == (22 + 2 * 128, len(COLUMNS) * 128, 3)
    write_contact_sheet(tmp_path / "sheet.png", seed=3)
    stored = cv2.imread(str(tmp_path / "sheet.png"))
    np.testing.assert_array_equal(stored[: len(sheet), :, ::-1], sheet)
    with pytest.raises(OutputExistsError):
        write_contact_sheet(tmp_path / "sheet.png", seed=4)
    with refusal(UsageError, "contact-sheet-not-png", path=tmp_path / "sheet.jpg"):
        write_contact_sheet(tmp_path / "sheet.jpg", seed=3)
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]


def test_drawing_does_not_import_tensorflow() -> None:
    code = "import sys, mggr_tf.drawn_eyes; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
