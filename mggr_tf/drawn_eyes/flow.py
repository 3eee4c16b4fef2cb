"""Exact flow between two images of a synthetic eye.

Both images show the same person with the same head pose. The gaze, the lids and the crop position
may differ. Each pixel shows a point of a lid, the skin, the iris or the sclera. The flow of the
pixel leads to the same point in the other image. The flow ignores lashes, reflections, glasses and
shadows.

`flow_codes` quantizes the flow to int8 in units of 1/8 pixel. The rounding error is at most 1/16
pixel, and the range is about 15.9 pixels. A point that moves further, or that is hidden in the
other image, has the code `UNSEEN`.

Coordinates are defined in `face_geometry`. `lids` divides the skin around the opening into three
sheets, which move in different ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.face_geometry import Face, face_height, intersect_face
from mggr_tf.drawn_eyes.globe import (
    IRIS_PLANE,
    Globe,
    camera_position,
    intersects_sphere,
    on_iris,
    on_sclera,
)
from mggr_tf.drawn_eyes.lids import (
    ALONG,
    CARUNCLE,
    OPEN,
    LidCurves,
    SidewaysSlide,
    at,
    column_of,
    material_at,
    place_of,
    share_of_slide,
    slide_sideways,
    unslide_sideways,
)

_SAME_PLACE_MM = 0.5
"""Tolerance of the test for hidden points, mm.

`_follow` computes where the line of sight through a point meets the face. If the distance between
this intersection and the point is larger than the tolerance, the point is hidden.
"""


_UNMOVED_MM = 1e-9
"""Motion of skin, mm, below which the skin counts as unmoved."""


class Sight(NamedTuple):
    """Position and scale of camera coordinates in an image.

    Attributes:
        px_per_mm: scale, pixels per millimetre.
        eye_x: x of the eyeball's centre in the image, pixels.
        eye_y: y of the eyeball's centre in the image, pixels.
    """

    px_per_mm: float
    eye_x: float
    eye_y: float


class Head(NamedTuple):
    """Geometry that is the same in two images of one person with one head pose.

    Attributes:
        face: surface of the face.
        rotation: [3, 3] rotation matrix from head axes to camera axes.
        nose: [2, 2] camera coordinates (x, y) of two points on the ridge of the nose, mm. The line
            through both points is the border of the nose. The nose does not move.
    """

    face: Face
    rotation: NDArray[np.float64]
    nose: NDArray[np.float64]


class DrawnFrame(NamedTuple):
    """Geometry that can differ between two images of one person with one head pose."""

    sight: Sight
    curves: LidCurves
    slide: SidewaysSlide
    globe: Globe


@dataclass(frozen=True)
class ExactFlow:
    """Backward flow from a target image to a source image.

    Attributes:
        flow: [H, W, 2] float32 (dx, dy) in pixels. Pixel (x, y) of the target image shows the same
            point as position (x + dx, y + dy) of the source image.
        seen: [H, W] bool. True if the source image shows the point at the centre of the pixel.
        visible: [H, W] bool. True if `seen` is True and no pixel mixes two materials, such as skin
            and iris. Both the target pixel and its source pixels must show a single material.
    """

    flow: NDArray[np.float32]
    seen: NDArray[np.bool_]
    visible: NDArray[np.bool_]


def exact_flow(
    asked: DrawnFrame,
    other: DrawnFrame,
    *,
    head: Head,
    size_px: int,
    edges: bool = True,
) -> ExactFlow:
    """Return the backward flow from the target image `asked` to the source image `other`.

    Args:
        asked: target image.
        other: source image.
        head: geometry that is the same in both images.
        size_px: width and height of both images, pixels.
        edges: False skips the search for pixels that mix two materials. `visible` is then equal to
            `seen`.
    """
    flow = np.zeros((size_px, size_px, 2), np.float32)
    seen = np.zeros((size_px, size_px), np.bool_)
    _trace(asked, other, head, flow, seen)
    if not edges:
        return ExactFlow(flow, seen, seen)
    here = _edges_unknown(label_map(asked, head=head, size_px=size_px))
    there = _edges_unknown(label_map(other, head=head, size_px=size_px))
    pure = np.zeros((size_px, size_px), np.bool_)
    _find_pure(here, there, flow, pure)
    return ExactFlow(flow, seen, seen & pure)


def label_map(
    moment: DrawnFrame,
    *,
    head: Head,
    size_px: int,
) -> NDArray[np.int8]:
    """Return the label of the material at the centre of each pixel, [size, size] int8.

    The labels of the three sheets of skin are `PLATE`, `ABOVE` and `BELOW`. The labels of other
    materials are `IRIS`, `SCLERA`, `FLESH` and `NOSE`.
    """
    labels = np.zeros((size_px, size_px), np.int8)
    _label(moment, head, labels)
    return labels


IRIS, SCLERA, FLESH, NOSE = 4, 5, 6, 7
"""Labels of the materials that are not sheets of skin. `lids` defines the labels of the sheets."""


def _edges_unknown(labels: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return the labels, but with 0 at each pixel that has a neighbour with a different label."""
    box = np.ones((3, 3), np.uint8)
    grown, shrunk = (change(labels.view(np.uint8), box) for change in (cv2.dilate, cv2.erode))
    return np.where(grown == shrunk, labels, 0).astype(np.int8)


@compiled
def beyond_nose(nose: np.ndarray, x: float, y: float) -> float:
    """Return the horizontal distance, mm, of camera coordinates (x, y) from the ridge of the nose.

    The distance is positive on the nose.
    """
    slope = (nose[1, 0] - nose[0, 0]) / (nose[1, 1] - nose[0, 1])
    return x - (nose[0, 0] + slope * (y - nose[0, 1]))


@compiled
def is_eyeball(moment: DrawnFrame, head_x: float, x: float, y: float) -> bool:
    """Return whether the eyeball is visible at a position in the eye opening.

    Otherwise, flesh is visible.

    Args:
        moment: geometry of the image.
        head_x: x of the position in head coordinates, mm.
        x: x of the position in camera coordinates, mm.
        y: y of the position in camera coordinates, mm.
    """
    along = at(moment.curves, column_of(head_x - moment.slide.mm), ALONG)
    return intersects_sphere(moment.globe, x, y) and along < CARUNCLE


@compiled
def sheet_at(moment: DrawnFrame, head_x: float, head_y: float) -> tuple[int, float]:
    """Return the sheet and the position on the sheet at head coordinates (x, y), mm.

    See `lids.material_at`.
    """
    return material_at(moment.curves, column_of(head_x - moment.slide.mm), head_y)


@compiled
def _find_pure(here: np.ndarray, there: np.ndarray, flow: np.ndarray, pure: np.ndarray) -> None:
    """Write into `pure` [H, W] whether each pixel and its four source pixels have the same label.

    A pixel with the label 0 is never pure.
    """
    rows, columns = here.shape
    for row in range(rows):
        for column in range(columns):
            x, y = column + flow[row, column, 0], row + flow[row, column, 1]
            i = int(min(max(np.floor(y), 0), rows - 1))
            j = int(min(max(np.floor(x), 0), columns - 1))
            below, right = min(i + 1, rows - 1), min(j + 1, columns - 1)
            label = here[row, column]
            same = there[i, j] == label and there[below, right] == label
            same = same and there[i, right] == label and there[below, j] == label
            pure[row, column] = label != 0 and same


@compiled
def _label(moment: DrawnFrame, head: Head, labels: np.ndarray) -> None:
    sight = moment.sight
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            x = (column - sight.eye_x) / sight.px_per_mm
            y = (sight.eye_y - row) / sight.px_per_mm
            if beyond_nose(head.nose, x, y) > 0:
                labels[row, column] = NOSE
                continue
            head_x, head_y, _ = intersect_face(head.face, head.rotation, x, y)
            sheet, _ = sheet_at(moment, head_x, head_y)
            if sheet != OPEN:
                labels[row, column] = sheet
            elif not is_eyeball(moment, head_x, x, y):
                labels[row, column] = FLESH
            else:
                labels[row, column] = IRIS if on_iris(moment.globe, x, y)[2] else SCLERA


@compiled
def _trace(
    asked: DrawnFrame,
    other: DrawnFrame,
    head: Head,
    flow: np.ndarray,
    seen: np.ndarray,
) -> None:
    rows, columns = seen.shape
    a, b = asked.sight, other.sight
    for row in range(rows):
        for column in range(columns):
            x = (column - a.eye_x) / a.px_per_mm
            y = (a.eye_y - row) / a.px_per_mm
            there_x, there_y, shows = _follow(asked, other, head, x, y)
            to_column = b.eye_x + b.px_per_mm * there_x
            to_row = b.eye_y - b.px_per_mm * there_y
            flow[row, column, 0] = to_column - column
            flow[row, column, 1] = to_row - row
            inside = -0.5 <= to_column <= columns - 0.5 and -0.5 <= to_row <= rows - 0.5
            seen[row, column] = shows and inside


@compiled
def _follow(
    asked: DrawnFrame,
    other: DrawnFrame,
    head: Head,
    x: float,
    y: float,
) -> tuple[float, float, bool]:
    """Find a point of the image `asked` in the image `other`.

    Args:
        asked: image that shows the point.
        other: image in which to find the point.
        head: geometry that is the same in both images.
        x: x of the point in `asked`, in camera coordinates, mm.
        y: y of the point in `asked`, in camera coordinates, mm.

    Returns:
        (x, y, visible): camera coordinates of the point in `other`, mm, and whether `other` shows
        the point.
    """
    if beyond_nose(head.nose, x, y) > 0:
        return x, y, True
    head_x, head_y, _ = intersect_face(head.face, head.rotation, x, y)
    sheet, material = sheet_at(asked, head_x, head_y)
    if sheet == OPEN and is_eyeball(asked, head_x, x, y):
        return _follow_eyeball(asked.globe, other, head, x, y)
    # The flesh at the corners of the eye slides sideways together with the corners.
    share = 1.0 if sheet == OPEN else share_of_slide(asked.slide, sheet, material)
    now_x = slide_sideways(other.slide, unslide_sideways(asked.slide, head_x, share), share)
    now_y, free = head_y, True
    if sheet == OPEN:
        free = sheet_at(other, now_x, now_y)[0] == OPEN
    else:
        place = column_of(now_x - other.slide.mm)
        now_y, free = place_of(other.curves, sheet, place, material)
    if abs(now_x - head_x) + abs(now_y - head_y) < _UNMOVED_MM:
        return x, y, free
    z = face_height(head.face, now_x, now_y)
    r = head.rotation
    there_x = r[0, 0] * now_x + r[0, 1] * now_y + r[0, 2] * z
    there_y = r[1, 0] * now_x + r[1, 1] * now_y + r[1, 2] * z
    met_x, met_y, _ = intersect_face(head.face, head.rotation, there_x, there_y)
    near = abs(met_x - now_x) + abs(met_y - now_y) < _SAME_PLACE_MM
    return there_x, there_y, free and near and beyond_nose(head.nose, there_x, there_y) <= 0


@compiled
def _follow_eyeball(
    globe: Globe,
    other: DrawnFrame,
    head: Head,
    x: float,
    y: float,
) -> tuple[float, float, bool]:
    u, v, is_iris = on_iris(globe, x, y)
    w = globe.radius_mm * IRIS_PLANE
    if not is_iris:
        u, v, w = on_sclera(globe, x, y)
    there_x, there_y, depth = camera_position(other.globe, u, v, w)
    head_x, head_y, _ = intersect_face(head.face, head.rotation, there_x, there_y)
    sheet, _ = sheet_at(other, head_x, head_y)
    seen = sheet == OPEN and depth > 0 and beyond_nose(head.nose, there_x, there_y) <= 0
    return there_x, there_y, seen and is_eyeball(other, head_x, there_x, there_y)


PER_PIXEL = 8
UNSEEN = -128
"""Code of dx and dy if the source image does not show the point, or if the flow is too long."""

_REACH = 127


def flow_codes(flow: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Quantize flow to int8 codes in units of 1/8 pixel.

    Args:
        flow: [..., H, W, 2] flow in pixels.
        seen: [..., H, W] True for each pixel whose point is visible in the source image.

    Returns:
        [..., H, W, 2] int8 codes. The code is `UNSEEN` if `seen` is False, or if the flow is too
        long for the range of the codes.
    """
    codes = np.round(flow * PER_PIXEL)
    known = seen & (np.abs(codes).max(axis=-1) <= _REACH)
    return np.where(known[..., None], codes, UNSEEN).astype(np.int8)


def mirrored_codes(codes: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return the codes of the flow after both images are flipped left to right."""
    flipped = codes[..., ::-1, :].copy()
    known = flipped[..., 0] != UNSEEN
    flipped[..., 0] = np.where(known, -flipped[..., 0], UNSEEN)
    return flipped
