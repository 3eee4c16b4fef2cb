"""Draw the pictures of the report: close-ups of the eyes, whole frames, and the chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze
from mggr_export.quickstart.observe import Sight, target_at
from mggr_export.quickstart.portrait import pose_at

Picture = NDArray[np.uint8]

CLOSE_UP_PX = (160, 480)
"""Size (height, width) of a close-up in pixels."""

_EYES_MIDDLE = (224.5, 103.0)
"""Point (x, y) in the middle between both eyes in the photograph."""

_ZOOM = 6.0
"""Zoom of a close-up, in close-up pixels per pixel of the photograph.

The zoom of the video is 3.6 to 4.3.
"""


def close_up(frame: Picture, time_s: float) -> Picture:
    """Return a close-up of both eyes in a frame of the portrait video.

    The eyes have the same position in all close-ups.

    Args:
        frame: Frame of the video, before or after redirection.
        time_s: Time of the frame in seconds.

    Returns:
        [160, 480, 3] uint8.
    """
    height, width = CLOSE_UP_PX
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    view_from_photo = np.hstack(
        [_ZOOM * np.eye(2), (centre - _ZOOM * np.asarray(_EYES_MIDDLE))[:, None]]
    )
    photo_from_frame = cv2.invertAffineTransform(pose_at(time_s).frame_from_photo())
    view_from_frame = view_from_photo @ np.vstack([photo_from_frame, [0.0, 0.0, 1.0]])
    return cv2.warpAffine(frame, view_from_frame, (width, height), flags=cv2.INTER_CUBIC)


Colour = tuple[int, int, int]

INK: Colour = (28, 32, 38)
QUIET: Colour = (120, 126, 134)
PAPER: Colour = (255, 255, 255)
RULE: Colour = (226, 229, 233)

GAP_PX = 6
"""Gap in pixels between two pictures."""

_FONT = cv2.FONT_HERSHEY_DUPLEX
_DIAL_DEG = 20.0
"""Angle in degrees that corresponds to the ring of a target dial."""


def blank(size: tuple[int, int], colour: Colour = PAPER) -> Picture:
    """Return a picture [height, width, 3] that is filled with one colour."""
    return np.full((*size, 3), colour, np.uint8)


def write(
    picture: Picture,
    text: str,
    at: tuple[float, float],
    *,
    height_px: float = 14.0,
    colour: Colour = INK,
    align: Literal["left", "right", "middle"] = "left",
) -> None:
    """Write one line of ASCII text into a picture. The picture is changed in place.

    Args:
        picture: [H, W, 3] uint8 picture.
        text: Text to write.
        at: Point (x, y) on the baseline of the text. `align` defines whether the point is the left
            end, the right end or the middle.
        height_px: Height of capital letters in pixels.
        colour: Colour of the text.
        align: Position of `at` on the baseline.
    """
    scale = cv2.getFontScaleFromHeight(_FONT, round(height_px), 1)
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
    x = at[0] - {"left": 0.0, "middle": width / 2, "right": width}[align]
    cv2.putText(picture, text, (round(x), round(at[1])), _FONT, scale, colour, 1, cv2.LINE_AA)


def line(
    picture: Picture, points: NDArray[np.float64], *, colour: Colour, width_px: int = 2
) -> None:
    """Draw a line through [N, 2] points (x, y). The picture is changed in place."""
    shifted = np.rint(points * 16).astype(np.int32)[:, None]
    cv2.polylines(picture, [shifted], False, colour, width_px, cv2.LINE_AA, 4)


def dial(picture: Picture, gaze: Gaze, *, centre: tuple[float, float], radius_px: float) -> None:
    """Draw a dial that shows a gaze. The picture is changed in place.

    The dial is a ring with a dot. The direction of the dot is the direction of `gaze`. The cross in
    the middle of the ring is the camera.
    """

    def spot(x: float, y: float) -> tuple[int, int]:
        return round(16 * (centre[0] + x)), round(16 * (centre[1] + y))

    cv2.circle(picture, spot(0, 0), round(16 * radius_px), PAPER, -1, cv2.LINE_AA, 4)
    cv2.circle(picture, spot(0, 0), round(16 * radius_px), QUIET, 1, cv2.LINE_AA, 4)
    arm = radius_px / 6
    cv2.line(picture, spot(-arm, 0), spot(arm, 0), QUIET, 1, cv2.LINE_AA, 4)
    cv2.line(picture, spot(0, -arm), spot(0, arm), QUIET, 1, cv2.LINE_AA, 4)
    per_deg = radius_px / _DIAL_DEG
    at = spot(gaze.yaw_deg * per_deg, -gaze.pitch_deg * per_deg)
    cv2.circle(picture, at, round(16 * radius_px / 5), (208, 64, 38), -1, cv2.LINE_AA, 4)


_LABEL_PX = 132
_HEAD_PX = 34

_OWN_COLOUR: Colour = (29, 111, 184)
_IRIS_COLOUR: Colour = (201, 92, 20)
_TARGET_COLOUR: Colour = (150, 155, 162)

_CHART_PX = (290, 680)
_CHART_RANGE_DEG = 25.0


def strip(moments: Sequence[tuple[float, Picture, Picture]]) -> Picture:
    """Return a sheet of close-ups of the eyes before and after redirection.

    Each row shows one moment of the video.

    Args:
        moments: One tuple (time_s, frame before, frame after) for each row.
    """
    height, width = CLOSE_UP_PX
    rows = len(moments)
    sheet = blank((_HEAD_PX + rows * (height + GAP_PX), _LABEL_PX + 2 * (width + GAP_PX) + GAP_PX))
    lefts = (_LABEL_PX + GAP_PX, _LABEL_PX + 2 * GAP_PX + width)
    for text, left in zip(("before", "after"), lefts, strict=True):
        write(sheet, text, (left + width / 2, 24), align="middle")
    write(sheet, "target", (_LABEL_PX / 2, 24), align="middle")
    for row, (time_s, before, after) in enumerate(moments):
        top = _HEAD_PX + row * (height + GAP_PX)
        _label(sheet, target_at(time_s), top=top, height=height)
        for frame, left in zip((before, after), lefts, strict=True):
            sheet[top : top + height, left : left + width] = close_up(frame, time_s)
    return sheet


def _label(sheet: Picture, target: Gaze, *, top: int, height: int) -> None:
    dial(sheet, target, centre=(_LABEL_PX / 2, top + 52), radius_px=34)
    if target == Gaze(0.0, 0.0):
        write(sheet, "camera", (_LABEL_PX / 2, top + height - 34), align="middle")
        return
    for number, (name, angle) in enumerate((("yaw", target.yaw_deg), ("pitch", target.pitch_deg))):
        at = (_LABEL_PX / 2, top + height - 40 + 24 * number)
        rounded = round(angle)
        text = f"{name} {rounded:+d}" if rounded else f"{name} 0"
        write(sheet, text, at, height_px=12, align="middle")


def side_by_side(before: Picture, after: Picture, target: Gaze) -> Picture:
    """Return two whole frames next to each other. A dial in the second frame shows the target."""
    pair = np.concatenate([before, blank((before.shape[0], GAP_PX)), after], axis=1)
    radius = before.shape[1] / 18
    corner = (pair.shape[1] - 1.4 * radius, pair.shape[0] - 1.4 * radius)
    dial(pair, target, centre=corner, radius_px=radius)
    _tag(pair, "before", right=before.shape[1])
    _tag(pair, "after", right=pair.shape[1])
    return pair


def above_each_other(before: Picture, after: Picture, time_s: float) -> Picture:
    """Return two close-ups: the upper one before redirection, the lower one after redirection."""
    gap = blank((GAP_PX, CLOSE_UP_PX[1]))
    return np.concatenate([close_up(before, time_s), gap, close_up(after, time_s)])


def _tag(picture: Picture, text: str, *, right: int) -> None:
    """Write dark text on a light rectangle in the upper right corner of a frame.

    Args:
        picture: Picture that contains the frame.
        text: Text to write.
        right: Column of the picture where the frame ends.
    """
    width, height = 84, 30
    patch = picture[10 : 10 + height, right - 10 - width : right - 10]
    patch[:] = cv2.addWeighted(patch, 0.2, blank((height, width)), 0.8, 0.0)
    write(picture, text, (right - 10 - width / 2, 31), align="middle")


def chart(sights: Sequence[Sight]) -> Picture:
    """Return a chart of yaw and pitch over time, with the target and both measured gazes."""
    panels = [
        _panel("yaw", "+ image right", sights, axis=1),
        _panel("pitch", "+ up", sights, axis=0),
    ]
    return np.concatenate([_legend(), *panels])


def _legend() -> Picture:
    bar = blank((44, _CHART_PX[1]))
    entries = (
        ("target", _TARGET_COLOUR, 40),
        ("iris model", _IRIS_COLOUR, 190),
        ("run's own estimator", _OWN_COLOUR, 384),
    )
    for text, colour, left in entries:
        line(bar, np.array([[left, 26.0], [left + 34.0, 26.0]]), colour=colour, width_px=4)
        write(bar, text, (left + 44, 32))
    return bar


def _panel(name: str, direction: str, sights: Sequence[Sight], *, axis: int) -> Picture:
    height, width = _CHART_PX
    picture = blank(_CHART_PX)
    left, right, top, bottom = 60.0, width - 20.0, 36.0, height - 40.0
    end_s = max(sight.time_s for sight in sights)

    def place(time_s: float, angle_deg: float) -> tuple[float, float]:
        share = (np.clip(angle_deg, -_CHART_RANGE_DEG, _CHART_RANGE_DEG) / _CHART_RANGE_DEG + 1) / 2
        return left + (right - left) * time_s / end_s, bottom - (bottom - top) * float(share)

    write(picture, f"{name}, degrees ({direction})", (left, 22))
    for angle in (-20, -10, 0, 10, 20):
        y = place(0.0, angle)[1]
        shade = QUIET if angle == 0 else RULE
        line(picture, np.array([[left, y], [right, y]]), colour=shade, width_px=1)
        write(picture, f"{angle:+d}" if angle else "0", (left - 8, y + 6), align="right")
    for second in range(int(end_s) + 1):
        write(picture, f"{second} s", (place(second, 0.0)[0], height - 14), align="middle")
    for read, colour, width_px in (
        (lambda sight: sight.target, _TARGET_COLOUR, 6),
        (lambda sight: sight.estimated, _OWN_COLOUR, 2),
        (lambda sight: sight.by_iris, _IRIS_COLOUR, 2),
    ):
        points = [place(sight.time_s, float(read(sight).array()[axis])) for sight in sights]
        line(picture, np.asarray(points), colour=colour, width_px=width_px)
    return picture
