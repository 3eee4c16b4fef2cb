"""Read clips, render synthetic clips with known gaze, and measure gaze errors.

The gaze error is measured before and after redirection by the device pipeline.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.geometry.eye_crop import mirror_image, mirrored_if, needs_mirror
from mggr_edge.media.files.paths import find_source
from mggr_edge.media.files.pictures import read_whole_picture
from mggr_edge.media.files.video_reader import TimedFrame, open_video
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.network_io import estimator_inputs, gaze_from_network
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.vision.face_mesh import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS
from mggr_edge.vision.iris import IrisFinder
from mggr_tf.data.names import drawn_name
from mggr_tf.drawn_eyes import draw_face, draw_subject
from mggr_tf.drawn_eyes.subject import Subject
from mggr_tf.evaluation.naturalness import Judge, should_be_redirected
from mggr_tf.evaluation.trained import load_judge
from mggr_tf.runs.folder import RunFolder


def frames_of(source: Path) -> Iterator[tuple[NDArray[np.uint8], float | None]]:
    """Yield the frames of a video with their times in seconds.

    For a picture file, yield the picture with the time `None`.

    Raises:
        StreamError: the file is missing, damaged, or neither a video nor a picture.
    """
    if find_source(source).kind == "picture":
        yield read_whole_picture(source).rgb, None
        return
    with open_video(source) as video:
        for item in video.items:
            if isinstance(item, TimedFrame):
                yield item.rgb, item.time_s


def judge_of(run: RunFolder, conventions: Conventions) -> Judge:
    """Return the judge of a run as a function.

    The function accepts patches of left and right eyes. It mirrors patches if necessary. A judge is
    a gaze estimator that is not used for the redirection.

    Raises:
        RunError: the run has no judge.
    """
    judge = load_judge(run)

    def ask(
        patches: Sequence[NDArray[np.uint8]], sides: Sequence[Side], head_poses: Sequence[Gaze]
    ) -> list[Gaze]:
        mirrors = [needs_mirror(side, conventions.canonical_side) for side in sides]
        pairs = list(zip(patches, mirrors, strict=True))
        inputs = estimator_inputs(
            np.stack([mirror_image(patch) if mirror else patch for patch, mirror in pairs]),
            head_deg=np.stack(
                [
                    mirrored_if(head, mirror=mirror).array()
                    for head, mirror in zip(head_poses, mirrors, strict=True)
                ]
            ),
            conventions=conventions,
        )
        gazes = gaze_from_network(judge(inputs), conventions)
        return [
            mirrored_if(Gaze.from_array(gaze), mirror=mirror)
            for gaze, mirror in zip(gazes, mirrors, strict=True)
        ]

    return ask


RATE = 25
FRAMES = 60
"""Number of frames of a clip. The frames show one period of the gaze movement and one blink."""

_SEED = 7700
_PITCH_DEG, _YAW_DEG = 6.0, 13.0
_HEAD_PITCH_DEG, _HEAD_YAW_DEG = 4.0, 8.0
_BLINK_AT, _BLINK_LIDS = 40, (0.5, 1.0, 1.0, 0.6)


@dataclass(frozen=True)
class DrawnFrame:
    """Ground truth of a synthetic frame.

    Attributes:
        gaze: gaze of both eyes, relative to the camera.
        head_pose: head pose, relative to the camera.
        closure: how far both eyes are closed, from 0 (open) to 1 (closed).
    """

    gaze: Gaze
    head_pose: Gaze
    closure: float


@dataclass(frozen=True)
class DrawnClip:
    """A synthetic clip of one person.

    Attributes:
        person: number of the person. Different numbers are different people. The packaged weights
            were not trained on any of these people.
        count: number of frames.
    """

    person: int
    count: int = FRAMES

    @cached_property
    def _subject(self) -> Subject:
        return draw_subject([_SEED, self.person])

    @property
    def name(self) -> str:
        """Name of the person, in the same form as in training data."""
        return drawn_name(_SEED, self.person)

    def moment(self, number: int) -> DrawnFrame:
        """Return the ground truth of a frame."""
        turn = 2 * math.pi * number / FRAMES
        blinking = number - _BLINK_AT
        return DrawnFrame(
            gaze=Gaze(_PITCH_DEG * math.sin(2 * turn + 1), _YAW_DEG * math.sin(turn)),
            head_pose=Gaze(_HEAD_PITCH_DEG * math.sin(turn), _HEAD_YAW_DEG * math.cos(turn)),
            closure=_BLINK_LIDS[blinking] if 0 <= blinking < len(_BLINK_LIDS) else 0.0,
        )

    def frame(self, number: int, *, gaze: Gaze | None = None) -> NDArray[np.uint8]:
        """Render a frame.

        The frame can be rendered with another gaze than the gaze of the clip.

        Args:
            number: index of the frame, from 0.
            gaze: gaze to render. `None` means the gaze of the clip.

        Returns:
            [480, 640, 3] uint8 RGB.
        """
        shown = self.moment(number)
        return draw_face(
            self._subject,
            gaze=gaze or shown.gaze,
            head_pose=shown.head_pose,
            closure=shown.closure,
            seed=number,
        ).image

    @cached_property
    def pictures(self) -> list[NDArray[np.uint8]]:
        """All frames. The frames are rendered only once."""
        return [self.frame(number) for number in range(self.count)]

    def frames(self) -> Iterator[tuple[NDArray[np.uint8], float | None]]:
        """Yield all frames with their times in seconds."""
        for number, picture in enumerate(self.pictures):
            yield picture, number / RATE


_EVERY = 5
"""Every fifth frame is compared with the ideal picture."""


@dataclass(frozen=True)
class KnownGaze:
    """Gaze error before and after redirection.

    Attributes:
        eyes: number of compared eyes.
        before_deg: mean angle in degrees between the true gaze and the target. `None` if no eyes
            were compared.
        after_deg: remaining gaze error in degrees. The value is `before_deg` multiplied by the
            missing share of the iris movement. To measure the share, the iris model finds the iris
            in three pictures: the source frame, the redirected frame, and the same face rendered
            with the target gaze. `None` if no eyes were compared.
    """

    eyes: int
    before_deg: float | None
    after_deg: float | None


def measure_known_gaze(clip: DrawnClip, bundle: Bundle, *, target: Gaze) -> KnownGaze:
    """Redirect a synthetic clip and measure the gaze error.

    Each redirected frame is compared with an ideal picture: the same face, rendered with the target
    gaze.

    Frames with closed eyes are skipped.

    Args:
        clip: clip with known gaze.
        bundle: networks that redirect the eyes.
        target: gaze of the redirected eyes.
    """
    redirector, finder = Redirector(bundle, target=target), IrisFinder(bundle.model("iris"))
    angles: list[float] = []
    ways: list[tuple[float, float]] = []
    for number, frame in enumerate(clip.pictures):
        result = redirector.process(frame, time_s=number / RATE)
        if number % _EVERY or clip.moment(number).closure or not result.faces:
            continue
        true = clip.frame(number, gaze=target)
        face = result.faces[0]
        for eye, where in zip(face.eyes, (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS), strict=True):
            corners = face.landmarks[list(where), :2]
            before, after, asked = (
                finder.find(picture, side=eye.side, corners=corners)
                for picture in (frame, result.frame, true)
            )
            if should_be_redirected(eye, face, before):
                angles.append(clip.moment(number).gaze.angle_to(target))
                aim = np.array(asked.iris_centre)
                ways.append(
                    (
                        float(np.linalg.norm(before.iris_centre - aim)),
                        float(np.linalg.norm(after.iris_centre - aim)),
                    )
                )
    if not ways:
        return KnownGaze(0, None, None)
    whole, left = np.sum(ways, axis=0)
    mean = float(np.mean(angles))
    return KnownGaze(len(ways), mean, mean * float(left / max(whole, 1e-6)))
