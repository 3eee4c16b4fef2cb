"""How far irises move when eyes are redirected to where they look already.

Nothing should move: what moves is the estimator's error, as far as the redirector follows it. A
person who looks into the lens and asks for eye contact sees this error and no other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.models.contract import Conventions
from mggr_edge.models.network_io import image_from_network
from mggr_edge.vision.iris import IrisFinder
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.eye_motion import find_in_patch
from mggr_tf.evaluation.redirect_pairs import Redirect, redirect_pairs

IRIS_RADIUS_MM = 5.85
"""Half of the mean visible iris diameter (Rüfer et al., Cornea 2005: 11.71 mm)."""
ROTATION_RADIUS_MM = 9.8
"""From the eyeball's centre to the plane of the iris' rim, as the renderer draws it."""

_FAR_DEG = 3.0


@dataclass(frozen=True)
class StillEyes:
    """Movements of irises that should stay, by the iris model.

    Attributes:
        eyes: how many.
        moved_px: mean distance, in pixels of the patch.
        moved_deg: the same as a turn of an eyeball of average size, degrees.
        far_share: share of the eyes that move by more than 3 degrees.
        drift_px: mean of the movements, (x, y), in which opposite ones cancel; y down.
    """

    eyes: int
    moved_px: float
    moved_deg: float
    far_share: float
    drift_px: tuple[float, float]


def measure_still_eyes(
    redirect: Redirect,
    samples: EyeSamples,
    *,
    source_deg: NDArray[np.float32],
    finder: IrisFinder,
    conventions: Conventions,
    progress: Progress = no_progress,
) -> StillEyes:
    """Redirects every eye to its own gaze and finds the iris before and after.

    Args:
        redirect: the redirector.
        samples: N patches with known gazes.
        source_deg: [N, 2] the source gazes that the redirector gets, (pitch, yaw).
        finder: the instrument.
        conventions: scales of the redirector's inputs.
        progress: shown the patches that are done.
    """
    rows = np.arange(len(samples))
    with progress("redirecting", len(samples)) as advance:
        made = redirect_pairs(
            redirect,
            samples,
            np.stack([rows, rows], axis=1),
            conventions=conventions,
            source_deg=source_deg,
            advance=advance,
        )
    shifts, radii = [], []
    with progress("finding irises", len(samples)) as advance:
        for row, picture in enumerate(image_from_network(made["redirected"])):
            before = find_in_patch(samples.images[row], finder)
            after = find_in_patch(picture, finder)
            shifts.append(np.subtract(after.iris_centre, before.iris_centre))
            radii.append(before.iris_radius_px)
            advance(1)
    moved = np.asarray(shifts, np.float64)
    length_px = np.linalg.norm(moved, axis=1)
    sine = length_px / np.asarray(radii) * (IRIS_RADIUS_MM / ROTATION_RADIUS_MM)
    angle_deg = np.degrees(np.arcsin(np.clip(sine, 0, 1)))
    x, y = (float(value) for value in moved.mean(axis=0))
    return StillEyes(
        eyes=len(moved),
        moved_px=float(length_px.mean()),
        moved_deg=float(angle_deg.mean()),
        far_share=float((angle_deg > _FAR_DEG).mean()),
        drift_px=(x, y),
    )


def still_text(found: StillEyes) -> str:
    """A line for people."""
    x, y = found.drift_px
    return (
        f"{found.eyes} eyes redirected to where they look already: irises move by "
        f"{found.moved_deg:.2f} degrees ({found.moved_px:.2f} px), {found.far_share:.0%} by more "
        f"than {_FAR_DEG:g}; mean movement {x:+.2f} px to the right, {y:+.2f} px down"
    )
