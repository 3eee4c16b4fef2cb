"""Exact flow: what one gaze shows is found in the other where the flow says."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numba.core.errors import TypingError
from scipy.spatial.transform import Rotation

from mggr_edge.geometry.angles import Gaze, unit_vectors
from mggr_tf.drawn_eyes import (
    ExactFlow,
    RenderedEye,
    draw_subject,
    flow_between,
    label_eye,
    render_eye,
)
from mggr_tf.drawn_eyes.compiled import compiled, forget_older_results
from mggr_tf.drawn_eyes.flow import IRIS, SCLERA
from mggr_tf.drawn_eyes.lids import (
    ABOVE,
    BELOW,
    OPEN,
    PLATE,
    SidewaysSlide,
    column_of,
    lid_curves,
    material_at,
    place_of,
    slide,
    slide_sideways,
    unslide,
    unslide_sideways,
)

FRONTAL = Gaze(0, 0)
HEADS = (FRONTAL, Gaze(6, -25), Gaze(-8, 25))


def pair(number: int, head: Gaze, *, side: str = "right") -> tuple[RenderedEye, RenderedEye]:
    """Two unlit pictures of one person at random gazes."""
    rng = np.random.default_rng([number, 5])
    subject = draw_subject([23, number])
    gazes = [Gaze(float(rng.uniform(-15, 15)), float(rng.uniform(-20, 20))) for _ in range(2)]
    first, second = (
        render_eye(subject, gaze=g, head_pose=head, side=side, seed=i, lit=False)
        for i, g in enumerate(gazes)
    )
    return first, second


def carried(source: RenderedEye, found: ExactFlow) -> np.ndarray:
    rows, columns = np.mgrid[:64, :64].astype(np.float32)
    return cv2.remap(
        source.image,
        columns + found.flow[..., 0],
        rows + found.flow[..., 1],
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )


@pytest.mark.extended
@pytest.mark.parametrize("side", ["right", "left"])
def test_flow_carries_bare_colours_from_gaze_to_gaze(side: str) -> None:
    errors, unmoved, shares = [], [], []
    for number in range(8):
        for head in HEADS:
            source, target = pair(number, head, side=side)
            found = flow_between(source, target)
            error = np.abs(carried(source, found).astype(float) - target.image).mean(axis=2)
            errors.append(error[found.visible])
            unmoved.append(
                np.abs(source.image.astype(float) - target.image).mean(axis=2)[found.visible]
            )
            shares.append(found.visible.mean())
    error = np.concatenate(errors)
    assert error.mean() < 1
    assert np.percentile(error, 99) < 6
    assert np.concatenate(unmoved).mean() > 2 * error.mean()
    assert np.mean(shares) > 0.7


def test_iris_flow_is_the_geometry_of_a_turning_ball() -> None:
    """Independent of the tracer: the iris's centre by the sines of the angles."""
    for number in range(6):
        for head in HEADS:
            source, target = pair(number, head)
            found = flow_between(source, target)
            labels = label_eye(target)
            x, y = target.iris.centre
            column, row = round(x), round(y)
            if not (0 <= column < 64 and 0 <= row < 64 and labels[row, column] == IRIS):
                continue
            p = np.radians([source.gaze.pitch_deg, source.gaze.yaw_deg])
            reach = source.eyeball_radius_px * np.cos(np.radians(30))
            expected = np.add(
                source.eyeball_centre,
                reach * np.array([np.sin(p[1]) * np.cos(p[0]), -np.sin(p[0])]),
            )
            away = np.array([column - x, row - y])
            there = np.array([column, row]) + found.flow[row, column]
            # A fraction of a pixel beside the centre, foreshortening changes next to nothing.
            np.testing.assert_allclose(there - away, expected, atol=0.08)


def turned_eye(gaze: Gaze, head: Gaze) -> Rotation:
    """Listing's law by Rodrigues: the head's turn, then one about the axis across both looks."""
    turn = Rotation.from_euler("YX", [head.yaw_deg, -head.pitch_deg], degrees=True)
    x, y, z = turn.inv().apply(unit_vectors(gaze.array()))
    axis = np.array([-y, x, 0.0])
    length = np.linalg.norm(axis)
    angle = np.arctan2(length, z)
    return turn * Rotation.from_rotvec(axis * (angle / max(length, 1e-12)))


def test_flow_of_the_eyeball_ends_where_a_turning_ball_takes_its_points() -> None:
    """An independent way: every visible pixel's point, turned by another library's rotations."""
    misses = []
    for number in range(8):
        for head in HEADS:
            source, target = pair(number, head)
            found, labels = flow_between(source, target), label_eye(target)
            back = turned_eye(source.gaze, head) * turned_eye(target.gaze, head).inv()
            ahead = unit_vectors(target.gaze.array())
            for label, share in ((IRIS, np.cos(np.radians(30))), (SCLERA, None)):
                row, column = np.nonzero(found.visible & (labels == label))
                x = (column - target.eyeball_centre[0]) / target.eyeball_radius_px
                y = (target.eyeball_centre[1] - row) / target.eyeball_radius_px
                if share is None:
                    z = np.sqrt(1 - x**2 - y**2)
                else:
                    z = (share - ahead[0] * x - ahead[1] * y) / ahead[2]
                there = back.apply(np.stack([x, y, z], axis=1)) * source.eyeball_radius_px
                expected = np.add(source.eyeball_centre, there[:, :2] * [1, -1])
                ends = np.stack([column, row], axis=1) + found.flow[row, column]
                misses.append(np.linalg.norm(ends - expected, axis=1))
    miss = np.concatenate(misses)
    assert len(miss) > 4000
    assert miss.max() < 1e-4


def test_flow_takes_a_margin_to_the_margin() -> None:
    """Lids' edges of the two pictures, point by point, against the flow of the skin beside them."""
    misses = []
    for number in range(12):
        source, target = pair(number, FRONTAL)
        found = flow_between(source, target)
        # The upper lid: its plate goes with its edge. Corners are too narrow for a pixel.
        for here, there in zip(target.outline[5:20], source.outline[5:20], strict=True):
            column, row = round(float(here[0])), int(np.floor(here[1] - 0.1))
            expected = there - here
            if label_eye(target)[row, column] == PLATE and found.seen[row, column]:
                misses.append(np.linalg.norm(found.flow[row, column] - expected))
    assert len(misses) > 60
    assert np.median(misses) < 0.05


@pytest.mark.parametrize("head", HEADS)
def test_flow_follows_lids_that_slide_sideways(head: Gaze) -> None:
    """A person whose lids slide far, with freckles to see it by: flow without the slide is off."""
    person = draw_subject([23, 1])
    person = dataclasses.replace(
        person,
        lids=dataclasses.replace(person.lids, slide=0.5),
        skin=dataclasses.replace(person.skin, melanin=0.4, mottle=0.05, pores=0.03, freckles=119),
    )
    source, target = (
        render_eye(person, gaze=g, head_pose=head, side="right", seed=0, lit=False)
        for g in (Gaze(-4, -15), Gaze(5, 15))
    )
    assert target.moment.slide.mm - source.moment.slide.mm > 2.5

    def error(found: ExactFlow, where: np.ndarray) -> float:
        off = np.abs(carried(source, found).astype(float) - target.image).mean(axis=2)
        return float(off[where].mean())

    found = flow_between(source, target)
    labels = label_eye(target)
    skin = found.visible & np.isin(labels, (PLATE, ABOVE, BELOW))
    still = dataclasses.replace(target, moment=target.moment._replace(slide=source.moment.slide))
    assert error(found, skin) < 1
    assert error(flow_between(source, still), skin) > 2 * error(found, skin)


def test_flow_to_itself_is_none() -> None:
    for head in HEADS:
        eye, _ = pair(3, head)
        found = flow_between(eye, eye)
        assert np.abs(found.flow).max() < 1e-5
        assert found.seen.all()


def test_flow_and_labels_mirror() -> None:
    subject = draw_subject(4)
    gazes = (Gaze(4, -9), Gaze(-6, 12))
    head = Gaze(2, 15)
    right = [render_eye(subject, gaze=g, head_pose=head, side="right", seed=1) for g in gazes]
    left = [
        render_eye(subject, gaze=g.mirrored(), head_pose=head.mirrored(), side="left", seed=1)
        for g in gazes
    ]
    here, there = flow_between(*right), flow_between(*left)
    np.testing.assert_array_equal(here.visible, there.visible[:, ::-1])
    np.testing.assert_array_equal(here.flow, there.flow[:, ::-1] * np.array([-1, 1], np.float32))
    np.testing.assert_array_equal(label_eye(right[0]), label_eye(left[0])[:, ::-1])


def test_what_lids_cover_is_not_seen() -> None:
    subject = draw_subject(6)
    down, up = (
        render_eye(subject, gaze=Gaze(p, 0), head_pose=FRONTAL, side="right", seed=1)
        for p in (-15, 10)
    )
    opened = np.isin(label_eye(up), (IRIS, SCLERA))
    hidden = opened & ~flow_between(down, up).seen
    assert hidden.sum() > 0.15 * opened.sum()


def test_pairs_of_different_heads_or_people_are_refused() -> None:
    subject = draw_subject(6)

    def eye(**changes: object) -> RenderedEye:
        how = {"gaze": FRONTAL, "head_pose": FRONTAL, "side": "right", "seed": 0, **changes}
        return render_eye(subject, **how)  # type: ignore[arg-type]

    for other in (eye(head_pose=Gaze(0, 5)), eye(side="left"), eye(size_px=32)):
        with pytest.raises(ValueError, match="same person, side, head pose and size"):
            flow_between(eye(), other)


@pytest.mark.parametrize("pull", [-6.0, -1.0, 0.0, 2.0, 4.9])
def test_sliding_has_an_inverse(pull: float) -> None:
    for rest in np.linspace(0, 14, 29):
        assert unslide(slide(rest, pull, 10.0), pull, 10.0) == pytest.approx(rest, abs=1e-9)
    assert slide(0.0, pull, 10.0) == pull
    assert slide(10.0, pull, 10.0) == 10.0


@pytest.mark.parametrize("mm", [-5.0, -0.5, 0.0, 3.0])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_sliding_sideways_has_an_inverse(mm: float, share: float) -> None:
    moved = SidewaysSlide(mm, middle_mm=-1.0, half_mm=14.0, height_mm=-3.0)
    rests = np.linspace(-35, 35, 141)
    now = np.array([slide_sideways(moved, x, share) for x in rests])
    assert (np.diff(now) > 0).all()
    back = [unslide_sideways(moved, x, share) for x in now]
    np.testing.assert_allclose(back, rests, atol=1e-9)
    between = np.abs(rests + 1) < 14
    np.testing.assert_allclose((now - rests)[between], share * mm, atol=1e-12)
    np.testing.assert_array_equal(now[np.abs(rests + 1) > 22], rests[np.abs(rests + 1) > 22])


@pytest.mark.parametrize("closure", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("pitch", [-20, 0, 15])
def test_every_point_of_the_skin_is_found_again(pitch: float, closure: float) -> None:
    met = set()
    for number in range(5):
        person = draw_subject([2, number])
        curves = lid_curves(
            person.lids,
            person.eyeball,
            gaze=Gaze(pitch, 5),
            head=np.eye(3),
            closure=closure,
        )
        for x in np.linspace(-25, 25, 41):
            for y in np.linspace(-20, 20, 61):
                place = column_of(x)
                sheet, material = material_at(curves, place, y)
                met.add(sheet)
                if sheet != OPEN:
                    there, free = place_of(curves, sheet, place, material)
                    assert there == pytest.approx(y, abs=1e-9)
                    assert free
    assert met >= {PLATE, ABOVE, BELOW}
    assert (OPEN in met) == (closure < 1)


def test_a_compiled_function_makes_no_arrays() -> None:
    @compiled
    def makes_one(count: int) -> np.ndarray:
        return np.empty(count)

    with pytest.raises(TypingError):
        makes_one(3)


def test_compiled_results_do_not_outlive_their_sources(tmp_path: Path) -> None:
    kept = tmp_path / "__pycache__"
    kept.mkdir()
    for name, age in (("a.py", 5), ("b.py", 3)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, ns=(age * 10**9, age * 10**9))
    for name, age in (("a.old.nbi", 4), ("b.new.nbi", 6), ("b.new.1.nbc", 1)):
        (kept / name).touch()
        os.utime(kept / name, ns=(age * 10**9, age * 10**9))
    assert forget_older_results(tmp_path) == 1
    assert sorted(p.name for p in kept.iterdir()) == ["b.new.1.nbc", "b.new.nbi"]
