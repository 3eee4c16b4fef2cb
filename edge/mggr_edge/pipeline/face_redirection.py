"""Redirect the eyes of one face of a frame, in a fixed order of steps.

Both eyes of a face use the same source gaze, which is the gaze before redirection. The source gaze
is the mean of the estimates for the two eyes, for three reasons:

- Both eyes look at the same point.
- The mean has a smaller error than a single estimate.
- If the source gaze is wrong, both eyes are turned alike, and the person does not look cross-eyed.

All input and output angles are in the axes of the image. Crops are rotated with the eye. Therefore
target, source and head pose are converted to the axes of each crop before the networks run. The
estimates are converted back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.timing import Stages
from mggr_edge.geometry.angles import Gaze
from mggr_edge.geometry.eye_crop import crop_patch
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.gaze_networks import EyeEstimate
from mggr_edge.pipeline.compositing import compose_redirection, put_eye
from mggr_edge.pipeline.gating import (
    Gate,
    Limits,
    gate_shift,
    gate_tolerance,
    geometry_gates,
    with_states,
)
from mggr_edge.pipeline.gaze_correction import GazeCorrection, gaze_of_face
from mggr_edge.pipeline.results import EyeResult, FaceResult
from mggr_edge.pipeline.tracks import Track
from mggr_edge.vision.eye_quality import sharpness_of_eye
from mggr_edge.vision.face_finder import Face


@dataclass(frozen=True)
class FaceRedirection:
    """The processing of one face, with the settings of a frame; see `Redirector`.

    Attributes:
        bundle: networks and their conventions.
        target: target direction of the eyes, in the axes of the image.
        strength: fraction of the full redirection to apply, in [0, 1].
        fine: whether the fine branch of the network is applied.
        limits: thresholds that determine which eyes are redirected.
        correction: correction of each gaze estimate.
        stages: function that measures the time of each stage.
    """

    bundle: Bundle
    target: Gaze
    strength: float
    fine: bool
    limits: Limits
    correction: GazeCorrection
    stages: Stages

    def __call__(
        self, frame: NDArray[np.uint8], out: NDArray[np.uint8], found: Face, track: Track
    ) -> FaceResult:
        """Redirect the eyes of one face.

        Args:
            frame: [H, W, 3] uint8 RGB frame. It is not changed.
            out: copy of the frame. The redirected eyes are written into it.
            found: the face as detected in the frame.
            track: state of the face over time. It contains the smoothed face.
        """
        face = track.face
        crops = tuple(eye.crop(self.bundle.contract.conventions) for eye in face.eyes)
        patches = tuple(crop_patch(frame, crop) for crop in crops)
        heads = tuple(face.head_pose.rolled(crop.roll_deg) for crop in crops)
        with self.stages("estimate gaze"):
            clarities = list(map(sharpness_of_eye, patches, face.eyes, crops))
            gates = geometry_gates(found, heads=heads, clarities=clarities, limits=self.limits)
            estimates: list[EyeEstimate] = []
            if any(gate.allowed.strength > 0.0 for gate in gates):  # One call for both eyes.
                sides = [eye.side for eye in face.eyes]
                estimates = self.bundle.estimate_eyes(patches, sides=sides, head_pose=heads)
            states = [one.state for one in estimates] or [None, None]
            if estimates:
                gates = with_states(gates, found, states, limits=self.limits)
            gaze = gaze_of_face(
                [one.gaze for one in estimates],
                weights=[gate.gaze_weight for gate in gates],
                rolls_deg=[crop.roll_deg for crop in crops],
                outlines=[eye.outline for eye in face.eyes],
                head_pose=face.head_pose,
                correction=self.correction,
            )
            if gaze is not None:
                gaze = track.steady_gaze(gaze)
            elif track.is_redirected:
                gaze = track.gaze  # While the strength falls, the last known gaze is used.
        shift_deg = 0.0 if gaze is None else gaze.angle_to(self.target)
        shift = gate_shift(shift_deg, self.limits)
        decided = track.decide(gates, shift=shift, shift_deg=shift_deg)
        near = gate_tolerance(shift_deg, self.limits)
        verdicts = [self._asked_for(verdict, near) for verdict in decided]
        # Both eyes are processed in one call of the network.
        turned = [n for n, one in enumerate(verdicts) if gaze is not None and one.strength > 0]
        with self.stages("redirect eyes"):
            redirections = self.bundle.redirect_crops(
                [patches[n] for n in turned],
                sides=[face.eyes[n].side for n in turned],
                source=[] if gaze is None else [gaze.rolled(crops[n].roll_deg) for n in turned],
                target=[self.target.rolled(crops[n].roll_deg) for n in turned],
                head_pose=[heads[n] for n in turned],
                fine=self.fine,
            )
        results = [
            EyeResult(
                side=eye.side,
                outline=eye.outline,
                gaze_before=gaze,
                gaze_target=self.target,
                strength=verdict.strength,
                reason=verdict.reason,
                state=state,
            )
            for eye, verdict, state in zip(face.eyes, verdicts, states, strict=True)
        ]
        with self.stages("compose"):
            for n, redirection in zip(turned, redirections, strict=True):
                composed = compose_redirection(
                    frame,
                    patches[n],
                    crop=crops[n],
                    opening=face.eyes[n].outline,
                    flow=redirection.flow,
                    residual=redirection.residual,
                    alpha=redirection.alpha,
                    strength=verdicts[n].strength,
                )
                put_eye(out, composed)
                results[n] = replace(
                    results[n], region=composed.region, mask=composed.mask, composed=composed
                )
        return FaceResult(track.identity, found.landmarks, face.head_pose, (results[0], results[1]))

    def _asked_for(self, verdict: Gate, near: Gate) -> Gate:
        """Return the strength to apply: requested strength times both limits.

        Args:
            verdict: strength of the eye over time.
            near: limit for gazes near the target. It is continuous in the gaze, so it needs no
                smoothing over time.
        """
        if self.strength == 0.0:
            return Gate(0.0, "turned off")
        reason = near.reason if near.strength < verdict.strength else verdict.reason
        return Gate(self.strength * verdict.strength * near.strength, reason)
