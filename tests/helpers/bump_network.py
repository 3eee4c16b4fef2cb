"""A bundle for `Redirector` whose networks are a formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.gaze_networks import EyeEstimate, EyeRedirection
from mggr_edge.models.network_io import EyeState
from mggr_edge.models.runtimes import Runner

STRAIGHT: dict[Side, Gaze] = {"right": Gaze(0, 0), "left": Gaze(0, 0)}

PX_PER_DEG = 0.23
"""How far an iris moves in a patch: radians times the eyeball's 13 pixels."""


class BumpNetwork:
    """A bundle whose network moves what is near the patch's middle, as an iris would move.

    Its estimator gives `gaze[side]` and `state[side]`, if any, for each patch. All angles are in
    the patch's axes.
    """

    def __init__(
        self,
        runners: Mapping[str, Runner],
        gaze: Mapping[Side, Gaze],
        state: Mapping[Side, EyeState] | None = None,
    ) -> None:
        self.contract = SimpleNamespace(conventions=Conventions())
        self.gaze, self.state = gaze, dict(state or {})
        self.estimated: list[tuple[Side, ...]] = []
        self.calls: list[tuple[Side, Gaze, Gaze]] = []
        self._runners = runners

    def model(self, name: str) -> Runner:
        return self._runners[name]

    def estimate_eyes(
        self,
        patches: Sequence[NDArray[np.uint8]],
        *,
        sides: Sequence[Side],
        head_pose: Sequence[Gaze],
    ) -> list[EyeEstimate]:
        assert len(head_pose) == len(patches)
        assert all(patch.shape == (64, 64, 3) for patch in patches)
        assert all(patch.dtype == np.uint8 for patch in patches)
        self.estimated.append(tuple(sides))
        return [EyeEstimate(self.gaze[side], self.state.get(side)) for side in sides]

    def redirect_crops(
        self,
        patches: Sequence[NDArray[np.uint8]],
        *,
        sides: Sequence[Side],
        source: Sequence[Gaze],
        target: Sequence[Gaze],
        head_pose: Sequence[Gaze],
        fine: bool,
    ) -> list[EyeRedirection]:
        self.calls += list(zip(sides, source, target, strict=True))
        assert len(head_pose) == len(patches)
        y, x = np.mgrid[:64, :64] - 31.5
        bump = np.clip((24 - np.hypot(x, y)) / 9, 0, 1)[..., None]
        nothing = np.zeros((64, 64, 3), np.float32)
        made = []
        for patch, was, to in zip(patches, source, target, strict=True):
            # Backward: to move right, read from the left; up is - y.
            step = (was.yaw_deg - to.yaw_deg, to.pitch_deg - was.pitch_deg)
            flow = (bump * step * PX_PER_DEG).astype(np.float32)
            made.append(EyeRedirection(was, flow, nothing, patch))
        return made
