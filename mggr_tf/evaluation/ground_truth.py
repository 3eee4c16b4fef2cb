"""Compare redirected synthetic eyes with the true picture, at the resolution of a frame.

Each pair shows one synthetic eye with two gazes, with the same crop. The redirection uses all steps
of a device after the detection of a face: crop, network and compositing. Only pixels inside the eye
opening are compared, because a device hardly changes other pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.geometry.angles import Gaze
from mggr_edge.geometry.eye_crop import EyeCrop, crop_patch
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.compositing import compose_redirection, put_eye
from mggr_tf.data.names import drawn_name
from mggr_tf.drawn_eyes import RenderedEye, Subject, draw_subject, render_eye
from mggr_tf.drawn_eyes.population import draw_light
from mggr_tf.drawn_eyes.render import Crop
from mggr_tf.drawn_eyes.samples import (
    HEAD_PITCH_RANGE_DEG,
    PITCH_RANGE_DEG,
    SIDES,
    YAW_RANGE_DEG,
)
from mggr_tf.evaluation.network_metrics import compare_by
from mggr_tf.models.stlpips import Lpips

SEED = 7800
"""Seed of the people. The packaged weights were not trained on any of these people."""

SIZE_PX = 256
"""Side of the square frame in pixels. The crop is the whole frame."""

_HEAD_YAW_DEG = 15.0
_SHIFTS_DEG = (10.0, 20.0)
"""Borders of the three ranges of the angle between source gaze and target gaze."""

_BOX = (slice(64, 192), slice(32, 224))
"""Rows and columns of the frame that the learned distance sees. They contain the eye opening."""


@dataclass(frozen=True)
class TruePair:
    """One eye with two gazes.

    Attributes:
        source: eye that is redirected.
        target: the same eye with the target gaze.
    """

    source: RenderedEye
    target: RenderedEye

    @property
    def shift_deg(self) -> float:
        """Angle between source gaze and target gaze."""
        return self.source.gaze.angle_to(self.target.gaze)

    def opening(self) -> NDArray[np.bool_]:
        """Return the pixels inside the eye opening of the source or of the target, [H, W]."""
        mask = np.zeros(self.source.image.shape[:2], np.uint8)
        for eye in (self.source, self.target):
            cv2.fillPoly(mask, [np.rint(eye.outline).astype(np.int32)], 1)
        return mask.astype(bool)


@dataclass(frozen=True)
class TruthScores:
    """Scores of a group of pairs.

    Attributes:
        group: name of the group: `all`, a range of shifts, or whether the person wears glasses.
        pairs: number of pairs.
        copy_psnr_db: mean PSNR of the unchanged source inside the eye opening, in dB.
        psnr_db: mean PSNR of the redirected frame inside the eye opening, in dB.
        copy_lpips: mean ST-LPIPS of the unchanged source. Outside the eye opening, both pictures
            show the target. `None` without the weights of ST-LPIPS.
        lpips: same for the redirected frame.
    """

    group: str
    pairs: int
    copy_psnr_db: float
    psnr_db: float
    copy_lpips: float | None = None
    lpips: float | None = None

    def as_json(self) -> dict[str, str | float | int | None]:
        """Return the scores as JSON types."""
        return asdict(self)


def subject_names(people: int, *, first: int = 0) -> set[str]:
    """Return the names of the people, in the form of the names in training data."""
    return {drawn_name(SEED, person) for person in range(first, first + people)}


def true_pairs(people: int, *, first: int = 0, size_px: int = SIZE_PX) -> Iterator[TruePair]:
    """Render two pairs per person: one right and one left eye.

    Every second person wears glasses. The other people wear none. Equal arguments give equal pairs.

    Args:
        people: number of people.
        first: number of the first person.
        size_px: side of the square frame in pixels.
    """
    for number in range(first, first + people):
        rng = np.random.default_rng([SEED, number, 1])
        person = _with_or_without_glasses(number)
        for side in SIDES:
            head = Gaze(
                float(rng.uniform(-HEAD_PITCH_RANGE_DEG, HEAD_PITCH_RANGE_DEG)),
                float(rng.uniform(-_HEAD_YAW_DEG, _HEAD_YAW_DEG)),
            )
            gazes = [
                Gaze(
                    float(rng.uniform(-PITCH_RANGE_DEG, PITCH_RANGE_DEG)),
                    float(rng.uniform(-YAW_RANGE_DEG, YAW_RANGE_DEG)),
                )
                for _ in range(2)
            ]
            crop = Crop(gaze=gazes[0], seed=[SEED, number, 2])
            eyes = [
                render_eye(
                    person if side == "right" else person.other_eye(),
                    gaze=gaze,
                    head_pose=head,
                    side=side,
                    seed=[SEED, number, 3, index],
                    size_px=size_px,
                    crop=crop,
                )
                for index, gaze in enumerate(gazes)
            ]
            yield TruePair(*eyes)


def _with_or_without_glasses(number: int) -> Subject:
    """Return person `number`. Odd people wear the glasses of the next person who has glasses."""
    person = draw_subject([SEED, number])
    glasses = None
    other = number
    while number % 2 and glasses is None:
        glasses = draw_subject([SEED, other]).glasses
        other += 1
    light = draw_light([SEED, number, 4])
    return dataclasses.replace(person, glasses=glasses, light=light)


def redirect_pair(pair: TruePair, bundle: Bundle) -> NDArray[np.uint8]:
    """Redirect the source to the gaze of the target, and return the composed frame.

    The redirector receives the true source gaze.
    """
    frame = pair.source.image
    side_px = frame.shape[0]
    middle = (side_px - 1) / 2
    patch_px = bundle.contract.conventions.patch_size
    crop = EyeCrop((middle, middle), float(side_px), 0.0, patch_px)
    patch = crop_patch(frame, crop)
    made = bundle.redirect_crop(
        patch,
        side=pair.source.side,
        target=pair.target.gaze,
        source=pair.source.gaze,
        head_pose=pair.source.head_pose,
    )
    composed = compose_redirection(
        frame,
        patch,
        crop=crop,
        opening=pair.source.outline,
        flow=made.flow,
        residual=made.residual,
        alpha=made.alpha,
        strength=1.0,
    )
    out = frame.copy()
    put_eye(out, composed)
    return out


def score_truth(
    pairs: Sequence[TruePair],
    redirect: Callable[[TruePair], NDArray[np.uint8]],
    *,
    lpips: Lpips | None = None,
    progress: Progress = no_progress,
) -> list[TruthScores]:
    """Score redirected frames, for all pairs, for each range of shifts, and by glasses.

    Args:
        pairs: pairs to redirect, with frames of `SIZE_PX`.
        redirect: function that returns the redirected frame of a pair.
        lpips: learned distance. With `None`, only the PSNR is computed.
        progress: progress bar that counts pairs.
    """
    psnr_db = []
    shown: dict[str, list[NDArray[np.float32]]] = {name: [] for name in (*_METHODS, "target")}
    with progress("redirecting pairs", len(pairs)) as advance:
        for pair in pairs:
            inside, target = pair.opening(), pair.target.image
            pictures = dict(zip(_METHODS, (pair.source.image, redirect(pair)), strict=True))
            psnr_db.append([_psnr_db(one[inside], target[inside]) for one in pictures.values()])
            for name, picture in {**pictures, "target": target}.items():
                seen = np.where(inside[..., None], picture, target)[_BOX]
                shown[name].append(seen.astype(np.float32) / 255)
            advance(1)
    values = {"psnr_db": np.array(psnr_db)}
    if lpips is not None:
        both = {name: np.stack(shown[name]) for name in _METHODS}
        found = compare_by(lpips, both, np.stack(shown["target"]), progress=progress)
        values["lpips"] = np.stack([found.distance[name] for name in _METHODS], axis=1)
    return [
        _scores(group, {name: value[where].mean(axis=0) for name, value in values.items()}, where)
        for group, where in _groups(pairs).items()
        if where.any()
    ]


_METHODS = ("copy", "redirected")


def _groups(pairs: Sequence[TruePair]) -> dict[str, NDArray[np.bool_]]:
    shifts = np.array([pair.shift_deg for pair in pairs])
    glasses = np.array([pair.source.subject.glasses is not None for pair in pairs])
    low, high = _SHIFTS_DEG
    return {
        "all": np.ones(len(pairs), bool),
        f"shift up to {low:g}": shifts <= low,
        f"shift {low:g} to {high:g}": (shifts > low) & (shifts <= high),
        f"shift above {high:g}": shifts > high,
        "without glasses": ~glasses,
        "with glasses": glasses,
    }


def _scores(
    group: str, means: dict[str, NDArray[np.float64]], where: NDArray[np.bool_]
) -> TruthScores:
    copy_psnr, psnr = map(float, means["psnr_db"])
    copy_lpips, lpips = map(float, means["lpips"]) if "lpips" in means else (None, None)
    return TruthScores(group, int(where.sum()), copy_psnr, psnr, copy_lpips, lpips)


def _psnr_db(picture: NDArray[np.uint8], target: NDArray[np.uint8]) -> float:
    error = float(np.mean((picture.astype(np.float64) - target) ** 2))
    return float(10 * np.log10(255.0**2 / max(error, 1e-6)))
