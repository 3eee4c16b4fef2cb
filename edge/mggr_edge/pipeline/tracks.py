"""Track faces from frame to frame.

Faces are matched by the positions of their eyes. If a face returns after more than `MAX_GAP_S`
seconds, it gets a new track, and its smoothing restarts. If a video has very few frames per second,
the time between two frames may always exceed `MAX_GAP_S`. In this video, a face keeps its track as
long as every frame contains the face.

The detector searches a whole frame. The face mesh finds a face again at its position in the
previous frame. Therefore the detector runs only in these cases:

- No face is tracked.
- A face was lost.
- Fewer than `max_faces` faces are tracked, and the detector last ran at least `LOOK_AROUND_S`
  seconds ago.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.timing import MAX_GAP_S
from mggr_edge.geometry.angles import Gaze
from mggr_edge.pipeline.gating import EyeGate, Gate
from mggr_edge.pipeline.pair_strength import PairStrength
from mggr_edge.vision.face_finder import Face, FaceFinder
from mggr_edge.vision.one_euro import OneEuro, OneEuroFilter

OUTLINE = OneEuro(min_cutoff_hz=1.0, beta=12.0)
"""Filter of eye outlines. The filter measures speeds in eye widths per second.

The filter is fast, because even a small lag of the crop changes the gaze that the network sees. A
lag of 0.03 eye widths is already too much.
"""

ANGLES = OneEuro(min_cutoff_hz=1.0, beta=0.05)
"""Filter of head pose and gaze. The filter measures speeds in degrees per second."""

_REACH = 0.75
"""Maximum movement of a face per frame, divided by the distance between its eyes."""


@dataclass
class Track:
    """One face over time.

    Attributes:
        identity: number of the face. The numbers increase and are never reused. In the first frame,
            or in the first frame after a gap, a face gets its full redirection strength at once. If
            a face appears later, its strength rises from 0.
        face: face in its last frame, smoothed over time.
        time_s: time of the last frame of the face, in seconds.
        gaze: smoothed gaze in the last frame in which the gaze was estimated. `None` means that
            there was no estimate yet.
    """

    identity: int
    face: Face
    time_s: float
    _strength: PairStrength
    gaze: Gaze | None = None
    _outlines: tuple[OneEuroFilter, OneEuroFilter] = field(
        default_factory=lambda: (OneEuroFilter(OUTLINE), OneEuroFilter(OUTLINE))
    )
    _head: OneEuroFilter = field(default_factory=lambda: OneEuroFilter(ANGLES))
    _gaze: OneEuroFilter = field(default_factory=lambda: OneEuroFilter(ANGLES))
    _step_s: float = 0.0

    def follow(self, face: Face, time_s: float) -> None:
        """Update the track with the face that was detected in a new frame."""
        right, left = (
            replace(eye, outline=steady(eye.outline, time_s, unit=eye.width_px).astype(np.float32))
            for eye, steady in zip(face.eyes, self._outlines, strict=True)
        )
        head = Gaze.from_array(self._head(face.head_pose.array(), time_s))
        self.face = replace(face, head_pose=head, eyes=(right, left))
        self._step_s = time_s - self.time_s
        self.time_s = time_s

    def steady_gaze(self, gaze: Gaze) -> Gaze:
        """Add the gaze that was estimated in the last frame, and return the smoothed gaze."""
        self.gaze = Gaze.from_array(self._gaze(gaze.array(), self.time_s))
        return self.gaze

    @property
    def is_redirected(self) -> bool:
        """True if an eye had a strength above 0 after the last call of `decide`."""
        return max(self._strength.strengths) > 0.0

    def decide(
        self, gates: tuple[EyeGate, EyeGate], *, shift: Gate, shift_deg: float
    ) -> tuple[Gate, Gate]:
        """Return the redirection strength of each eye in the last frame; call once per frame.

        The arguments and the result are those of `PairStrength`.
        """
        return self._strength(gates, shift=shift, shift_deg=shift_deg, step_s=self._step_s)


class FaceTracks:
    """Tracks of all faces of one video."""

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._next_identity = 0
        self._time_s: float | None = None
        self._step_s: float | None = None
        self._is_after_gap = True

    def follow(self, faces: tuple[Face, ...], time_s: float) -> tuple[Track, ...]:
        """Match the faces of a new frame to the tracks.

        Args:
            faces: faces that were detected in the frame.
            time_s: time of the frame in seconds. It must not be earlier than in the previous call.

        Returns:
            A tuple of tracks. Element i is the track of `faces[i]`.

        Raises:
            ValueError: `time_s` is earlier than in the previous call.
        """
        step_s = None if self._time_s is None else time_s - self._time_s
        if step_s is not None and step_s < 0:
            raise ValueError(
                f"time_s must not decrease, got {time_s} after {self._time_s}; "
                "call restart() before the first frame of another video"
            )
        self._tracks = [track for track in self._tracks if self._is_kept(track, time_s)]
        self._is_after_gap = step_s is None or step_s > MAX_GAP_S
        found = tuple(
            track if track is not None else self._begin(face, time_s)
            for face, track in zip(faces, self._match(faces), strict=True)
        )
        for face, track in zip(faces, found, strict=True):
            track.follow(face, time_s)
        self._time_s, self._step_s = time_s, step_s
        return found

    def _is_kept(self, track: Track, time_s: float) -> bool:
        """Return whether a track can still match a face at a time.

        A track is kept for `MAX_GAP_S` seconds. If the new frame step is at most twice the previous
        frame step, a track of the previous frame is also kept. This step is normal for the video,
        even if the step is long.
        """
        if time_s - track.time_s <= MAX_GAP_S:
            return True
        is_usual = self._step_s is None or time_s - track.time_s <= 2 * self._step_s
        return track.time_s == self._time_s and is_usual

    def forget(self) -> None:
        """Drop all tracks, so that the faces of the next frame are new."""
        self._tracks.clear()

    def restart(self) -> None:
        """Prepare for the first frame of another video; new faces still get new numbers."""
        self._tracks.clear()
        self._time_s = self._step_s = None

    def _begin(self, face: Face, time_s: float) -> Track:
        strength = PairStrength(at_once=self._is_after_gap)
        track = Track(self._next_identity, face, time_s, strength)
        self._next_identity += 1
        self._tracks.append(track)
        return track

    def _match(self, faces: tuple[Face, ...]) -> list[Track | None]:
        """Return the track of each face, or `None` for a face without a track.

        The nearest pairs of face and track are matched first. Each track is used at most once.
        """
        pairs = sorted(
            (float(np.linalg.norm(_centre(face) - _centre(track.face))) / _between_eyes(face), i, j)
            for i, face in enumerate(faces)
            for j, track in enumerate(self._tracks)
        )
        matched: list[Track | None] = [None] * len(faces)
        taken = set()
        for distance, i, j in pairs:
            if distance < _REACH and matched[i] is None and j not in taken:
                matched[i] = self._tracks[j]
                taken.add(j)
        return matched


def _eye_centres(face: Face) -> NDArray[np.float32]:
    return np.stack([eye.outline.mean(axis=0) for eye in face.eyes])


def _centre(face: Face) -> NDArray[np.float32]:
    return _eye_centres(face).mean(axis=0)


def _between_eyes(face: Face) -> float:
    right, left = _eye_centres(face)
    return max(float(np.linalg.norm(left - right)), 1e-6)


LOOK_AROUND_S = 0.5
"""Maximum time in seconds until a face that enters the video is detected."""


class FaceTracker:
    """Find the faces of one video, frame by frame.

    Args:
        finder: object that finds the faces in a single frame.
    """

    def __init__(self, finder: FaceFinder) -> None:
        self._finder = finder
        self._known: tuple[Face, ...] = ()
        self._seen_s = -np.inf
        self._looked_around_s = -np.inf

    def find(self, frame: NDArray[np.uint8], time_s: float, *, max_faces: int) -> tuple[Face, ...]:
        """Find the faces of the next frame.

        Args:
            frame: [H, W, 3] uint8 RGB frame.
            time_s: time of the frame in seconds.
            max_faces: maximum number of faces. Tracked faces have priority.

        Returns:
            The tracked faces in the order in which they appeared, followed by new faces.
        """
        fresh = time_s - self._seen_s <= MAX_GAP_S
        known = self._known[:max_faces] if fresh else ()
        faces = self._finder.find_again(frame, known)
        lost = len(faces) < len(known)
        due = time_s - self._looked_around_s >= LOOK_AROUND_S
        if not faces or lost or (due and len(faces) < max_faces):
            faces += self._finder.find_more(frame, beside=faces, max_faces=max_faces - len(faces))
            self._looked_around_s = time_s
        self._known, self._seen_s = faces, time_s
        return faces
