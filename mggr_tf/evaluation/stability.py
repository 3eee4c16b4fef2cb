"""Measure the temporal stability of redirected videos, relative to the input.

Two consecutive frames are aligned with the optical flow between them. The remaining difference
inside the eyes is the *alignment error*. It consists of camera noise and of everything that moves
in a way that no flow explains, such as flicker. The error of the output is compared with that of
the input at the same pixels. The flow of each video is computed in this video, because the
redirected iris moves differently from the original.

The *flicker* of the strength is the mean change of direction of the strength: the mean absolute
second difference over three consecutive frames. A strength that rises steadily has no flicker.

References:
    Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016 (OpenCV's DIS flow).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Side
from mggr_edge.pipeline.compositing import Region
from mggr_edge.pipeline.results import EyeResult, FrameResult

_MARGIN_PX = 16
"""The flow is computed in the rectangle of an eye, enlarged by this margin."""

_INSIDE = 0.5
"""Only pixels whose mask is at least this value count as inside the eye."""


@dataclass(frozen=True)
class StabilityScores:
    """Temporal stability of a clip.

    A value is `None` if the clip has nothing to measure it on.

    Attributes:
        steps: number of eyes that were redirected in two consecutive frames.
        input_error: mean alignment error of the input inside the redirected eyes, in grey levels.
        output_error: mean alignment error of the output at the same pixels, in grey levels.
        flicker: mean flicker of the strength.
    """

    steps: int
    input_error: float | None
    output_error: float | None
    flicker: float | None

    @property
    def ratio(self) -> float | None:
        """Alignment error of the output, divided by that of the input."""
        if not self.input_error or self.output_error is None:
            return None
        return self.output_error / self.input_error


class Stability:
    """Collects the stability of the eyes of a clip, frame by frame."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._before: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None
        self._masked: set[tuple[int, Side]] = set()
        self._errors: list[tuple[float, float]] = []
        self._strengths: dict[tuple[int, Side], list[float]] = {}
        self._flicker: list[float] = []

    def add(self, frame: NDArray[np.uint8], result: FrameResult) -> None:
        """Add a frame. `frame` is the input of the redirector, [H, W, 3] uint8 RGB."""
        if self._before is not None and self._before[0].shape != frame.shape:
            self._before = None
        masked, strengths = set(), {}
        for face in result.faces:
            for eye in face.eyes:
                key = face.identity, eye.side
                strengths[key] = [*self._strengths.get(key, []), eye.strength][-3:]
                if len(strengths[key]) == 3:
                    first, second, third = strengths[key]
                    self._flicker.append(abs(first - 2 * second + third))
                if eye.region is None or eye.mask is None or not (eye.mask >= _INSIDE).any():
                    continue
                masked.add(key)
                if self._before is not None and key in self._masked:
                    self._compare(frame, result.frame, eye)
        self._before, self._masked, self._strengths = (frame, result.frame), masked, strengths

    def scores(self) -> StabilityScores:
        """Return the scores of all frames."""
        before, after = np.mean(self._errors, axis=0) if self._errors else (None, None)
        return StabilityScores(
            steps=len(self._errors),
            input_error=None if before is None else float(before),
            output_error=None if after is None else float(after),
            flicker=float(np.mean(self._flicker)) if self._flicker else None,
        )

    def _compare(self, frame: NDArray[np.uint8], output: NDArray[np.uint8], eye: EyeResult) -> None:
        assert self._before is not None
        assert eye.region is not None
        assert eye.mask is not None
        region = eye.region
        height, width = frame.shape[:2]
        around = Region(
            max(region.left - _MARGIN_PX, 0),
            max(region.top - _MARGIN_PX, 0),
            min(region.right + _MARGIN_PX, width),
            min(region.bottom + _MARGIN_PX, height),
        )
        inside = np.zeros((around.bottom - around.top, around.right - around.left), bool)
        left, top = region.left - around.left, region.top - around.top
        mask = eye.mask >= _INSIDE
        inside[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        pairs = zip(self._before, (frame, output), strict=True)
        before, after = (
            self._error(old[around.slices], new[around.slices], inside) for old, new in pairs
        )
        self._errors.append((before, after))

    def _error(
        self, old: NDArray[np.uint8], new: NDArray[np.uint8], inside: NDArray[np.bool_]
    ) -> float:
        """Return the mean difference of two pictures after alignment, in grey levels."""
        grey = [cv2.cvtColor(np.ascontiguousarray(one), cv2.COLOR_RGB2GRAY) for one in (new, old)]
        flow = self._flow.calc(grey[0], grey[1], None)
        y, x = np.mgrid[: old.shape[0], : old.shape[1]].astype(np.float32)
        aligned = cv2.remap(
            old,
            x + flow[..., 0],
            y + flow[..., 1],
            interpolation=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return float(np.abs(new.astype(np.float32) - aligned)[inside].mean())
