"""The photographs to be cut, and what their patches will be called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mggr_edge.common.folders import is_system_file
from mggr_edge.errors import DataError
from mggr_edge.geometry.angles import Side
from mggr_edge.media.files.paths import PICTURE_SUFFIXES
from mggr_tf.data.columbia import LABEL_OF_SIDE, PhotoName, parse_photo_name


@dataclass(frozen=True)
class Photo:
    """A photograph.

    Attributes:
        file: where it lies.
        name: the labels that its name carries; None when it carries none.
    """

    file: Path
    name: PhotoName | None

    def patch_file(self, side: Side, *, face: int) -> str:
        """The file name of a patch: the photograph's stem, the eye, and later faces' number."""
        if self.name is not None:
            return self.name.patch(side).file_name()
        return f"{self.subject(face=face)}_{LABEL_OF_SIDE[side]}.jpg"

    def subject(self, *, face: int) -> str:
        """Whose eye it is; the photograph stands for its people where nobody named them."""
        if self.name is not None:
            return self.name.subject
        return self.file.stem if face == 0 else f"{self.file.stem}-face{face + 1}"


def find_photos(source: Path) -> tuple[Photo, ...]:
    """Lists a picture, or the pictures of a folder and of the folders in it.

    Hidden files and those of the system (see `mggr_edge.common.folders`) are left out.

    Raises:
        DataError: nothing there; two photographs of one name; or names with labels
            beside names without, which is a slip more often than a wish.
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
        raise DataError(f"{source} does not exist; name a photograph or a folder of them")
    photos = tuple(
        Photo(file, parse_photo_name(file.name))
        for file in files
        if file.suffix.lower() in PICTURE_SUFFIXES
    )
    if not photos:
        raise DataError(f"{source} holds no photographs ({', '.join(PICTURE_SUFFIXES)})")
    _refuse_mixture(photos)
    _refuse_twins(photos)
    return photos


def _refuse_mixture(photos: tuple[Photo, ...]) -> None:
    plain = [photo for photo in photos if photo.name is None]
    if plain and len(plain) < len(photos):
        named = next(photo for photo in photos if photo.name is not None)
        raise DataError(
            f"{plain[0].file.name} has no labels in its name, {named.file.name} has: rename it "
            "as 0001_2m_-15P_10V_-10H.jpg or cut the two kinds apart from each other"
        )


def _refuse_twins(photos: tuple[Photo, ...]) -> None:
    first: dict[str, Photo] = {}
    for photo in photos:
        other = first.setdefault(photo.patch_file("right", face=0), photo)
        if other is not photo:
            raise DataError(
                f"{photo.file} and {other.file} would give patches of the same names; rename one"
            )
