"""Eye patches named as those of the Columbia Gaze Data Set.

`<subject>_2m_<head>P_<pitch>V_<yaw>H_<L|R>.jpg`, whole degrees: P is the head's
yaw, V the gaze's pitch, H its yaw, signs as everywhere in this project. The
label names the eye by where it is seen: `L` lies on the image's left and is the
subject's *right* eye (its nose and caruncle are on the patch's right side), `R`
the other one.

The data set is for non-commercial research [1].

References:
    [1] Smith, Yin, Feiner, Nayar, Gaze Locking, UIST 2013.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.angles import Gaze, Side
from mggr_edge.contract import DEFAULT_SIZE_PX
from mggr_edge.errors import DataError
from mggr_tf.data.schema import EyeSamples, make_samples

SIDE_OF_LABEL: dict[str, Side] = {"L": "right", "R": "left"}
LABEL_OF_SIDE = {side: label for label, side in SIDE_OF_LABEL.items()}

LICENCE = "Columbia Gaze Data Set: non-commercial research only"
SYNTHETIC_LICENCE = "Apache-2.0 (drawn by mggr-tf)"
SYNTHETIC_MARK = "SYNTHETIC"
"""A file of this name in a folder says that mggr-tf drew its patches."""

_NAME = re.compile(
    r"(?P<subject>\d+)_2m_(?P<head>-?\d+)P_(?P<pitch>-?\d+)V_(?P<yaw>-?\d+)H_(?P<eye>[LR])\.jpg"
)

# Standard deviation of grey levels, and of their Laplacian, below which a patch
# shows no eye. In the patches in circulation the second is 5 or less on walls,
# hair and bare skin, 7 or more on the dimmest eye, with nothing in between.
_BLANK_CONTRAST = 5.0
_NO_EYE_DETAIL = 6.0


@dataclass(frozen=True)
class PatchName:
    """What a file name says."""

    subject: str
    head: Gaze
    gaze: Gaze
    side: Side

    def file_name(self) -> str:
        """The file name, whole degrees."""
        head, pitch, yaw = (
            round(v) for v in (self.head.yaw_deg, self.gaze.pitch_deg, self.gaze.yaw_deg)
        )
        return f"{self.subject}_2m_{head}P_{pitch}V_{yaw}H_{LABEL_OF_SIDE[self.side]}.jpg"


@dataclass(frozen=True)
class BadPatch:
    """A file that must not be trained on, and why."""

    file: Path
    reason: str


@dataclass(frozen=True)
class Scan:
    """What a folder of patches holds."""

    names: tuple[PatchName, ...]
    images: NDArray[np.uint8]
    bad: tuple[BadPatch, ...]
    licence: str

    def counts(self, what: Callable[[PatchName], str]) -> dict[str, int]:
        """How many good patches there are by subject, side, head pose or gaze."""
        return dict(sorted(Counter(what(name) for name in self.names).items()))


def parse_name(file_name: str) -> PatchName:
    """Reads a file name.

    Raises:
        DataError: the name is of another form.
    """
    match = _NAME.fullmatch(file_name)
    if match is None:
        raise DataError(
            f"{file_name}: expected <subject>_2m_<head>P_<pitch>V_<yaw>H_<L|R>.jpg, "
            "for example 0001_2m_0P_10V_-5H_L.jpg"
        )
    return PatchName(
        subject=match["subject"],
        head=Gaze(0.0, float(match["head"])),
        gaze=Gaze(float(match["pitch"]), float(match["yaw"])),
        side=SIDE_OF_LABEL[match["eye"]],
    )


def scan(folder: Path, *, subjects: Iterable[str] | None = None) -> Scan:
    """Reads every .jpg of a folder and sorts the good from the bad.

    Args:
        folder: where the patches lie.
        subjects: only these; None takes all.

    Raises:
        DataError: no such folder, no patch in it, or a name of another form.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of eye patches: it does not exist")
    wanted = None if subjects is None else set(subjects)
    names, images, bad = [], [], []
    for file in sorted(folder.glob("*.jpg")):
        name = parse_name(file.name)
        if wanted is not None and name.subject not in wanted:
            continue
        image, reason = _read_patch(file)
        if image is None or reason is not None:
            bad.append(BadPatch(file, reason or "unreadable"))
        else:
            names.append(name)
            images.append(image)
    if not names and not bad:
        whose = "" if wanted is None else f" of subjects {', '.join(sorted(wanted))}"
        raise DataError(f"{folder} holds no eye patch (*.jpg){whose}")
    stacked = np.stack(images) if images else np.zeros((0, 64, 64, 3), np.uint8)
    synthetic = (folder / SYNTHETIC_MARK).is_file()
    return Scan(tuple(names), stacked, tuple(bad), SYNTHETIC_LICENCE if synthetic else LICENCE)


def samples_of(scanned: Scan, *, source: str) -> EyeSamples:
    """The good patches as training samples."""
    return make_samples(
        scanned.images,
        gaze_deg=np.stack([name.gaze.array() for name in scanned.names]),
        head_deg=np.stack([name.head.array() for name in scanned.names]),
        sides=[name.side for name in scanned.names],
        subjects=[name.subject for name in scanned.names],
        source=source,
        licence=scanned.licence,
    )


def load(folder: Path, *, subjects: Iterable[str] | None = None) -> tuple[EyeSamples, Scan]:
    """Reads a folder for training: the good patches, and the scan that lists the bad.

    Raises:
        DataError: see `scan`; also when not one patch is good, or a corrupt or
            wrongly sized file shows that the folder is not what it should be.
    """
    scanned = scan(folder, subjects=subjects)
    broken = [b for b in scanned.bad if b.reason not in _EYELESS]
    if broken:
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        raise DataError(
            f"{broken[0].file}: {broken[0].reason}{more}; "
            f"`mggr-tf data check {folder}` lists all: remove or replace them"
        )
    if not scanned.names:
        raise DataError(f"{folder}: not one of {len(scanned.bad)} patches shows an eye")
    return samples_of(scanned, source=folder.name), scanned


_BLANK, _NO_EYE = "blank", "shows no eye"
_EYELESS = frozenset({_BLANK, _NO_EYE})


def _read_patch(file: Path) -> tuple[NDArray[np.uint8] | None, str | None]:
    content = file.read_bytes()
    data = np.frombuffer(content, np.uint8)
    # A JPEG that is cut off still decodes, greyed out below: look for its end mark too.
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None or b"\xff\xd9" not in content[-16:]:
        return None, "corrupt"
    if image.shape != (DEFAULT_SIZE_PX, DEFAULT_SIZE_PX, 3):
        height, width = image.shape[:2]
        return None, f"{width} x {height} pixels instead of {DEFAULT_SIZE_PX} x {DEFAULT_SIZE_PX}"
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), _eyeless_reason(image)


def _eyeless_reason(image: NDArray[np.uint8]) -> str | None:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    if grey.std() < _BLANK_CONTRAST:
        return _BLANK
    if cv2.Laplacian(grey, cv2.CV_32F).std() < _NO_EYE_DETAIL:
        return _NO_EYE
    return None
