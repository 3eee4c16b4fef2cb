"""Make the moving picture of the README: `python -m mggr_export.tools.first_picture FILE.webp`.

The upper row shows a portrait in the public domain (NASA, from scikit-image), and the same portrait
redirected to a moving target. The lower row shows a rendered person who looks around, and the same
frames redirected to the camera. The packaged weights redirect both.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.redirector import Redirector
from mggr_tf.evaluation.clips import RATE, DrawnClip

_CELL = (300, 264)
"""Width and height of each of the four pictures in pixels."""
_LABEL_PX = 22
_FRAMES, _EVERY = 48, 2
"""Number of frames, and number of frames of the rendered clip from one to the next."""
_RADIUS_DEG = (9.0, 15.0)
"""Amplitude of the moving target, (pitch, yaw)."""
_PERSON = 1
_PARTS = ((0.46, 0.42, 0.62), (0.5, 0.42, 0.66))
"""Part of the portrait and of the rendered frame that is shown: centre (x, y) and height, as shares
of the width and of the height of the frame."""

Picture = NDArray[np.uint8]


def frames() -> Iterator[Picture]:
    """Yield the frames, [H, W, 3] uint8 RGB."""
    with Bundle.open("default") as bundle:
        portrait, person = _portrait(), DrawnClip(_PERSON)
        of_portrait, of_person = Redirector(bundle), Redirector(bundle)
        for number in range(_FRAMES):
            turn = 2 * math.pi * number / _FRAMES
            pitch_deg, yaw_deg = _RADIUS_DEG
            of_portrait.target = Gaze(pitch_deg * math.sin(2 * turn), yaw_deg * math.sin(turn))
            drawn = person.frame(number * _EVERY)
            time_s = number * _EVERY / RATE
            pairs = (
                (portrait, of_portrait.redirect_frame(portrait, time_s).frame),
                (drawn, of_person.redirect_frame(drawn, time_s).frame),
            )
            yield _joined(pairs)


def _portrait() -> Picture:
    from skimage.data import astronaut

    return cv2.resize(astronaut()[30:250, 100:350], None, fx=2, fy=2)  # type: ignore[return-value]


def _joined(pairs: tuple[tuple[Picture, Picture], ...]) -> Picture:
    """Return all pictures in one frame, with a label above each."""
    rows = []
    texts = (("portrait", "looks at a moving target"), ("rendered person", "looks at you"))
    for labels, pictures, part in zip(texts, pairs, _PARTS, strict=True):
        cells = [
            np.concatenate([_label(text), _cut(picture, *part)])
            for text, picture in zip(labels, pictures, strict=True)
        ]
        rows.append(np.concatenate(cells, axis=1))
    return np.concatenate(rows)


def _cut(picture: Picture, x: float, y: float, share: float) -> Picture:
    """Cut a part with the shape of a cell out of a picture, and scale it to the cell."""
    width, height = _CELL
    h, w = picture.shape[:2]
    cut_h = round(share * h)
    cut_w = round(cut_h * width / height)
    top = min(max(0, round(y * h - cut_h / 2)), h - cut_h)
    left = min(max(0, round(x * w - cut_w / 2)), w - cut_w)
    part = picture[top : top + cut_h, left : left + cut_w]
    return cv2.resize(part, _CELL, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _label(text: str) -> Picture:
    image = Image.new("RGB", (_CELL[0], _LABEL_PX), "white")
    draw = ImageDraw.Draw(image)
    draw.text((6, 3), text, fill="black", font=ImageFont.load_default(size=14))
    return np.asarray(image)


def main(path: Path) -> None:
    """Write an animated WebP file."""
    first, *others = [Image.fromarray(frame) for frame in frames()]
    duration_ms = round(1000 * _EVERY / RATE)
    first.save(
        path,
        save_all=True,
        append_images=others,
        duration=duration_ms,
        loop=0,
        quality=80,
        method=6,
        minimize_size=True,
    )
    print(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
