"""Measure how the brightness of an eye and of its lids changes when the gaze changes.

When the gaze goes up, the skin below the eye faces the light from above more, and more light
reaches the eyeball. When the gaze goes down, both become darker. Gaze estimators use this change,
so synthetic eyes and redirected eyes must show it, too.

In each group (the patches of one person, side and head pose), one patch is the reference: the patch
whose gaze is nearest to the mean gaze. The other patches are aligned with the reference on the skin
around the eye (`registration`). Therefore motion of the head or of the crop does not count. The
reading of a region is its mean brightness, divided by the mean brightness of the reference. The
slopes are fitted as in `eye_motion`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.errors import DataError
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.eye_motion import Measured, frontal, slopes_within
from mggr_tf.evaluation.registration import align

_PATCH_PX = 64
_ROWS = {"upper_lid": (17, 25), "opening": (30, 37), "lower_margin": (38, 42), "below": (43, 49)}
_COLUMNS = {"outer": (11, 22), "middle": (25, 39), "inner": (42, 51)}
"""First and last row and column of each region, for patches of 64 x 64 pixels. In a typical patch,
the eye opening covers the rows 24 to 40 and the columns 6 to 54."""

_PERCENT = 100
_PITCH = 0


@dataclass(frozen=True)
class EyeShading:
    """Change of the brightness per degree of pitch, in percent of the mean brightness of a patch.

    Positive pitch is up. The regions are fixed in the patch, so the values contain the motion of
    the lids, too. `outer` is towards the temple.

    Attributes:
        upper_lid_outer: upper lid, outer third.
        upper_lid_middle: upper lid, middle third.
        upper_lid_inner: upper lid, inner third.
        opening_outer: eye opening, outer third.
        opening_middle: eye opening, middle third.
        opening_inner: eye opening, inner third.
        lower_margin_outer: edge of the lower lid, outer third.
        lower_margin_middle: edge of the lower lid, middle third.
        lower_margin_inner: edge of the lower lid, inner third.
        below_outer: skin below the lower lid, outer third.
        below_middle: skin below the lower lid, middle third.
        below_inner: skin below the lower lid, inner third.
    """

    upper_lid_outer: Measured
    upper_lid_middle: Measured
    upper_lid_inner: Measured
    opening_outer: Measured
    opening_middle: Measured
    opening_inner: Measured
    lower_margin_outer: Measured
    lower_margin_middle: Measured
    lower_margin_inner: Measured
    below_outer: Measured
    below_middle: Measured
    below_inner: Measured

    def rows(self) -> dict[str, Measured]:
        """Return a dict of all attributes: name -> value."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


COLUMBIA = EyeShading(
    upper_lid_outer=Measured(-1.480, 0.133),
    upper_lid_middle=Measured(-1.687, 0.151),
    upper_lid_inner=Measured(-0.377, 0.061),
    opening_outer=Measured(1.268, 0.141),
    opening_middle=Measured(1.101, 0.135),
    opening_inner=Measured(0.803, 0.086),
    lower_margin_outer=Measured(1.416, 0.096),
    lower_margin_middle=Measured(1.937, 0.137),
    lower_margin_inner=Measured(0.733, 0.081),
    below_outer=Measured(0.565, 0.067),
    below_middle=Measured(0.615, 0.054),
    below_inner=Measured(0.140, 0.039),
)
"""Measured shading in photographs: the patches with a frontal head pose from the Columbia Gaze Data
Set, people 0001-0032 (`mggr-tf data motion PATCHES --subjects 0001-0032`)."""


def measure_eye_shading(samples: EyeSamples, *, progress: Progress = no_progress) -> EyeShading:
    """Measure how the brightness changes when the gaze changes.

    Only patches with a frontal head pose are used.

    Args:
        samples: patches of 64 x 64 pixels with gaze labels. All patches must show the canonical
            side. Patches of the other side must be mirrored.
        progress: reports the number of processed patches.

    Raises:
        DataError: too few patches can be aligned. See also `eye_motion.measure_eye_motion`.
        ValueError: the patches have another size.
    """
    if samples.images.shape[1:3] != (_PATCH_PX, _PATCH_PX):
        raise ValueError(f"patches must have {_PATCH_PX} x {_PATCH_PX} pixels")
    pairs = _pairs_with_references(samples)
    with progress("aligning", len(pairs)) as advance:
        found = align(samples.images, pairs, advance=advance)
    pairs, images = pairs[found.known], found.images[found.known]
    rows = pairs[:, 1]
    level = samples.images[pairs[:, 0]].mean(axis=(1, 2, 3), dtype=np.float64)
    grey = images.mean(axis=3, dtype=np.float64) / level[:, None, None]
    gaze_deg, person = samples.gaze_deg[rows].astype(np.float64), samples.subject[rows]
    values = {}
    for part, (top, bottom) in _ROWS.items():
        for third, (left, right) in _COLUMNS.items():
            reading = _PERCENT * grey[:, top : bottom + 1, left : right + 1].mean(axis=(1, 2))
            try:
                slopes = slopes_within(reading, gaze_deg, group=samples.group[rows], person=person)
            except ValueError:
                raise DataError(
                    f"{samples.source}: the shading cannot be measured on {len(rows)} aligned "
                    "patches of frontal heads; the gazes of each person must differ in both pitch "
                    "and yaw",
                    code="too-few-gazes",
                    source=samples.source,
                    patches=len(rows),
                ) from None
            values[f"{part}_{third}"] = slopes[_PITCH]
    return EyeShading(**values)


def _pairs_with_references(samples: EyeSamples) -> NDArray[np.int64]:
    """Return [P, 2] indices (reference, patch) of all frontal patches."""
    rows = np.flatnonzero(frontal(samples))
    pairs: list[tuple[int, int]] = []
    for group in np.unique(samples.group[rows]):
        members = rows[samples.group[rows] == group]
        gaze_deg = samples.gaze_deg[members]
        off = np.linalg.norm(gaze_deg - gaze_deg.mean(axis=0), axis=1)
        reference = members[int(np.argmin(off))]
        pairs += [(int(reference), int(member)) for member in members]
    return np.array(pairs, np.int64).reshape(-1, 2)
