"""What one estimator says of one person before one camera: measured once, taken off ever after.

An estimator is off by a few degrees for each person, always to the same side. Somebody who
looks into the lens shows by how much.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mggr_edge.angles import Gaze
from mggr_edge.atomic import atomic_file
from mggr_edge.contract import Contract
from mggr_edge.errors import ConfigError, UsageError
from mggr_edge.strict import plain, read, read_json
from mggr_edge.user_folders import config_home

SCHEMA = 1

NO_PROFILE = "none"
"""In a profile's place: take none, whatever is there."""


@dataclass(frozen=True)
class Profile:
    """Two looks, as an estimator saw them.

    Angles are in the head's axes: x along the line between the eyes, y up in the face. An
    estimator's error depends on the face, so it rolls with the head. For an upright head these
    are the picture's axes.

    Attributes:
        estimator_sha256: of the files of that estimator, any of which may have seen them.
        lens_deg: (pitch, yaw) seen of a look into the lens; without error it would be 0, 0.
        screen_deg: the same of a look at the screen's middle.
        schema: of this file.
    """

    estimator_sha256: tuple[str, ...]
    lens_deg: tuple[float, float]
    screen_deg: tuple[float, float]
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema {self.schema} is not {SCHEMA}; calibrate again")
        # Written so that nan fails too.
        if not all(-90 <= angle <= 90 for angle in (*self.lens_deg, *self.screen_deg)):
            raise ValueError(f"{self.lens_deg} and {self.screen_deg} are no angles of eyes")

    @property
    def offset(self) -> Gaze:
        """The estimator's error, in the head's axes; the redirector subtracts it there."""
        return Gaze(*self.lens_deg)

    @property
    def screen(self) -> Gaze:
        """Where the screen's middle is, seen from the eyes, relative to the lens."""
        return Gaze(*(s - o for s, o in zip(self.screen_deg, self.lens_deg, strict=True)))


def profile_file() -> Path | None:
    """`$XDG_CONFIG_HOME/mggr-edge/profile.json`, by default under `~/.config`.

    None where no home folder is known.
    """
    home = config_home()
    return None if home is None else home / "mggr-edge" / "profile.json"


def estimator_of(contract: Contract) -> tuple[str, ...]:
    """Checksums of a bundle's estimator, in whatever formats it is there."""
    return tuple(sorted(artifact.sha256 for artifact in contract.models.get("estimator", ())))


def write_profile(path: Path, profile: Profile, *, force: bool) -> None:
    """Writes a profile, as a whole or not at all.

    Raises:
        OutputExistsError: the file exists and `force` is false.
        UsageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, force=force) as temporary:
            temporary.write_text(json.dumps(plain(profile), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def read_profile(path: Path, contract: Contract) -> Profile:
    """Reads a profile that was measured with this bundle's estimator.

    Raises:
        UsageError: the file is missing, damaged, or of another estimator.
    """
    try:
        profile = read(Profile, read_json(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; `mggr-edge calibrate` writes a profile") from None
    except (OSError, ValueError, ConfigError) as error:
        raise UsageError(f"{path} is no profile: {error}; calibrate again") from error
    if not set(profile.estimator_sha256) & set(estimator_of(contract)):
        raise UsageError(
            f"{path} was measured with another model, and every model errs in its own way; "
            "calibrate again, or leave it out with --profile none"
        )
    return profile


def profile_path(named: str | None) -> Path | None:
    """The file that is named, or the user's own; None where no home folder is known."""
    return profile_file() if named in (None, NO_PROFILE) else Path(str(named))


def chosen_profile(named: str | None, *, own_camera: bool) -> Path | None:
    """Which profile is taken: the one that is named, or before this machine's camera the user's.

    Args:
        named: a file, there or not, `NO_PROFILE`, or None where nothing is said.
        own_camera: whether the source is a camera of this machine.
    """
    if named == NO_PROFILE:
        return None
    if named is not None:
        return Path(named)
    path = profile_file() if own_camera else None
    return path if path is not None and path.is_file() else None
