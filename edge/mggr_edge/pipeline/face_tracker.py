"""Finds faces frame by frame: known ones where they were, others now and then.

The detector looks at a whole frame; the mesh finds a face again from where it was a frame ago.
So the detector runs when no face is known, when one was lost, and every `LOOK_AROUND_S` while
there is room for more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.gaps import MAX_GAP_S
from mggr_edge.vision.face_finder import Face, FaceFinder

LOOK_AROUND_S = 0.5
"""Somebody who comes into the picture waits so long at most."""


class FaceWatcher:
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
