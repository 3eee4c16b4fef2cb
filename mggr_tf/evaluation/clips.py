"""Clips and pictures as frames, and a run's judge as the device's benchmarks ask it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.geometry.eye_crop import mirror_image, mirrored_if, needs_mirror
from mggr_edge.media.files.paths import find_source
from mggr_edge.media.files.pictures import read_whole_picture
from mggr_edge.media.files.video_reader import TimedFrame, open_video
from mggr_edge.models.contract import Conventions
from mggr_edge.models.network_io import estimator_inputs, gaze_from_network
from mggr_tf.evaluation.naturalness import Judge
from mggr_tf.evaluation.trained import load_judge
from mggr_tf.runs.folder import RunFolder


def frames_of(source: Path) -> Iterator[tuple[NDArray[np.uint8], float | None]]:
    """Frames of a video with their times, or a picture, which has none.

    Raises:
        StreamError: missing, damaged, or neither.
    """
    if find_source(source).kind == "picture":
        yield read_whole_picture(source).rgb, None
        return
    with open_video(source) as video:
        for item in video.items:
            if isinstance(item, TimedFrame):
                yield item.rgb, item.time_s


def judge_of(run: RunFolder, conventions: Conventions) -> Judge:
    """A run's judge, asked about patches as they are seen: of either side, nothing mirrored.

    Raises:
        RunError: the run holds no judge.
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
