"""What is done to a photograph: it is read, its faces are found, their eyes are cut."""

from __future__ import annotations

from dataclasses import dataclass

from mggr_edge.errors import StreamError
from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.media.files.pictures import read_whole_picture
from mggr_edge.models.installed import find_landmark_models
from mggr_edge.models.runtimes import TFLiteRunner
from mggr_edge.vision.face_finder import FaceFinder
from mggr_tf.data.crop.cutting import NotCut, by_size, cut_eyes
from mggr_tf.data.crop.photos import Photo
from mggr_tf.data.patch_files import patch_jpeg

_MAX_FACES = 50


@dataclass(frozen=True)
class Patch:
    """A patch, ready to be written."""

    face: int
    side: Side
    head: Gaze
    jpeg: bytes


@dataclass(frozen=True)
class Outcome:
    """What one photograph gave.

    Attributes:
        photo: the photograph.
        patches: both eyes of each face, but for those in `not_cut`.
        not_cut: eyes that cannot be used.
        failure: why there are no faces at all; None when there are.
    """

    photo: Photo
    patches: tuple[Patch, ...] = ()
    not_cut: tuple[NotCut, ...] = ()
    failure: str | None = None


class Cutter:
    """Cuts the eyes of one photograph after the other.

    A photograph whose gaze is known shows one person: its largest face counts. In
    any other all faces do.

    Args:
        gaze: of the person in every photograph; None where names carry labels, or nobody
            knows. Patches of eyes that look into the lens are levelled (see `cutting`).

    Raises:
        MissingPackageError: the landmark models are not on this machine.
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
