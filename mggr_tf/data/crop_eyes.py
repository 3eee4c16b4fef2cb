"""Cut eye patches out of photographs. An eye patch is a square image of one eye.

Training images must match the images on the device. Therefore this module uses the face landmark
models of the device, and the same crop square (`crop_of_eye` of `Eye.crop_outline`).

There is one difference: the square is not rotated. A gaze label consists of the angles (pitch, yaw)
in the axes of the photograph. In a rotated patch, this label would be wrong. The patches of the
Columbia data set are also upright.

A gaze into the lens is (0, 0) in all axes. Patches with this gaze can therefore be levelled: the
square is rotated with the eye, exactly as on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.folders import is_system_file
from mggr_edge.errors import DataError, StreamError
from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.geometry.eye_crop import EyeCrop, crop_of_eye, crop_patch
from mggr_edge.media.files.paths import PICTURE_SUFFIXES
from mggr_edge.media.files.pictures import read_whole_picture
from mggr_edge.models.installed import find_landmark_models
from mggr_edge.models.runtimes import TFLiteRunner
from mggr_edge.vision.face_finder import Face, FaceFinder
from mggr_edge.vision.iris import Eye
from mggr_tf.data.columbia import LABEL_OF_SIDE, PhotoName, parse_photo_name
from mggr_tf.data.patch_files import eyeless_reason, patch_jpeg

_MOST_ENLARGED = 2.0
"""The largest factor by which a crop may be enlarged to a patch. With a larger factor, the iris has
too little detail for training."""


@dataclass(frozen=True)
class CutEye:
    """An eye patch that was cut out of a photograph.

    Attributes:
        face: number of the face in the photograph. The largest face has the number 0.
        side: side of the eye, from the subject's point of view.
        head: direction of the face in the axes of the patch, estimated from the face mesh.
        patch: [64, 64, 3] uint8 RGB. The patch is upright or rotated with the eye.
    """

    face: int
    side: Side
    head: Gaze
    patch: NDArray[np.uint8]


@dataclass(frozen=True)
class NotCut:
    """A detected eye that cannot be used, with the reason."""

    what: str
    reason: str


def upright_crop(eye: Eye) -> EyeCrop:
    """Return the same crop square as on the device, but without rotation."""
    return replace(crop_of_eye(eye.crop_outline, corners=eye.crop_corners), roll_deg=0.0)


def level_crop(eye: Eye) -> EyeCrop:
    """Return the same crop square as on the device. The rotation makes the eye corners level."""
    return crop_of_eye(eye.crop_outline, corners=eye.crop_corners, side=eye.side)


def by_size(faces: Sequence[Face]) -> list[Face]:
    """Return the faces in descending order of the distance between their eyes."""
    return sorted(faces, key=lambda face: -_apart_px(face))


def cut_eyes(
    frame: NDArray[np.uint8], faces: Sequence[Face], *, level: bool = False
) -> tuple[list[CutEye], list[NotCut]]:
    """Cut both eyes of every face.

    Args:
        frame: [H, W, 3] uint8 RGB.
        faces: faces. The number of a face is its position in this sequence.
        level: True to rotate each square with its eye, as on the device. Head poses then refer to
            the axes of the rotated squares. Use True only if all eyes look into the lens.

    Returns:
        the patches, and the rejected eyes. An eye is rejected if it is too small, or if its patch
        shows no eye.
    """
    cut: list[CutEye] = []
    not_cut: list[NotCut] = []
    for number, face in enumerate(faces):
        for eye in face.eyes:
            crop = level_crop(eye) if level else upright_crop(eye)
            patch = crop_patch(frame, crop)
            head = face.head_pose.rolled(crop.roll_deg) if level else face.head_pose
            reason = _unusable(crop, patch)
            if reason is None:
                cut.append(CutEye(number, eye.side, head, patch))
            else:
                not_cut.append(NotCut(f"face {number + 1}, {eye.side} eye", reason))
    return cut, not_cut


def _unusable(crop: EyeCrop, patch: NDArray[np.uint8]) -> str | None:
    least_px = crop.size_px / _MOST_ENLARGED
    if crop.width_px < least_px:
        return f"too small: a square of {crop.width_px:.0f} pixels, expected {least_px:.0f} or more"
    return eyeless_reason(patch)


def _apart_px(face: Face) -> float:
    right, left = (np.asarray(eye.iris_centre) for eye in face.eyes)
    return float(np.linalg.norm(left - right))


@dataclass(frozen=True)
class Photo:
    """A photograph.

    Attributes:
        file: path of the file.
        name: labels in the file name, or `None` if the file name contains no labels.
    """

    file: Path
    name: PhotoName | None

    def patch_file(self, side: Side, *, face: int) -> str:
        """Return the file name of a patch.

        If the name of the photograph contains labels, the patch gets the Columbia name with the
        same labels. Otherwise, the name of the patch consists of the file stem of the photograph,
        the number of the face, and the letter of the eye. The first face has no number.
        """
        if self.name is not None:
            return self.name.patch(side).file_name()
        return f"{self.subject(face=face)}_{LABEL_OF_SIDE[side]}.jpg"

    def subject(self, *, face: int) -> str:
        """Return the subject of a patch: the labelled subject, or a part of the file name."""
        if self.name is not None:
            return self.name.subject
        return self.file.stem if face == 0 else f"{self.file.stem}-face{face + 1}"


def find_photos(source: Path) -> tuple[Photo, ...]:
    """Find the photographs in a folder and its subfolders. The source can also be one photograph.

    Hidden files and system files (see `mggr_edge.common.folders`) are skipped.

    Raises:
        DataError: the source does not exist or contains no photograph.
        DataError: the patches of two photographs would have the same file names.
        DataError: only some of the file names contain labels. This is usually a mistake.
    """
    if source.is_file():
        files = [source]
    elif source.is_dir():
        files = sorted(
            file
            for file in source.rglob("*")
            if not is_system_file(file.relative_to(source)) and file.is_file()
        )
    else:
        raise DataError(
            f"{source} does not exist; specify a photograph or a folder of photographs",
            code="photos-not-found",
            path=source,
        )
    photos = tuple(
        Photo(file, parse_photo_name(file.name))
        for file in files
        if file.suffix.lower() in PICTURE_SUFFIXES
    )
    if not photos:
        raise DataError(
            f"{source} contains no photographs; expected files with {', '.join(PICTURE_SUFFIXES)}",
            code="no-photographs",
            path=source,
        )
    _refuse_mixture(photos)
    _refuse_twins(photos)
    return photos


def _refuse_mixture(photos: tuple[Photo, ...]) -> None:
    plain = [photo for photo in photos if photo.name is None]
    if plain and len(plain) < len(photos):
        named = next(photo for photo in photos if photo.name is not None)
        raise DataError(
            f"the file name {plain[0].file.name} contains no labels, but the file name "
            f"{named.file.name} contains labels; rename the first file, for example to "
            "0001_2m_-15P_10V_-10H.jpg, or crop the two kinds of photographs separately",
            code="photo-names-mixed",
            unlabelled=plain[0].file.name,
            labelled=named.file.name,
        )


def _refuse_twins(photos: tuple[Photo, ...]) -> None:
    first: dict[str, Photo] = {}
    for photo in photos:
        other = first.setdefault(photo.patch_file("right", face=0), photo)
        if other is not photo:
            raise DataError(
                f"the patches of {photo.file} and {other.file} would have the same file names; "
                "rename one of the photographs",
                code="photo-names-collide",
                first=other.file,
                second=photo.file,
            )


_MAX_FACES = 50


@dataclass(frozen=True)
class Patch:
    """A patch that is ready to be written."""

    face: int
    side: Side
    head: Gaze
    jpeg: bytes


@dataclass(frozen=True)
class Outcome:
    """The result for one photograph.

    Attributes:
        photo: the photograph.
        patches: one patch for each detected eye that is not in `not_cut`.
        not_cut: eyes that cannot be used.
        failure: reason for a photograph without patches: the file cannot be read, or no face was
            found. `None` if a face was found.
    """

    photo: Photo
    patches: tuple[Patch, ...] = ()
    not_cut: tuple[NotCut, ...] = ()
    failure: str | None = None


class EyeCutter:
    """Cuts the eye patches out of photographs.

    If the gaze is known, a photograph is expected to show one subject, and only the largest face is
    used. Otherwise, all faces are used.

    Args:
        gaze: gaze of the subject in every photograph. `None` if the file names contain the labels,
            or if the gaze is unknown. If the gaze is (0, 0), into the lens, the patches are
            levelled (see the module docstring).

    Raises:
        MissingPackageError: the landmark models are not installed.
    """

    def __init__(self, gaze: Gaze | None = None) -> None:
        self._gaze = gaze
        runners = {
            name: TFLiteRunner(path.read_bytes()) for name, path in find_landmark_models().items()
        }
        self._finder = FaceFinder(
            detector=runners["face_detector"], mesh=runners["face_mesh"], iris=runners["iris"]
        )

    def __call__(self, photo: Photo) -> Outcome:
        try:
            frame = read_whole_picture(photo.file).rgb
        except StreamError as error:
            return Outcome(photo, failure=str(error))
        faces = by_size(self._finder.find(frame, max_faces=_MAX_FACES))
        if not faces:
            return Outcome(photo, failure="no face was found")
        of_one_person = photo.name is not None or self._gaze is not None
        cut, not_cut = cut_eyes(
            frame, faces[:1] if of_one_person else faces, level=self._gaze == Gaze(0.0, 0.0)
        )
        patches = (Patch(eye.face, eye.side, eye.head, patch_jpeg(eye.patch)) for eye in cut)
        return Outcome(photo, tuple(patches), tuple(not_cut))
