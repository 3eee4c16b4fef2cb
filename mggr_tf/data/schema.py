"""Store labelled eye patches in memory. All source formats result in the same data structure.

An eye patch is an image of one eye. All patches in memory show eyes of one side, the canonical
side. Patches of eyes of the opposite side are mirrored on loading, and their yaw angles are
negated. Other code therefore handles only one side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import DataError
from mggr_edge.geometry.angles import Side
from mggr_edge.geometry.eye_crop import mirror_image
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.network_io import EyeState
from mggr_tf.data.names import FIRST_IN_FOLDER, FIRST_IN_MEMORY, drawn_person, former_name

STATES = tuple(field.name for field in fields(EyeState))
"""The names of the eye state values, in the order of the values."""

_SAME_HEAD_DEG = 0.01


@dataclass(frozen=True)
class EyeSamples:
    """Labelled eye patches.

    Attributes:
        images: [N, H, W, 3] uint8 RGB, canonical side.
        gaze_deg: [N, 2] float32, (pitch, yaw) of the gaze in degrees. The axes are those of the
            patch after mirroring.
        head_deg: [N, 2] float32, (pitch, yaw) of the head in degrees, in the same axes.
        subject: [N] names of the subjects.
        group: [N] int32 group numbers. The patches of a group have the same subject and side, and
            head poses in the same bin (see `make_samples`). A pair consists of two patches of one
            group.
        source: description of the data source.
        licence: terms of use for models that are trained on these patches.
        landmarks: [N, K, 2] float32, (x, y) in pixels of the patch after mirroring. For synthetic
            eyes, see `mggr_tf.drawn_eyes.rendered.LANDMARKS`. `None` if the landmarks are unknown.
        flows: [G, P, P, H, W, 2] int8, exact flows, encoded by `flow_codes`. Entry [g, i, j] is the
            flow that warps image i of group g to image j of this group. The images of a group have
            the order of the samples. `None` if the flows are unknown.
        lid_region: [N, 16, 2] float32, (x, y) in pixels of the patch after mirroring. The points
            are the vertices of the polygon in which the occlusion is measured (see
            `mggr_tf.drawn_eyes.lids`). If the polygon of a patch is unknown, its points are NaN.
            `None` if all polygons are unknown.
        state: [N, 3] float32 in [0, 1]. The values are `openness`, `iris_visible` and `occlusion`,
            see `mggr_edge.models.network_io`. An unknown value is NaN. `None` if all values are
            unknown.
        mirrored: [N] bool, True for a patch that was mirrored to the canonical side on loading.
            `None` if the side was not recorded.
    """

    images: NDArray[np.uint8]
    gaze_deg: NDArray[np.float32]
    head_deg: NDArray[np.float32]
    subject: NDArray[np.str_]
    group: NDArray[np.int32]
    source: str
    licence: str
    landmarks: NDArray[np.float32] | None = None
    flows: NDArray[np.int8] | None = None
    lid_region: NDArray[np.float32] | None = None
    state: NDArray[np.float32] | None = None
    mirrored: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The sorted names of all subjects."""
        return tuple(sorted({str(name) for name in self.subject}))

    def known_landmarks(self) -> NDArray[np.float32]:
        """Return the landmarks [N, K, 2].

        Raises:
            DataError: the landmarks are unknown.
        """
        if self.landmarks is None:
            raise landmarks_unknown(self.source)
        return self.landmarks

    def known_state(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the states [N, 3] and the lid regions [N, 16, 2].

        Raises:
            DataError: the states or the lid regions are unknown.
        """
        if self.state is None or self.lid_region is None:
            raise DataError(
                f"{self.source} contains no eye states; only synthetic eyes have them",
                code="eye-state-unknown",
                source=self.source,
            )
        return self.state, self.lid_region

    def first(self, count: int) -> EyeSamples:
        """Return the first `count` patches, without flows."""
        return replace(self._take(np.arange(len(self)) < count), flows=None)

    def fingerprint(self) -> str:
        """Return the SHA-256 of all images and labels, in hexadecimal digits.

        The result depends on the order of the images. Flows are not included, because flows are
        computed only if a loss needs them.
        """
        return self._fingerprint(self.subject.tolist())

    def former_fingerprints(self) -> tuple[str, ...]:
        """Return the fingerprints that earlier versions computed for the same samples.

        If a subject is not synthetic, the result is empty. The fingerprint includes eye states and
        names. Earlier versions had no eye states. The first versions used numbers as the names of
        synthetic subjects.
        """
        if not all(drawn_person(name) for name in self.subjects):
            return ()
        names = self.subject.tolist()
        numberings: tuple[Literal[0, 1], ...] = (FIRST_IN_MEMORY, FIRST_IN_FOLDER)
        without_state = replace(self, lid_region=None, state=None)
        numbered = ([former_name(name, first=first) for name in names] for first in numberings)
        return tuple(without_state._fingerprint(each) for each in (*numbered, names))

    def _fingerprint(self, names: Sequence[str]) -> str:
        digest = hashlib.sha256("\n".join(names).encode())
        labels = (self.gaze_deg, self.head_deg, self.group, self.landmarks)
        for values in (self.images, *labels, self.lid_region, self.state):
            if values is not None:
                digest.update(f"\n{values.dtype.str} {values.shape}\n".encode())
                digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()

    def of_subjects(self, wanted: Iterable[str]) -> EyeSamples:
        """Return only the patches of the wanted subjects.

        Raises:
            DataError: a wanted subject has no patch.
        """
        names = set(wanted)
        missing = sorted(names - set(self.subjects))
        if missing:
            raise DataError(
                f"{self.source} contains no subject {', '.join(missing)}",
                code="subject-unknown",
                source=self.source,
                subjects=", ".join(missing),
            )
        return self._take(np.isin(self.subject, sorted(names)))

    def _take(self, keep: NDArray[np.bool_]) -> EyeSamples:
        return replace(
            self,
            images=self.images[keep],
            gaze_deg=self.gaze_deg[keep],
            head_deg=self.head_deg[keep],
            subject=self.subject[keep],
            group=self.group[keep],
            landmarks=None if self.landmarks is None else self.landmarks[keep],
            lid_region=None if self.lid_region is None else self.lid_region[keep],
            state=None if self.state is None else self.state[keep],
            mirrored=None if self.mirrored is None else self.mirrored[keep],
        )


def landmarks_unknown(source: str) -> DataError:
    """Return the error for a source without landmarks."""
    return DataError(
        f"{source} contains no landmarks of lids and iris, but the loss 'landmarks' requires them: "
        "train on `synthetic`, or set the weight of the loss 'landmarks' to 0",
        code="landmarks-unknown",
        source=source,
        loss="landmarks",
    )


def make_samples(
    images: NDArray[np.uint8],
    *,
    gaze_deg: NDArray[np.float32],
    head_deg: NDArray[np.float32],
    sides: Sequence[Side],
    subjects: Sequence[str],
    source: str,
    licence: str,
    landmarks: NDArray[np.float32] | None = None,
    lid_region: NDArray[np.float32] | None = None,
    state: NDArray[np.float32] | None = None,
    head_bin_deg: float = 0.0,
    conventions: Conventions | None = None,
) -> EyeSamples:
    """Mirror patches to the canonical side and assign them to groups.

    Args:
        images: [N, H, W, 3] uint8 RGB, not mirrored.
        gaze_deg, head_deg: [N, 2], (pitch, yaw) in degrees.
        sides: N sides, from the subject's point of view.
        subjects: N names.
        source: description of the data source.
        licence: terms of use for models that are trained on these patches.
        landmarks, lid_region: [N, K, 2], (x, y) in pixels. `None` means unknown.
        state: [N, 3], see `EyeSamples`. `None` means unknown.
        head_bin_deg: width of the head pose bins in degrees. A bin is an interval of pitch and of
            yaw. One bin is centred on 0. With a width of 0, the bins are 0.01 degrees wide. Bins
            are used only to form the groups. The values of `head_deg` stay exact.
        conventions: conventions that define the canonical side. `None` uses the defaults.
    """
    mirrored = _mirrored(sides, conventions)
    images = images.copy()
    images[mirrored] = mirror_image(images[mirrored])
    last = images.shape[2] - 1
    pose = pose_bins(head_deg, sides=sides, head_bin_deg=head_bin_deg, conventions=conventions)
    keys = [
        (name, side, int(p), int(y))
        for name, side, (p, y) in zip(subjects, sides, pose, strict=True)
    ]
    number = {key: index for index, key in enumerate(sorted(set(keys)))}
    return EyeSamples(
        images=images,
        gaze_deg=_turned(gaze_deg, mirrored),
        head_deg=_turned(head_deg, mirrored),
        subject=np.asarray(subjects, dtype=np.str_),
        group=np.asarray([number[key] for key in keys], np.int32),
        source=source,
        licence=licence,
        landmarks=_points_turned(landmarks, mirrored, last),
        lid_region=_points_turned(lid_region, mirrored, last),
        state=state,
        mirrored=mirrored,
    )


def pose_bins(
    head_deg: NDArray[np.float32],
    *,
    sides: Sequence[Side],
    head_bin_deg: float = 0.0,
    conventions: Conventions | None = None,
) -> NDArray[np.int64]:
    """Return the bin numbers [N, 2] of the head poses.

    Patches with the same subject, side and bin are in one group. See `make_samples` for the
    arguments.
    """
    head = _turned(head_deg, _mirrored(sides, conventions))
    return np.floor(head / (head_bin_deg or _SAME_HEAD_DEG) + 0.5).astype(np.int64)


def _mirrored(sides: Sequence[Side], conventions: Conventions | None) -> NDArray[np.bool_]:
    canonical = (conventions or Conventions()).canonical_side
    return np.asarray([side != canonical for side in sides], bool)


def _points_turned(
    points: NDArray[np.float32] | None, mirrored: NDArray[np.bool_], last: int
) -> NDArray[np.float32] | None:
    """Return the points [N, K, 2] in pixels, and mirror the x values of mirrored patches."""
    if points is None:
        return None
    turned = points.copy()
    turned[mirrored, :, 0] = last - turned[mirrored, :, 0]
    return turned


def _turned(angles_deg: NDArray[np.float32], mirrored: NDArray[np.bool_]) -> NDArray[np.float32]:
    turn = np.where(mirrored[:, None], [1.0, -1.0], [1.0, 1.0]).astype(np.float32)
    return (angles_deg * turn).astype(np.float32)
