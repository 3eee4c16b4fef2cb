"""Calibration profile: the error of one estimator for one person, in a JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mggr_edge.common.atomic import atomic_file
from mggr_edge.common.schema import plain, read, read_json
from mggr_edge.common.user_folders import config_home
from mggr_edge.errors import ConfigError, UsageError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.contract import Contract
from mggr_edge.pipeline.gaze_correction import GazeCorrection, constant_correction

SCHEMA = 2
_FIRST_SCHEMA = 1
_FIRST_SCHEMA_FRAMES = 40
"""A profile of schema 1 is the median of so many frames."""

NO_PROFILE = "none"
"""In a profile's place: take none, whatever is there."""


@dataclass(frozen=True)
class Profile:
    """The error of an estimator for one person before one camera.

    Attributes:
        estimator_sha256: checksums of the estimator's files, in any format.
        correction: what is subtracted from estimated gazes.
        frames: number of frames that it was fitted to.
        spread_deg: median distance of those frames from it; None in a file of schema 1.
        screen_deg: direction of the middle of the screen from the lens, (pitch, yaw) in the axes
            of the head; only files of schema 1 hold it.
        schema: of the file; those of schema 1 are converted by `read_profile`.
    """

    estimator_sha256: tuple[str, ...]
    correction: GazeCorrection
    frames: int
    spread_deg: float | None = None
    screen_deg: tuple[float, float] | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema {self.schema} is not {SCHEMA}; calibrate again")
        if self.frames < 1:
            raise ValueError(f"frames is {self.frames}, expected at least 1")
        # Written so that nan fails too.
        if self.spread_deg is not None and not 0 <= self.spread_deg <= 180:
            raise ValueError(f"spread_deg is {self.spread_deg}, expected 0 to 180")
        if self.screen_deg is not None:
            Gaze(*self.screen_deg)

    @property
    def screen(self) -> Gaze | None:
        """Direction of the middle of the screen from the lens, where the file holds it."""
        return None if self.screen_deg is None else Gaze(*self.screen_deg)


@dataclass(frozen=True)
class _FirstProfile:
    """A file of schema 1: estimates of a look into the lens and one at the middle of the screen."""

    estimator_sha256: tuple[str, ...]
    lens_deg: tuple[float, float]
    screen_deg: tuple[float, float]
    schema: int = _FIRST_SCHEMA

    def __post_init__(self) -> None:
        self.converted()

    def converted(self) -> Profile:
        """The profile with a constant offset.

        Raises:
            ValueError: the angles are no angles of eyes.
        """
        lens, screen = Gaze(*self.lens_deg), Gaze(*self.screen_deg)
        return Profile(
            self.estimator_sha256,
            constant_correction(lens),
            _FIRST_SCHEMA_FRAMES,
            screen_deg=(screen.pitch_deg - lens.pitch_deg, screen.yaw_deg - lens.yaw_deg),
        )


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
        profile = _profile(read_json(path.read_text(encoding="utf-8")))
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


def _profile(content: Any) -> Profile:
    """A profile of either schema from a JSON file's content."""
    is_first = (
        isinstance(content, Mapping) and content.get("schema", _FIRST_SCHEMA) == _FIRST_SCHEMA
    )
    return read(_FirstProfile, content).converted() if is_first else read(Profile, content)


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
