"""Faces and eyes from frame to frame.

Faces are matched by where their eyes are. A face that was away for longer than
`MAX_GAP_S` comes back as a new one, unsmoothed. In a video of few frames per
second, whose frames are always further apart, it is the same one as long as each
frame shows it.

The detector looks at a whole frame; the mesh finds a face again from where it was a frame ago.
So the detector runs when no face is known, when one was lost, and every `LOOK_AROUND_S` while
there is room for more.
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
"""Speed in eye widths per second. A quick filter: a crop that trails by three hundredths
of the eye's width already shows the network another gaze."""

ANGLES = OneEuro(min_cutoff_hz=1.0, beta=0.05)
"""Speed in degrees per second, for head and gaze."""

_REACH = 0.75
"""A face moves by less than this share of the distance between its eyes per frame."""


@dataclass
class Track:
    """One face over time.

    Attributes:
        identity: counts up, never given twice. Faces of the first frame, and of the first one
            after a gap, have their strength at once; those that come later ease in.
        face: as of its last frame, steadied.
        time_s: of that frame.
        gaze: steadied, of the last frame in which it was estimated; None before.
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
        """Takes the face as found in a new frame."""
        right, left = (
            replace(eye, outline=steady(eye.outline, time_s, unit=eye.width_px).astype(np.float32))
            for eye, steady in zip(face.eyes, self._outlines, strict=True)
        )
        head = Gaze.from_array(self._head(face.head_pose.array(), time_s))
        self.face = replace(face, head_pose=head, eyes=(right, left))
        self._step_s = time_s - self.time_s
        self.time_s = time_s

    def steady_gaze(self, gaze: Gaze) -> Gaze:
        """Takes the gaze as estimated in the frame that was followed last."""
        self.gaze = Gaze.from_array(self._gaze(gaze.array(), self.time_s))
        return self.gaze

    @property
    def is_redirected(self) -> bool:
        """Whether an eye had a strength above 0 in the last frame that was decided."""
        return max(self._strength.strengths) > 0.0

    def decide(
        self, gates: tuple[EyeGate, EyeGate], *, shift: Gate, shift_deg: float
    ) -> tuple[Gate, Gate]:
        """Takes what that frame allows; see `PairStrength`. Once per frame."""
        return self._strength(gates, shift=shift, shift_deg=shift_deg, step_s=self._step_s)


class FaceTracks:
    """All faces of one video."""

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._next_identity = 0
        self._time_s: float | None = None
        self._step_s: float | None = None
        self._is_after_gap = True

    def follow(self, faces: tuple[Face, ...], time_s: float) -> tuple[Track, ...]:
        """Matches the faces of a new frame.

        Args:
            faces: as found.
            time_s: not earlier than at the call before.

        Returns:
            Their tracks, in the order of `faces`.

        Raises:
            ValueError: time goes back.
        """
        step_s = None if self._time_s is None else time_s - self._time_s
        if step_s is not None and step_s < 0:
            raise ValueError(
                f"time_s must go forward: {time_s} after {self._time_s}; "
                "call restart() before another video"
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
        """Whether a face may still be that of a track.

        A frame that comes no later than twice the step before is the next one of its video, and
        no gap, however long that is.
        """
        if time_s - track.time_s <= MAX_GAP_S:
            return True
        is_usual = self._step_s is None or time_s - track.time_s <= 2 * self._step_s
        return track.time_s == self._time_s and is_usual

    def forget(self) -> None:
        """Takes the faces of the next frame for new ones."""
        self._tracks.clear()

    def restart(self) -> None:
        """Takes the next frame for the first one of another video; identities go on."""
        self._tracks.clear()
        self._time_s = self._step_s = None

    def _begin(self, face: Face, time_s: float) -> Track:
        strength = PairStrength(at_once=self._is_after_gap)
        track = Track(self._next_identity, face, time_s, strength)
        self._next_identity += 1
        self._tracks.append(track)
        return track

    def _match(self, faces: tuple[Face, ...]) -> list[Track | None]:
        """The nearest pairs first, each face and each track once."""
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
"""Somebody who comes into the picture waits so long at most."""


class FaceTracker:
    """The faces of one video.

    Args:
        finder: what finds them in a frame.
    """

    def __init__(self, finder: FaceFinder) -> None:
        self._finder = finder
        self._known: tuple[Face, ...] = ()
        self._seen_s = -np.inf
        self._looked_around_s = -np.inf

    def find(self, frame: NDArray[np.uint8], time_s: float, *, max_faces: int) -> tuple[Face, ...]:
        """Finds the faces of the next frame.

        Args:
            frame: [H, W, 3] uint8 RGB.
            time_s: of the frame.
            max_faces: so many at most; known ones stay.

        Returns:
            Faces: known ones in the order in which they came, then new ones.
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
