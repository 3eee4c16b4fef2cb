"""Redirect the eyes of a frame, in a fixed order of steps.

The redirector does no I/O and reads no clock. The caller passes the time of each frame.

Both eyes of a face use the same source gaze, which is the gaze before redirection. The source gaze
is the mean of the estimates for the two eyes. This has three reasons. Both eyes look at the same
point. The mean has a smaller error than a single estimate. If the source gaze is wrong, both eyes
are turned alike, and the person does not look cross-eyed.

All input and output angles are in the axes of the image. Crops are rotated with the eye. Therefore
target, source and head pose are converted to the axes of each crop before the networks run. The
estimates are converted back.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.timing import FrameClock, Stages, no_stages
from mggr_edge.geometry.angles import Gaze
from mggr_edge.geometry.eye_crop import EyeCrop, crop_of_eye, crop_patch
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.gaze_networks import EyeEstimate
from mggr_edge.pipeline.compositing import compose_redirection, put_eye
from mggr_edge.pipeline.gating import (
    EyeGate,
    Gate,
    Limits,
    gate_shift,
    gate_tolerance,
    geometry_gates,
    with_states,
)
from mggr_edge.pipeline.gaze_correction import NO_CORRECTION, GazeCorrection, gaze_of_face
from mggr_edge.pipeline.results import EyeResult, FaceResult, FrameResult
from mggr_edge.pipeline.targets import CAMERA
from mggr_edge.pipeline.tracks import FaceTracker, FaceTracks, Track
from mggr_edge.vision.eye_quality import sharpness_of_eye
from mggr_edge.vision.face_finder import Face, FaceFinder
from mggr_edge.vision.iris import Eye


class Redirector:
    """Redirect the eyes in the frames of one video to a target.

    Threads: a redirector tracks the faces of one video, so two threads must not call it at the same
    time. The calling thread need not be the thread that created the redirector. Use one redirector
    for each video. Redirectors that run in parallel need one `Bundle.session()` each. If they share
    a bundle, their calls run one after another.

    Args:
        bundle: networks, landmark models and their conventions.
        target: target direction of the eyes, in the axes of the image. It may be changed between
            frames.
        strength: fraction of the full redirection to apply, in [0, 1]. It may be changed between
            frames. At 0, gazes are estimated, but no pixel is changed.
        limits: thresholds that determine which eyes are redirected. With `None`, the default
            thresholds are used.
        max_faces: maximum number of faces per frame. If there are more faces, those with the
            highest confidence are used.
        stages: function that measures the time of each stage.
        correction: correction of each gaze estimate. It may be changed between frames.

    Attributes:
        fine: whether the fine branch of the network is applied. It may be changed between frames.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        target: Gaze = CAMERA,
        strength: float = 1.0,
        limits: Limits | None = None,
        max_faces: int = 4,
        stages: Stages = no_stages,
        correction: GazeCorrection = NO_CORRECTION,
    ) -> None:
        self.target = target
        self.fine = True
        self.strength = strength
        self._limits = limits or Limits()
        self._max_faces = max_faces
        self._stages = stages
        self._tracks, self._clock = FaceTracks(), FrameClock()
        self._shape: tuple[int, ...] | None = None
        self.take(bundle, correction)

    @property
    def strength(self) -> float:
        """Fraction of the full redirection to apply, in [0, 1]."""
        return self._strength

    @strength.setter
    def strength(self, value: float) -> None:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"a strength lies in [0, 1], got {value}")
        self._strength = value

    @property
    def has_coarse(self) -> bool:
        """True if the bundle can run without the fine branch of the network.

        The coarse model is loaded if necessary.
        """
        return self._bundle.coarse is not None

    @property
    def bundle(self) -> Bundle:
        """Bundle that is currently used."""
        return self._bundle

    def take(self, bundle: Bundle, correction: GazeCorrection = NO_CORRECTION) -> None:
        """Switch to another bundle.

        Faces keep their numbers. The old bundle is not closed.

        Args:
            bundle: bundle whose networks are used from now on.
            correction: correction of the gaze estimates of this bundle.
        """
        self._bundle, self.correction = bundle, correction
        self._finder = FaceFinder(
            detector=bundle.model("face_detector"),
            mesh=bundle.model("face_mesh"),
            iris=bundle.model("iris"),
        )
        self._watcher = FaceTracker(self._finder)

    def reset(self) -> None:
        """Drop all tracked faces; call this method before each further video."""
        self._tracks, self._clock = FaceTracks(), FrameClock()
        self._look_anew(None)

    def _look_anew(self, shape: tuple[int, ...] | None) -> None:
        """Drop the positions of all faces, for example if a video changes its frame size."""
        self._watcher, self._shape = FaceTracker(self._finder), shape
        self._tracks.forget()

    def _rising(self, time_s: float) -> float:
        """Convert a frame time for the tracker, the tracks and the filters; see `FrameClock`."""
        if not np.isfinite(time_s):
            raise ValueError(f"time_s is a finite number of seconds or None, got {time_s}")
        if self._clock.goes_back_far(time_s):
            self._look_anew(None)
            self._tracks.restart()
            self._clock = FrameClock()
        return self._clock(time_s)

    def process(self, frame: NDArray[np.uint8], *, time_s: float | None = None) -> FrameResult:
        """Redirect all eyes of a frame; the input is never modified.

        Args:
            frame: [H, W, 3] uint8 RGB frame.
            time_s: time of the frame in its video, in seconds. Faces are tracked, and geometry and
                gaze are smoothed over time. Times may repeat or decrease a little. If the time
                decreases by more than half a second, the frame counts as the first frame of another
                video. `None` means a single image. Then nothing is tracked or smoothed, and faces
                are numbered from 0.

        Raises:
            ValueError: the frame has another shape or dtype, or the time is not finite.
        """
        if (
            not isinstance(frame, np.ndarray)
            or frame.dtype != np.uint8
            or frame.ndim != 3
            or frame.shape[2] != 3
            or frame.size == 0
        ):
            got = f"{getattr(frame, 'dtype', type(frame).__name__)} {list(np.shape(frame))}"
            raise ValueError(f"a frame is uint8 [H, W, 3] RGB, got {got}")
        frame = np.ascontiguousarray(frame)
        if time_s is not None:
            time_s = self._rising(time_s)
            if frame.shape != self._shape:
                self._look_anew(frame.shape)
        with self._stages("find faces"):
            if time_s is None:
                found = self._finder.find(frame, max_faces=self._max_faces)
            else:
                found = self._watcher.find(frame, time_s, max_faces=self._max_faces)
        tracks = (
            FaceTracks().follow(found, 0.0)
            if time_s is None
            else self._tracks.follow(found, time_s)
        )
        out = frame.copy()
        faces = tuple(
            self._redirect_face(frame, out, face, track)
            for face, track in zip(found, tracks, strict=True)
        )
        return FrameResult(out, faces)

    def _redirect_face(
        self, frame: NDArray[np.uint8], out: NDArray[np.uint8], found: Face, track: Track
    ) -> FaceResult:
        """Redirect the eyes of one face from `frame` into `out`."""
        face = track.face
        crops = tuple(self._crop(eye) for eye in face.eyes)
        patches = tuple(crop_patch(frame, crop) for crop in crops)
        heads = tuple(face.head_pose.rolled(crop.roll_deg) for crop in crops)
        with self._stages("estimate gaze"):
            clarities = list(map(sharpness_of_eye, patches, face.eyes, crops))
            gates = geometry_gates(found, heads=heads, clarities=clarities, limits=self._limits)
            estimates = self._estimates(face, patches, heads, gates)
            states = [one.state for one in estimates] or [None, None]
            if estimates:
                gates = with_states(gates, found, states, limits=self._limits)
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
        shift = gate_shift(shift_deg, self._limits)
        decided = track.decide(gates, shift=shift, shift_deg=shift_deg)
        near = gate_tolerance(shift_deg, self._limits)
        verdicts = [self._asked_for(verdict, near) for verdict in decided]
        # Both eyes are processed in one call of the network.
        turned = [n for n, one in enumerate(verdicts) if gaze is not None and one.strength > 0]
        with self._stages("redirect eyes"):
            redirections = self._bundle.redirect_crops(
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
        with self._stages("compose"):
            for n, redirection in zip(turned, redirections, strict=True):
                composed = compose_redirection(
                    frame,
                    patches[n],
                    crop=crops[n],
                    opening=face.eyes[n].outline,
                    flow=redirection.flow,
                    residual=redirection.residual,
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
        if self._strength == 0.0:
            return Gate(0.0, "turned off")
        reason = near.reason if near.strength < verdict.strength else verdict.reason
        return Gate(self._strength * verdict.strength * near.strength, reason)

    def _crop(self, eye: Eye) -> EyeCrop:
        conventions = self._bundle.contract.conventions
        return crop_of_eye(
            eye.crop_outline,
            corners=eye.crop_corners,
            side=eye.side,
            crop_factor=conventions.crop_factor,
            size_px=conventions.patch_size,
        )

    def _estimates(
        self,
        face: Face,
        patches: tuple[NDArray[np.uint8], ...],
        heads: tuple[Gaze, ...],
        gates: tuple[EyeGate, ...],
    ) -> list[EyeEstimate]:
        """Estimate gaze and state of both eyes in one call.

        The result is empty if no eye may be redirected.
        """
        if all(gate.allowed.strength == 0.0 for gate in gates):
            return []
        sides = [eye.side for eye in face.eyes]
        return self._bundle.estimate_eyes(patches, sides=sides, head_pose=heads)
